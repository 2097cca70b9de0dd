"""Tokens by which callers are known. Only their hashes are kept: a token is shown once, when it is made.

A token holds 256 bits of chance, so one round of SHA-256 protects it: there is nothing to guess."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from copilot.api import errors as problems
from copilot.api.errors import CALLER, prefers_html
from copilot.web import STATIC
from copilot.web.page import render_login

PREFIX = "cop_"


def new_token() -> str:
    """A token nobody has seen yet."""
    return PREFIX + secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """What is kept of a token, as `[api.tokens]` wants it."""
    return "sha256:" + hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


class Tokens:
    """The known tokens: names with hashes."""

    def __init__(self, hashes: Mapping[str, str]) -> None:
        self._hashes = dict(hashes)

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def bearer(self, token: str) -> str | None:
        """The name a token was made for; None if it is not known. Takes as long for one as for another."""
        shown = token_hash(token)
        names = [name for name, known in self._hashes.items() if hmac.compare_digest(shown, known)]
        return names[0] if names else None


COOKIE = "copilot_token"
KEPT_SEC = 7 * 86_400
LONGEST_FORM = 4_096
OPEN_PATHS = frozenset({"/login", "/css", "/svg", "/logout"})
"""What whoever is not known yet may ask for."""


def routes(tokens: Tokens) -> APIRouter:
    """GET and POST /login, POST /logout."""
    router = APIRouter(include_in_schema=False)

    @router.get("/css")
    async def style() -> FileResponse:
        return FileResponse(STATIC / "css")

    @router.get("/svg")
    async def icon() -> FileResponse:
        return FileResponse(STATIC / "icons" / "unknown.svg")

    @router.get("/login")
    async def form(next: str = "/") -> HTMLResponse:
        return HTMLResponse(render_login(within(next), refused=False))

    @router.post("/login")
    async def login(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > LONGEST_FORM:
                break
        given = parse_qs(body[:LONGEST_FORM].decode("utf-8", "replace"))
        token, target = given.get("token", [""])[0].strip(), within(given.get("next", ["/"])[0])
        if not _of_our_own_page(request.headers) or tokens.bearer(token) is None:
            return HTMLResponse(render_login(target, refused=True), status_code=401)
        answer = RedirectResponse(target, status_code=303)
        secure = request.url.scheme == "https"
        answer.set_cookie(COOKIE, token, max_age=KEPT_SEC, httponly=True, samesite="strict", secure=secure)
        return answer

    @router.post("/logout")
    async def logout(request: Request) -> Response:
        answer = RedirectResponse("/login", status_code=303)
        if _of_our_own_page(request.headers):
            answer.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=request.url.scheme == "https")
        return answer

    return router


def token_of(headers: Headers) -> str:
    """The token in a request's cookie; empty where there is none."""
    return cookie_parser(headers.get("cookie", "")).get(COOKIE, "")


def wants_login(method: str, headers: Headers) -> bool:
    """Whether a person is there to log in: a browser goes to a page."""
    return method == "GET" and prefers_html(headers.get("accept", ""))


def to_login(path: str, query: bytes) -> RedirectResponse:
    """To the form, and from there back to where they wanted to go."""
    target = path + ("?" + query.decode("latin-1") if query else "")
    return RedirectResponse("/login" + ("" if target == "/" else "?next=" + quote(target, safe="")), status_code=303)


def within(target: str) -> str:
    """Where to go after the login: never to another place than ours."""
    inside = target.startswith("/") and not target.startswith("//") and "\\" not in target and target.isprintable()
    return target if inside else "/"


def _of_our_own_page(headers: Headers) -> bool:
    return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


ALWAYS_OPEN = frozenset({"/healthz", "/readyz"})
BROWSERS_CHALLENGE = 'Bearer realm="copilot"'
"""A page's own requests open no password window: the page sends the reader to /"""
CHALLENGE = 'Bearer realm="copilot", Basic realm="Temporal SRE Copilot: the token is the password", charset="UTF-8"'
SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A token of `copilot token new`"},
    "password": {"type": "http", "scheme": "basic", "description": "Any user, the token as password: for browsers"},
}


class Authentication:
    """ASGI middleware that lets through only who is known; `open_paths` are for everybody."""

    def __init__(self, app: ASGIApp, tokens: Tokens, open_paths: frozenset[str] = ALWAYS_OPEN) -> None:
        self._app = app
        self._tokens = tokens
        self._open = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        if scope["type"] == "http" and scope["path"] not in self._open:
            headers = Headers(scope=scope)
            shown = _shown(headers.get("authorization", "")) or token_of(headers)
            caller = self._tokens.bearer(shown) if shown else None
            if caller is None and wants_login(scope["method"], headers):
                await to_login(scope["path"], scope["query_string"])(scope, receive, send)
                return
            if caller is None:
                message = "this token is not known" if shown else "a token is needed: Authorization: Bearer …"
                refused = problems.answer(401, problems.ErrorDetail(code="unauthorized", message=message))
                refused.headers["www-authenticate"] = BROWSERS_CHALLENGE if "sec-fetch-mode" in headers else CHALLENGE
                await refused(scope, receive, send)
                return
            CALLER.set(caller)
        await self._app(scope, receive, send)


def _shown(header: str) -> str:
    """The token in an Authorization header; empty where there is none."""
    scheme, _, rest = header.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[2]
        except ValueError:
            return ""
    return ""


ASKED = ("authorization", "if-none-match", "last-event-id", "x-request-id")
TOLD = ("etag", "x-request-id")
CROSS_ORIGIN_KEPT_SEC = 600


class CrossOrigin(CORSMiddleware):
    """Starlette's, but a browser that is refused is told so in the envelope. No cookies: a login is for our own
    page, others show a token."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=("GET", "HEAD"),
            allow_headers=ASKED,
            expose_headers=TOLD,
            max_age=CROSS_ORIGIN_KEPT_SEC,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """What a browser is told before it asks."""
        told = super().preflight_response(request_headers)
        if told.status_code < 400:
            return told
        refused = problems.answer(
            400, problems.ErrorDetail(code="origin_refused", message=f"{bytes(told.body).decode()}: see cors_origins")
        )
        refused.headers.update({k: v for k, v in told.headers.items() if k.startswith("access-control") or k == "vary"})
        return refused
