"""A strict OpenID Connect provider on a real socket, whose id_tokens a test can forge."""

import asyncio
import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey

from tests.fakes.http import Request, read_request, response
from tests.fakes.serving import serving

CLIENT, SECRET = "copilot", "s3cret/with:signs"
Sign = Callable[[dict[str, Any]], str]


def new_key(kid: str) -> ECKey:
    """A private key."""
    return ECKey.generate_key("P-256", {"kid": kid}, private=True)


def signed(key: ECKey) -> Sign:
    """Signs claims as a provider does."""
    return lambda claims: jwt.encode({"alg": "ES256", "kid": key.kid}, claims, key)


def forged(alg: str, kid: str | None, key: bytes = b"") -> Sign:
    """A token as no provider makes it: with the HMAC of `key`, or unsigned without one."""

    def sign(claims: dict[str, Any]) -> str:
        parts = [{"alg": alg} | ({"kid": kid} if kid else {}), claims]
        text = ".".join(_base64(json.dumps(part).encode()) for part in parts)
        return f"{text}.{_base64(hmac.digest(key, text.encode(), 'sha256')) if key else ''}"

    return sign


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class ForgingProvider:
    """`now`: the time of its tokens. `claims` are added to those it signs, None takes one out; `sign` signs them.
    `keys` are published. `metadata` is added to what it says of itself. `asked`: the paths of all requests."""

    now: Callable[[], int]
    port: int = 0
    keys: list[ECKey] = field(default_factory=lambda: [new_key("one")])
    claims: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    sign: Sign | None = None
    broken: bool = False
    asked: list[str] = field(default_factory=list)
    _begun: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        """Its address and name."""
        return f"http://127.0.0.1:{self.port}"

    def log_in(self, url: str) -> str:
        """Log a person in where a login led to, and give the path that they are sent back to."""
        asked = dict(parse_qsl(urlsplit(url).query))
        assert url.startswith(f"{self.issuer}/authorize?")
        assert (asked["response_type"], asked["client_id"], asked["code_challenge_method"]) == ("code", CLIENT, "S256")
        code = secrets.token_urlsafe()
        self._begun[code] = asked
        back = urlsplit(asked["redirect_uri"]).path
        return f"{back}?{urlencode({'code': code, 'state': asked['state'], 'iss': self.issuer})}"

    def _answer(self, request: Request) -> tuple[str, dict[str, Any]]:
        match request.method, request.path:
            case "GET", "/.well-known/openid-configuration":
                names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys",
                         "userinfo_endpoint": "userinfo", "end_session_endpoint": "logout"}  # fmt: skip
                found = {"issuer": self.issuer} | {name: f"{self.issuer}/{path}" for name, path in names.items()}
                return "200 OK", found | self.metadata
            case "GET", "/keys":
                return "200 OK", {"keys": [key.as_dict(private=False) for key in self.keys]}
            case "GET", "/userinfo" if request.headers.get("authorization") == "Bearer access":
                return "200 OK", {"sub": "17", **self.userinfo}
            case "POST", "/token":
                return self._token(request)
        return "404 Not Found", {}

    def _token(self, request: Request) -> tuple[str, dict[str, Any]]:
        given = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        known = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {known}":
            return "401 Unauthorized", {"error": "invalid_client"}
        begun = self._begun.pop(given.get("code", ""), None)
        challenge = _base64(hashlib.sha256(given.get("code_verifier", "").encode()).digest())
        if begun is None or (begun["code_challenge"], begun["redirect_uri"]) != (challenge, given.get("redirect_uri")):
            return "400 Bad Request", {"error": "invalid_grant"}
        claims = {"iss": self.issuer, "aud": CLIENT, "sub": "17", "nonce": begun["nonce"], "iat": self.now(),
                  "exp": self.now() + 300} | self.claims  # fmt: skip
        sign = self.sign or signed(self.keys[-1])
        id_token = sign({name: value for name, value in claims.items() if value is not None})
        return "200 OK", {"access_token": "access", "token_type": "Bearer", "id_token": id_token}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        while True:
            request = await read_request(reader)
            self.asked.append(request.path)
            status, body = ("503 Down", {}) if self.broken else self._answer(request)
            writer.write(response(status, json.dumps(body).encode(), "Content-Type: application/json"))
            await writer.drain()


@asynccontextmanager
async def forging_provider(now: Callable[[], int]) -> AsyncIterator[ForgingProvider]:
    """A provider that runs."""
    provider = ForgingProvider(now)
    async with serving(provider.serve) as provider.port:
        yield provider
