"""Which processes there are, by DNS: one target per address of a name, as a headless service of Kubernetes has them.

A records (and AAAA) give addresses, SRV records addresses and ports. An address that is gone is no target any more; one
that is new is read from the next scrape on.
"""

from collections.abc import Sequence
from socket import AF_INET, AF_INET6

import dns.asyncresolver
import dns.exception
import dns.resolver
import httpx

from copilot.settings.clusters import MetricsEndpoint

TIMEOUT_SEC = 2.0
MAX_ADDRESSES = 500


class Discovery:
    """The endpoints of a cluster's settings, with one per address where a name is discovered. What was found last holds
    while the name server does not answer. `nameservers`: by default those of this machine."""

    def __init__(self, settings: Sequence[MetricsEndpoint], nameservers: Sequence[tuple[str, int]] = ()) -> None:
        self._settings = settings
        self._known: dict[str, list[str]] = {}
        self._resolver: dns.asyncresolver.Resolver | None = None
        self._nameservers = nameservers

    @property
    def needed(self) -> bool:
        """Whether any endpoint is discovered."""
        return any(endpoint.discover for endpoint in self._settings)

    async def endpoints(self) -> tuple[MetricsEndpoint, ...]:
        """The endpoints now. A name without an address is one endpoint, which cannot be read: its page says why."""
        found: list[MetricsEndpoint] = []
        for endpoint in self._settings:
            urls = await self._urls(endpoint) if endpoint.discover else []
            found += [endpoint.model_copy(update={"url": url, "discover": None}) for url in urls] or [endpoint]
        return tuple({(endpoint.url, endpoint.role): endpoint for endpoint in found}.values())

    async def _urls(self, endpoint: MetricsEndpoint) -> list[str]:
        url = httpx.URL(endpoint.url)
        try:
            hosts = [(url.host, url.port)] if url.port else await self._services(url.host)
            addresses = {(a, port) for host, port in hosts for a in await self._addresses(host)}
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            addresses = set()
        except dns.exception.DNSException:
            return self._known.get(endpoint.url, [])
        urls = [str(url.copy_with(host=address, port=port)) for address, port in sorted(addresses)[:MAX_ADDRESSES]]
        self._known[endpoint.url] = urls
        return urls

    async def _services(self, name: str) -> list[tuple[str, int]]:
        answer = await self._asked().resolve(name, "SRV", search=True, lifetime=TIMEOUT_SEC)
        return [(record.target.to_text(omit_final_dot=True), record.port) for record in answer]

    async def _addresses(self, host: str) -> list[str]:
        answers = await self._asked().resolve_name(host, search=True, lifetime=TIMEOUT_SEC)
        # A process with addresses of both families is one.
        return list(answers.addresses(AF_INET)) or list(answers.addresses(AF_INET6))

    def _asked(self) -> dns.asyncresolver.Resolver:
        if self._resolver is None:
            self._resolver = dns.asyncresolver.Resolver(configure=not self._nameservers)
            if self._nameservers:
                self._resolver.nameservers = [host for host, _ in self._nameservers]
                self._resolver.nameserver_ports = dict(self._nameservers)
        return self._resolver
