"""The login page: a token becomes a cookie, or the identity provider says who logs in; and the logout."""

import logging
import secrets
from collections.abc import Mapping
from hmac import compare_digest
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from starlette.requests import cookie_parser
from starlette.responses import Response

from copilot.api.auth import COOKIE, SESSION, holder
from copilot.settings.api import ApiSettings
from copilot.settings.oidc import OidcSettings
from copilot.web import STATIC
from copilot.web.page import render

if TYPE_CHECKING:
    from copilot.api.oidc import Provider
    from copilot.api.sessions import Sessions

COOKIE_SEC = 7 * 86_400
LOGIN = "copilot_login"
"""The cookie between the way to the provider and the way back."""
LOGIN_SEC = 600
MAX_FORM_BYTES = 4_096
MAX_NAME = 100
NOT_ACCEPTED = "This token is not accepted."
TOO_LATE = "this login was begun more than ten minutes ago, or in another browser: begin again"

log = logging.getLogger(__name__)


def login_routes(settings: ApiSettings) -> APIRouter:
    """GET and POST /login, and what the login page loads; for tokens alone also POST /logout."""
    router = APIRouter(include_in_schema=False)

    @router.get("/login.css")
    async def style() -> FileResponse:
        return FileResponse(STATIC / "login.css")

    @router.get("/login.svg")
    async def icon() -> FileResponse:
        return FileResponse(STATIC / "icons" / "unknown.svg")

    @router.post("/login")
    async def login(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MAX_FORM_BYTES:
                break
        given = parse_qs(body[:MAX_FORM_BYTES].decode("utf-8", "replace"))
        token, target = given.get("token", [""])[0].strip(), local_path(given.get("next", ["/"])[0])
        caller = holder(token, settings)
        if caller is None or caller.only_reports:
            return page(settings, target, refused=NOT_ACCEPTED, status=401)
        response = RedirectResponse(target, status_code=303)
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, token, max_age=COOKIE_SEC, httponly=True, samesite="strict", secure=secure)
        return response

    if settings.oidc is None:

        @router.get("/login")
        async def form(next: str = "/") -> HTMLResponse:
            return page(settings, local_path(next))

        @router.post("/logout")
        async def logout(request: Request) -> Response:
            return logged_out(request, "/login")

    return router


def provider_routes(settings: ApiSettings, oidc: OidcSettings, provider: "Provider", sessions: "Sessions") -> APIRouter:
    """GET /login, /login/oidc and /login/callback, POST /logout: beside the tokens, the provider."""
    from copilot.api.oidc import OidcError

    router = APIRouter(include_in_schema=False)
    secure = provider.home.startswith("https://")
    cookie: dict[str, Any] = {"httponly": True, "samesite": "lax", "secure": secure}

    def refused(why: str, target: str, status: int = 403) -> HTMLResponse:
        log.warning("login refused: %s", why, extra={"event": "login.refused"})
        response = page(settings, target, provider, refused=f"You are not logged in: {why}.", status=status)
        response.delete_cookie(LOGIN, **cookie)
        return response

    @router.get("/login")
    async def form(next: str = "/") -> HTMLResponse:
        return page(settings, local_path(next), provider, down=await provider.problem())

    @router.get("/login/oidc")
    async def begin(next: str = "/") -> Response:
        target = local_path(next)
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        try:
            url = await provider.login_url(state, nonce, verifier)
        except OidcError as error:
            return page(settings, target, provider, down=str(error), status=503)
        response = RedirectResponse(url, status_code=303)
        begun = {"state": state, "nonce": nonce, "verifier": verifier, "next": target}
        response.set_cookie(LOGIN, sessions.sign(LOGIN, begun, LOGIN_SEC), max_age=LOGIN_SEC, **cookie)
        return response

    @router.get("/login/callback")
    async def back(request: Request, state: str = "", code: str = "", error: str = "", iss: str = "") -> Response:
        begun = sessions.read(LOGIN, cookie_parser(request.headers.get("cookie", "")).get(LOGIN, ""))
        if begun is None or not compare_digest(begun["state"].encode(), state.encode()):
            return refused(TOO_LATE, "/")
        target = begun["next"]
        if iss and iss != oidc.issuer:  # RFC 9207.
            return refused(f"the answer came from another provider than {provider.name}", target)
        if error or not code:
            said = "".join(c for c in error[:40] if c.isalpha() or c == "_") or "it sent no code"
            return refused(f"{provider.name} refused the login: {said}", target)
        try:
            claims = await provider.claims(code, begun["verifier"], begun["nonce"])
        except OidcError as problem:
            return refused(str(problem), target, 503 if problem.down else 403)
        name, role = name_of(claims, oidc.name_claim), oidc.role_of(claims.get(oidc.groups_claim))
        if role is None:
            told = _groups(claims, oidc)
            return refused(f"{name} has no role here, {told}: ask for a group of [api.oidc] roles", target)
        log.info("%s logged in as %s", name, role,
                 extra={"event": "login.accepted", "caller": name, "role": role.value})  # fmt: skip
        response = RedirectResponse(target, status_code=303)
        lasts_sec = oidc.session_hours * 3_600
        session = sessions.sign(SESSION, {"name": name, "role": role.value}, lasts_sec)
        response.set_cookie(SESSION, session, max_age=int(lasts_sec), **cookie)
        response.delete_cookie(LOGIN, **cookie)
        return response

    @router.post("/logout")
    async def logout(request: Request) -> Response:
        ours = sessions.caller(request.scope) is not None
        response = logged_out(request, (ours and await provider.logout_url()) or "/login")
        response.delete_cookie(SESSION, **cookie)
        return response

    return router


def page(
    settings: ApiSettings, target: str, provider: "Provider | None" = None, *, refused: str = "",
    down: str | None = None, status: int = 200,
) -> HTMLResponse:  # fmt: skip
    """The login page; `refused`: why the last try failed, `down`: why the provider cannot be used."""
    begin = f"{provider.home}/login/oidc?next={quote(target, safe='')}" if provider else ""
    shown = render(
        "login.html", target=target, tokens=bool(settings.tokens), refused=refused, down=down,
        begin=begin, provider=provider.name if provider else "",
    )  # fmt: skip
    return HTMLResponse(shown, status_code=status)


def logged_out(request: Request, target: str) -> Response:
    """The end of a login by token."""
    response = RedirectResponse(target, status_code=303)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=request.url.scheme == "https")
    return response


def name_of(claims: Mapping[str, Any], name_claim: str) -> str:
    """What a person is called in the log and in what they do: one short line."""
    given = next((v for v in (claims.get(c) for c in (name_claim, "email")) if isinstance(v, str) and v.strip()), "")
    plain = "".join(c if c.isprintable() else " " for c in given or str(claims["sub"]))
    return " ".join(plain.split())[:MAX_NAME]


def _groups(claims: Mapping[str, Any], oidc: OidcSettings) -> str:
    found = claims.get(oidc.groups_claim)
    if found in (None, "", []):
        return f"and the provider sent no {oidc.groups_claim}"
    return f"with {oidc.groups_claim} {str(found)[:200]}"


def local_path(target: str) -> str:
    """Where a login leads: the target if it is a path on this server, else the start page."""
    local = target.startswith("/") and not target.startswith("//") and "\\" not in target and target.isprintable()
    return target if local else "/"
