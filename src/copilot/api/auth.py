"""Who may read: bearer tokens, and the login page that puts one into a cookie.

Only hashes of tokens are stored; a token is shown once, when it is made. It holds 256 random bits: it cannot be
guessed, so one round of SHA-256 protects it."""

import base64
import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from copilot.api.errors import CALLER, error_response, prefers_html
from copilot.web import STATIC
from copilot.web.page import render

PREFIX = "cop_"
COOKIE = "copilot_token"
COOKIE_SEC = 7 * 86_400
MAX_FORM_BYTES = 4_096
PROBES = frozenset({"/healthz", "/readyz"})
REPORTS_CHANGES = ("POST", "/changes")
REPORTS = "this token can only report changes: POST /changes"
READS = "this token can only read: create one with `copilot token new NAME --changes`"
NO_TOKENS: Mapping[str, str] = {}
LOGIN_PATHS = frozenset({"/login", "/login.css", "/login.svg", "/logout"})

CHALLENGE_OF_A_PAGE = 'Bearer realm="copilot"'
"""For requests that a page's script makes: no Basic, so that the browser opens no password window."""
CHALLENGE = 'Bearer realm="copilot", Basic realm="Temporal SRE Copilot: the token is the password", charset="UTF-8"'
SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A token made by `copilot token new`"},
    "password": {
        "type": "http",
        "scheme": "basic",
        "description": "In a browser, use any user name and the token as password",
    },
}


def new_token() -> str:
    """A new random token."""
    return PREFIX + secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """The hash of a token, as `[api.tokens]` stores it."""
    return "sha256:" + hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def name_of(token: str, tokens: Mapping[str, str]) -> str | None:
    """The name of a token, of `tokens` (names with hashes); None if it is not accepted. Takes equally long for each."""
    presented = token_hash(token)
    names = [name for name, known in tokens.items() if hmac.compare_digest(presented, known)]
    return names[0] if names else None


def login_routes(tokens: Mapping[str, str]) -> APIRouter:
    """GET and POST /login, POST /logout, and what the login page loads."""
    router = APIRouter(include_in_schema=False)

    @router.get("/login.css")
    async def style() -> FileResponse:
        return FileResponse(STATIC / "login.css")

    @router.get("/login.svg")
    async def icon() -> FileResponse:
        return FileResponse(STATIC / "icons" / "unknown.svg")

    @router.get("/login")
    async def form(next: str = "/") -> HTMLResponse:
        return HTMLResponse(render("login.html", target=local_path(next), refused=False))

    @router.post("/login")
    async def login(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MAX_FORM_BYTES:
                break
        given = parse_qs(body[:MAX_FORM_BYTES].decode("utf-8", "replace"))
        token, target = given.get("token", [""])[0].strip(), local_path(given.get("next", ["/"])[0])
        if not _same_origin(request.headers) or name_of(token, tokens) is None:
            return HTMLResponse(render("login.html", target=target, refused=True), status_code=401)
        response = RedirectResponse(target, status_code=303)
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, token, max_age=COOKIE_SEC, httponly=True, samesite="strict", secure=secure)
        return response

    @router.post("/logout")
    async def logout(request: Request) -> Response:
        response = RedirectResponse("/login", status_code=303)
        if _same_origin(request.headers):
            secure = request.url.scheme == "https"
            response.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=secure)
        return response

    return router


def cookie_token(headers: Headers) -> str:
    """The token in a request's cookie; empty without one."""
    return cookie_parser(headers.get("cookie", "")).get(COOKIE, "")


def local_path(target: str) -> str:
    """Where a login leads: the target if it is a path on this server, else the start page."""
    local = target.startswith("/") and not target.startswith("//") and "\\" not in target and target.isprintable()
    return target if local else "/"


def _same_origin(headers: Headers) -> bool:
    return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def authenticated(
    app: ASGIApp, tokens: Mapping[str, str], open_paths: frozenset[str], change_tokens: Mapping[str, str] = NO_TOKENS
) -> ASGIApp:
    """ASGI middleware: passes on requests with an accepted token, and those to `open_paths`. A browser without one is
    redirected to the login; all others get a 401. `change_tokens` can only report changes, `tokens` all but that: else
    a 403."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in open_paths:
            headers = Headers(scope=scope)
            token = _presented(headers.get("authorization", "")) or cookie_token(headers)
            reports = (scope["method"], scope["path"]) == REPORTS_CHANGES
            reader, reporter = (name_of(token, of) if token else None for of in (tokens, change_tokens))
            if reader is None and reporter is None:
                await _refusal(scope, headers, token)(scope, receive, send)
                return
            CALLER.set(reader or reporter)
            if (reporter is None) is reports:
                await error_response(scope, 403, "forbidden", REPORTS if reporter else READS)(scope, receive, send)
                return
        await app(scope, receive, send)

    return serve


def _refusal(scope: Scope, headers: Headers, token: str) -> Response:
    if scope["method"] == "GET" and prefers_html(headers.get("accept", "")):
        query = scope["query_string"].decode("latin-1")
        target = scope["path"] + (f"?{query}" if query else "")
        login = "/login" if target == "/" else "/login?next=" + quote(target, safe="")
        return RedirectResponse(login, status_code=303)
    message = "this token is not accepted" if token else "a token is required: Authorization: Bearer …"
    refusal = error_response(scope, 401, "unauthorized", message)
    refusal.headers["www-authenticate"] = CHALLENGE_OF_A_PAGE if "sec-fetch-mode" in headers else CHALLENGE
    return refusal


def _presented(authorization: str) -> str:
    """The token in an Authorization header; empty without one."""
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    with contextlib.suppress(ValueError):
        if scheme.lower() == "basic":
            return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[2]
    return ""
