"""Who asks, and that all must say so: bearer tokens, in the header or in the cookie of a login.

Only hashes of tokens are stored; a token is shown once, when it is made. It holds 256 random bits: it cannot be
guessed, so one round of SHA-256 protects it."""

import base64
import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Callable
from urllib.parse import quote

from fastapi.responses import RedirectResponse
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from copilot.api.caller import Caller, enter
from copilot.api.errors import error_response, prefers_html
from copilot.settings.api import ApiSettings

PREFIX = "cop_"
COOKIE = "copilot_token"
SESSION = "copilot_session"
"""The cookie of a login with an identity provider; the other one holds a token."""
PROBES = frozenset({"/healthz", "/readyz"})
LOGIN_PATHS = frozenset({"/login", "/login.css", "/login.svg", "/login/oidc", "/login/callback", "/logout"})
Identify = Callable[[Scope], Caller | None]
"""Who sent a request; None if that is not known."""

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


def holder(token: str, settings: ApiSettings) -> Caller | None:
    """Whose token it is; None if it is not accepted. Takes equally long for each."""
    presented, found = token_hash(token), list[Caller]()
    for name, known in settings.tokens.items():
        if hmac.compare_digest(presented, known.hash):
            found.append(Caller(name, known.role, frozenset(known.clusters) or None))
    for name, known_hash in settings.change_tokens.items():
        if hmac.compare_digest(presented, known_hash):
            found.append(Caller(name, only_reports=True))
    return found[0] if found else None


def by_token(settings: ApiSettings) -> Identify:
    """Who presents a token, in the header Authorization or in the cookie of a login."""

    def identify(scope: Scope) -> Caller | None:
        token = _presented(Headers(scope=scope))
        return holder(token, settings) if token else None

    return identify


def logged_in(headers: Headers) -> bool:
    """Whether a browser has a login that it can end."""
    return not cookie_parser(headers.get("cookie", "")).keys().isdisjoint({COOKIE, SESSION})


def cookie_token(headers: Headers) -> str:
    """The token in a request's cookie; empty without one."""
    return cookie_parser(headers.get("cookie", "")).get(COOKIE, "")


def authenticated(app: ASGIApp, identify: Identify, open_paths: frozenset[str]) -> ASGIApp:
    """ASGI middleware: passes on requests of identified callers to what they may do, and those to `open_paths`. An
    unknown browser is redirected to the login; all others get a 401, and a 403 for what they may not do."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in open_paths:
            caller = identify(scope)
            if caller is None:
                await _unknown(scope, Headers(scope=scope))(scope, receive, send)
                return
            enter(caller)
            if refused := caller.refusal(scope["method"], scope["path"]):
                await error_response(scope, 403, "forbidden", refused)(scope, receive, send)
                return
        await app(scope, receive, send)

    return serve


def _unknown(scope: Scope, headers: Headers) -> Response:
    if scope["method"] == "GET" and prefers_html(headers.get("accept", "")):
        query = scope["query_string"].decode("latin-1")
        target = scope["path"] + (f"?{query}" if query else "")
        login = "/login" if target == "/" else "/login?next=" + quote(target, safe="")
        return RedirectResponse(login, status_code=303)
    message = "this token is not accepted" if _presented(headers) else "a token is required: Authorization: Bearer …"
    refusal = error_response(scope, 401, "unauthorized", message)
    refusal.headers["www-authenticate"] = CHALLENGE_OF_A_PAGE if "sec-fetch-mode" in headers else CHALLENGE
    return refusal


def _presented(headers: Headers) -> str:
    """The token in the header Authorization, else in the cookie; empty without one."""
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and rest.strip():
        return rest.strip()
    with contextlib.suppress(ValueError):
        if scheme.lower() == "basic":
            return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[2]
    return cookie_token(headers)
