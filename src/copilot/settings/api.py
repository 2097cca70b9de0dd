"""`[api]` of copilot.toml: where the API and the page listen, and who may ask. Values only."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from copilot.settings.sources import HttpUrl, Section

_ORIGIN = re.compile(r"https?://(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:\d{1,5})?")


def _origin(text: str) -> str:
    if _ORIGIN.fullmatch(text) is None:
        raise ValueError(f"{text!r} is no origin: write https://grafana.example.org, without a path")
    return text


def _token_hash(text: str) -> str:
    if re.fullmatch(r"sha256:[0-9a-f]{64}", text) is None:
        raise ValueError("no hash of a token (`copilot token new NAME` prints the line to put here)")
    return text


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ValueError(f"{text!r} is no address of a proxy: write 10.0.3.7, or a network as 10.0.0.0/16") from error


Network = Annotated[str, AfterValidator(_network)]
Origin = Annotated[str, AfterValidator(_origin)]
TokenHash = Annotated[str, AfterValidator(_token_hash)]
TokenName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class ApiSettings(Section):
    """Where the API and the page listen, and who may ask.

    `tokens` are names with hashes, as `copilot token new` prints them: with one or more, whoever asks must show a token
    (all but /healthz and /readyz, and /metrics with `open_metrics`); without, the API listens on this machine only.
    With `cert_file` and `key_file` (PEM) it speaks HTTPS. Where a proxy does that for it, `trusted_proxies` are the
    proxy's addresses or networks: what they say in X-Forwarded-Proto and -For is believed, nobody else's word; so a
    login's cookie goes by HTTPS alone, and the access log names the reader. `cors_origins` are the web pages that may
    ask it from a browser, `frame_ancestors` those that may show it inside of them. `access_log` logs each answer in a
    line; `max_event_streams` readers may listen to /events at once. `public_url` is where people find the page:
    messages link to it."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8765
    public_url: HttpUrl | None = None
    tokens: dict[TokenName, TokenHash] = {}
    open_metrics: bool = False
    cert_file: Path | None = None
    key_file: Path | None = None
    trusted_proxies: tuple[Network, ...] = ("127.0.0.1", "::1")
    cors_origins: tuple[Origin, ...] = ()
    frame_ancestors: tuple[Origin, ...] = ()
    access_log: bool = False
    max_event_streams: Annotated[int, Field(ge=1, le=10_000)] = 200

    @property
    def scheme(self) -> str:
        """http or https."""
        return "https" if self.cert_file is not None else "http"

    @property
    def host_here(self) -> str:
        """The host as an address on this machine has it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"[{host}]" if ":" in host else host

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        hashes = list(self.tokens.values())
        if len(set(hashes)) != len(hashes):
            raise ValueError("two names have the same token: make one for each")
        return self
