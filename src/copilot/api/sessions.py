"""Logins in signed cookies: nothing is kept on the server, and all API processes with one key know them."""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import Scope
from whenever import Instant

from copilot.api.auth import SESSION
from copilot.api.caller import Caller
from copilot.notify.webhook import secret
from copilot.settings.access import Role
from copilot.settings.oidc import OidcSettings

ALGORITHM = "HS256"


class Sessions:
    """Signs and reads claims, each kind of them for its own use. `now` is the wall clock."""

    def __init__(self, settings: OidcSettings, now: Callable[[], Instant]) -> None:
        """SettingsError if the key cannot be read."""
        given = secret(settings.session_key, settings.session_key_file) or secrets.token_urlsafe(32)
        # What the logins rest on is part of the key: when it changes, they end.
        basis = repr((settings.issuer, settings.client_id, sorted(settings.roles.items()), settings.default_role))
        self._key = OctKey.import_key(hmac.new(given.encode(), basis.encode(), hashlib.sha256).digest())
        self._now = now

    def sign(self, kind: str, claims: Mapping[str, str], lasts_sec: float) -> str:
        """The claims as a text that `read` accepts for that time."""
        until = int(self._now().timestamp() + lasts_sec)
        return jwt.encode({"alg": ALGORITHM}, {**claims, "aud": kind, "exp": until}, self._key)

    def read(self, kind: str, text: str) -> Mapping[str, Any] | None:
        """The claims; None if the text is not ours, of another kind, or too old."""
        try:
            claims = jwt.decode(text, self._key, algorithms=[ALGORITHM]).claims
            expected = jwt.JWTClaimsRegistry(
                now=int(self._now().timestamp()),
                exp={"essential": True},
                aud={"essential": True, "value": kind},
            )
            expected.validate(claims)
        except (JoseError, ValueError):
            return None
        return claims

    def caller(self, scope: Scope) -> Caller | None:
        """Whose login the cookie of a request has; None without a valid one."""
        text = cookie_parser(Headers(scope=scope).get("cookie", "")).get(SESSION, "")
        claims = self.read(SESSION, text) if text else None
        return Caller(claims["name"], Role(claims["role"])) if claims else None
