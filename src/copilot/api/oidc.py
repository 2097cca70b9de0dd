"""An OpenID Connect provider, which says who logs in: authorization code with PKCE (OpenID Connect Core 1.0 §3.1)."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from authlib.integrations.base_client import OAuthError  # type: ignore[import-untyped]
from authlib.integrations.httpx_client import AsyncOAuth2Client  # type: ignore[import-untyped]
from authlib.integrations.httpx_client._compat import (  # type: ignore[import-untyped]  # The client that it is built on.
    httpx2 as http,
)
from joserfc import jwt
from joserfc.errors import BadSignatureError, ClaimError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from pydantic import BaseModel, ValidationError
from whenever import Instant

from copilot.errors import CopilotError, SettingsError
from copilot.notify.webhook import secret
from copilot.settings.oidc import OidcSettings
from copilot.settings.sources import HttpUrl

CALLBACK = "/login/callback"
ALGORITHMS = [f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512)] + ["EdDSA", "Ed25519"]
"""Signatures by the provider's private key. With HS256 anyone could sign who knows the client's secret, or
passes a public key off as one; `none` is no signature."""
TIMEOUT_SEC = 5.0
KEPT_SEC = 3_600.0
RETRY_SEC = 10.0
"""Until then a provider that did not answer is not called again."""
KEYS_AGAIN_SEC = 30.0
"""Keys are read again for a signature by an unknown one, but not more often."""
LEEWAY_SEC = 60

log = logging.getLogger(__name__)


class OidcError(CopilotError):
    """Why a login failed, in one line; `down`: the provider does not answer as it should."""

    def __init__(self, message: str, *, down: bool = False) -> None:
        super().__init__(message)
        self.down = down


class Metadata(BaseModel):
    """What the provider says of itself (OpenID Connect Discovery 1.0 §3), as far as it is used."""

    issuer: str
    authorization_endpoint: HttpUrl
    token_endpoint: HttpUrl
    jwks_uri: HttpUrl
    userinfo_endpoint: HttpUrl | None = None
    end_session_endpoint: HttpUrl | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)

    @property
    def endpoints(self) -> tuple[str | None, ...]:
        """Every address that is called or that a person is sent to."""
        return (
            self.authorization_endpoint, self.token_endpoint, self.jwks_uri,
            self.userinfo_endpoint, self.end_session_endpoint,
        )  # fmt: skip


class Provider:
    """The provider of the settings. `public_url`: where people come back to; `now` is the wall clock, `elapsed` a
    monotonic one in seconds."""

    def __init__(
        self, settings: OidcSettings, public_url: str, now: Callable[[], Instant], elapsed: Callable[[], float]
    ) -> None:
        """SettingsError if a file of the settings cannot be read."""
        self.name = settings.name or urlsplit(settings.issuer).netloc
        self.home = public_url.rstrip("/")
        self._settings, self._now, self._elapsed = settings, now, elapsed
        self._secret = secret(settings.client_secret, settings.client_secret_file)
        try:
            self._tls = ssl.create_default_context(cafile=settings.ca_file)
        except OSError as error:
            raise SettingsError([f"{settings.ca_file} cannot be used: {error.strerror or error}"]) from None
        self._asking = asyncio.Lock()
        self._metadata: tuple[float, Metadata] | None = None
        self._failed: tuple[float, OidcError] | None = None
        self._keys: tuple[float, KeySet] | None = None

    async def problem(self) -> str | None:
        """Why the provider cannot be used at present; None if it answers."""
        try:
            await self.metadata()
        except OidcError as error:
            return str(error)
        return None

    async def metadata(self) -> Metadata:
        """What the provider says of itself, at most an hour old. OidcError if it does not answer as it should."""
        async with self._asking:
            if self._metadata and self._elapsed() - self._metadata[0] < KEPT_SEC:
                return self._metadata[1]
            if self._failed and self._elapsed() - self._failed[0] < RETRY_SEC:
                raise self._failed[1]
            try:
                async with self._client() as client:
                    found = await self._discover(client)
            except OidcError as error:
                self._failed = self._elapsed(), error
                raise
            self._metadata, self._failed = (self._elapsed(), found), None
            return found

    async def login_url(self, state: str, nonce: str, verifier: str) -> str:
        """Where a person logs in. OidcError."""
        metadata = await self.metadata()
        async with self._client() as client:
            url, _ = client.create_authorization_url(
                metadata.authorization_endpoint, state=state, nonce=nonce, code_verifier=verifier
            )
        return str(url)

    async def logout_url(self) -> str | None:
        """Where a person logs out of the provider too; None where it offers no such place on the issuer's own origin
        (the page's security policy names only that)."""
        try:
            place = (await self.metadata()).end_session_endpoint
        except OidcError:
            return None
        if place is None or urlsplit(place)[:2] != urlsplit(self._settings.issuer)[:2]:
            return None
        back = {"client_id": self._settings.client_id, "post_logout_redirect_uri": f"{self.home}/login"}
        return f"{place}{'&' if '?' in place else '?'}{urlencode(back)}"

    async def claims(self, code: str, verifier: str, nonce: str) -> Mapping[str, Any]:
        """What the provider says of the person who came back with a code, verified. OidcError."""
        metadata = await self.metadata()
        methods = metadata.token_endpoint_auth_methods_supported
        how = "client_secret_basic" if "client_secret_basic" in methods else "client_secret_post"
        async with self._client(how if self._secret else "none") as client:
            try:
                token = await client.fetch_token(
                    metadata.token_endpoint, grant_type="authorization_code", code=code, code_verifier=verifier
                )
            except OAuthError as error:
                raise OidcError(f"{self.name} refused the login: {_code(error.error)}") from error
            except (http.HTTPError, ValueError) as error:
                raise self._down(error) from error
            if not isinstance(token.get("id_token"), str):
                raise OidcError(f"{self.name} sent no id_token: check that the client's scopes allow openid")
            claims = await self._verified(client, token["id_token"], nonce, metadata)
            wanted = {self._settings.groups_claim, self._settings.name_claim}
            if wanted <= claims.keys() or metadata.userinfo_endpoint is None or "access_token" not in token:
                return claims
            headers = {"authorization": f"Bearer {token['access_token']}"}
            more = await self._get(client, metadata.userinfo_endpoint, headers)
        if more.get("sub") != claims["sub"]:
            raise OidcError(f"{self.name} sent two different people: its userinfo is of another subject")
        return {**more, **claims}

    def _client(self, auth_method: str = "none") -> Any:
        return AsyncOAuth2Client(
            client_id=self._settings.client_id, client_secret=self._secret or None,
            token_endpoint_auth_method=auth_method, scope=" ".join(self._settings.scopes),
            redirect_uri=self.home + CALLBACK, code_challenge_method="S256", timeout=TIMEOUT_SEC, verify=self._tls,
        )  # fmt: skip

    async def _discover(self, client: Any) -> Metadata:
        issuer = self._settings.issuer
        try:
            body = await self._get(client, issuer.rstrip("/") + "/.well-known/openid-configuration")
            found = Metadata.model_validate(body)
        except ValidationError as error:
            wrong = ".".join(str(part) for part in error.errors()[0]["loc"])
            raise OidcError(f"{self.name} does not describe itself as a provider does: {wrong}", down=True) from error
        if found.issuer != issuer:
            named = found.issuer[:200]
            raise OidcError(f"{self.name} calls itself {named}: set issuer to that, or correct it", down=True)
        if issuer.startswith("https://") and any(e and not e.startswith("https://") for e in found.endpoints):
            raise OidcError(f"{self.name} names an address without https://", down=True)
        return found

    async def _get(self, client: Any, url: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        try:
            answer = await client.request("GET", url, withhold_token=True, headers=dict(headers or {}))
            body = answer.raise_for_status().json()
            if not isinstance(body, dict):
                raise ValueError(f"{url} is no JSON object")
        except (http.HTTPError, http.InvalidURL, ValueError) as error:
            raise self._down(error) from error
        return body

    def _down(self, error: Exception) -> OidcError:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        log.warning("the provider %s does not answer as it should: %s", self.name, reason,
                    extra={"event": "login.provider_down"})  # fmt: skip
        return OidcError(f"{self.name} does not answer as it should: try again in a moment", down=True)

    async def _verified(self, client: Any, id_token: str, nonce: str, metadata: Metadata) -> dict[str, Any]:
        """The claims of an id_token (OpenID Connect Core 1.0 §3.1.3.7)."""
        expected = jwt.JWTClaimsRegistry(
            now=int(self._now().timestamp()),
            leeway=LEEWAY_SEC,
            iss={"essential": True, "value": metadata.issuer},
            aud={"essential": True, "value": self._settings.client_id},
            nonce={"essential": True, "value": nonce},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
        )
        try:
            try:
                claims = jwt.decode(id_token, await self._key_set(client, metadata), ALGORITHMS).claims
            except (InvalidKeyIdError, BadSignatureError):  # Keys were exchanged, perhaps.
                claims = jwt.decode(id_token, await self._key_set(client, metadata, again=True), ALGORITHMS).claims
            expected.validate(claims)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            reason = getattr(error, "error", None) or type(error).__name__
            claim = f" ({error.claim})" if isinstance(error, ClaimError) else ""
            raise OidcError(f"{self.name} sent an id_token that is not valid: {_code(reason)}{claim}") from error
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if several else self._settings.client_id) != self._settings.client_id:
            raise OidcError(f"{self.name} sent an id_token that is not valid: it was issued to another client (azp)")
        return claims

    async def _key_set(self, client: Any, metadata: Metadata, *, again: bool = False) -> KeySet:
        """The provider's keys, at most an hour old, or with `again` 30 seconds."""
        kept = self._keys
        if kept and self._elapsed() - kept[0] < (KEYS_AGAIN_SEC if again else KEPT_SEC):
            return kept[1]
        found = KeySet.import_key_set(await self._get(client, metadata.jwks_uri))  # type: ignore[arg-type]
        self._keys = self._elapsed(), found
        return found


def _code(text: object) -> str:
    """A code of the provider's, as short plain text."""
    return "".join(c for c in str(text) if c.isascii() and (c.isalnum() or c in "_- "))[:60] or "error"
