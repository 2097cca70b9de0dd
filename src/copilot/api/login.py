"""A browser's login: the token, pasted once, comes back as a cookie that no script can read."""

from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import Response

from copilot.api.readable_errors import prefers_html
from copilot.api.tokens import Tokens
from copilot.web import STATIC
from copilot.web.page import render_login

COOKIE = "copilot_token"
KEPT_SEC = 7 * 86_400
LONGEST_FORM = 4_096
OPEN_PATHS = frozenset({"/login", "/login.css", "/login.svg", "/logout"})
"""What whoever is not known yet may ask for."""


def routes(tokens: Tokens) -> APIRouter:
    """GET and POST /login, POST /logout."""
    router = APIRouter(include_in_schema=False)

    @router.get("/login.css")
    async def style() -> FileResponse:
        return FileResponse(STATIC / "login.css")

    @router.get("/login.svg")
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
