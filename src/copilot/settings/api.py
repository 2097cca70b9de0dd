"""`[api]` of copilot.toml: where the API and the page listen, and who has access. Values only."""

import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from copilot.settings.access import ChangeTokens, Tokens
from copilot.settings.oidc import OidcSettings
from copilot.settings.sources import HttpUrl, Section, reject, valid

_PROXY = "{} is not an IP address or network: write 10.0.3.7 or 10.0.0.0/16, for example"
_ORIGIN = "{} is not an origin: write https://grafana.example.org, without a path"
Network = Annotated[str, valid(ip_network, _PROXY), AfterValidator(lambda text: str(ip_network(text)))]
Origin = Annotated[str, valid(re.compile(r"https?://(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:\d{1,5})?").fullmatch, _ORIGIN)]


class ApiSettings(Section):
    """Where the API and the page listen, and who has access.

    `tokens` maps names to hashes, as `copilot token new` prints them: of viewers, who only read, or in the long form
    `name = { hash = "sha256:…", role = "operator", clusters = ["prod"] }` of viewers, operators and admins, limited to
    clusters or not. With tokens, every request needs one, except /healthz, /readyz and, with `open_metrics`, /metrics.
    Without tokens, the API listens on this machine only. `change_tokens`, names with hashes, can only report changes
    (POST /changes).
    `cert_file` and `key_file` (PEM) turn on HTTPS. If a proxy terminates TLS, list its addresses or networks in
    `trusted_proxies`: only their X-Forwarded-Proto and X-Forwarded-For are trusted, which makes the login cookie
    HTTPS-only and puts the client's address into the access log. `cors_origins` may call the API from a browser;
    `frame_ancestors` may embed the page. `access_log` logs one line per response; `mcp` serves
    tools for assistants at /mcp (needs the extra `mcp`); `max_event_streams` limits concurrent
    readers of /events, `max_event_streams_per_caller` those of one token or address; `max_connections` limits open
    connections (the limit of open files limits them further), `max_connections_per_address` those of one address that
    is no trusted proxy. `public_url` is the address of the page in notifications. Without tokens, an API on loopback
    answers only requests to a loopback name or to the host of `public_url`."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8765
    public_url: HttpUrl | None = None
    tokens: Tokens = {}
    change_tokens: ChangeTokens = {}
    oidc: OidcSettings | None = None
    open_metrics: bool = False
    cert_file: Path | None = None
    key_file: Path | None = None
    trusted_proxies: tuple[Network, ...] = ("127.0.0.1", "::1")
    cors_origins: tuple[Origin, ...] = ()
    frame_ancestors: tuple[Origin, ...] = ()
    access_log: bool = False
    mcp: bool = False
    max_event_streams: Annotated[int, Field(ge=1, le=10_000)] = 200
    max_event_streams_per_caller: Annotated[int, Field(ge=1, le=10_000)] = 50
    max_connections: Annotated[int, Field(ge=10, le=100_000)] = 800
    max_connections_per_address: Annotated[int, Field(ge=5, le=100_000)] = 200

    @field_validator("oidc")
    @classmethod
    def _can_return(cls, oidc: OidcSettings | None, info: ValidationInfo) -> OidcSettings | None:
        if oidc is None:
            return None
        plain = oidc.issuer.startswith("http://") and not is_loopback(urlsplit(oidc.issuer).hostname or "")
        problems = {
            f"issuer {oidc.issuer} needs https://, because its answers decide who is let in": plain,
            "it needs public_url of [api]: the provider sends people back to it": "public_url" in info.data
            and info.data["public_url"] is None,
        }
        reject({"; ".join(text for text, there_is in problems.items() if there_is): any(problems.values())})
        return oidc

    @property
    def asks(self) -> bool:
        """Whether a request has to say who sends it."""
        return bool(self.tokens) or self.oidc is not None

    @property
    def scheme(self) -> str:
        """http or https."""
        return "https" if self.cert_file is not None else "http"

    @property
    def host_here(self) -> str:
        """The host of a URL that reaches the API from this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"[{host}]" if ":" in host else host

    @property
    def url_here(self) -> str:
        """The URL that reaches the API from this machine."""
        return f"{self.scheme}://{self.host_here}:{self.port}"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        hashes = [*(token.hash for token in self.tokens.values()), *self.change_tokens.values()]
        reject({
            "cert_file and key_file go together": (self.cert_file is None) != (self.key_file is None),
            "two names share a token: create one for each": len(set(hashes)) != len(hashes),
            "two tokens share a name: names of tokens and change_tokens differ": self.tokens.keys()
            & self.change_tokens.keys(),
            "change_tokens need tokens or [api.oidc] beside them: without, no request needs one": self.change_tokens
            and not self.asks,
        })  # fmt: skip
        return self


def is_loopback(host: str) -> bool:
    """Whether an address is a loopback address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
