"""Who may ask: whoever shows a token that is known, as a bearer token, or as the password of a browser's login."""

import base64

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from copilot.api import problems
from copilot.api.request_ids import CALLER
from copilot.api.tokens import Tokens

ALWAYS_OPEN = frozenset({"/healthz", "/readyz"})
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
            shown = _shown(Headers(scope=scope).get("authorization", ""))
            caller = self._tokens.bearer(shown) if shown else None
            if caller is None:
                message = "this token is not known" if shown else "a token is needed: Authorization: Bearer …"
                refused = problems.answer(401, problems.ErrorDetail(code="unauthorized", message=message))
                refused.headers["www-authenticate"] = CHALLENGE
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
