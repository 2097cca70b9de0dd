"""Which processes there are: one target per address of a DNS name, as a headless service of Kubernetes has them, or per
pod that Kubernetes' API lists.

A records (and AAAA) give addresses, SRV records addresses and ports. What is gone is no target any more; what is new is
read from the next scrape on."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from socket import AF_INET, AF_INET6

import dns.asyncresolver
import dns.exception
import dns.resolver
import httpx

from copilot.errors import SourceError
from copilot.rules.signals.readings import MissingCode
from copilot.settings.clusters import MetricsEndpoint
from copilot.settings.discovery import PodSelector
from copilot.sources import ThrottledLog
from copilot.sources.scrape.pods import Pod, PodApi

TIMEOUT_SEC = 2.0
MAX_ADDRESSES = 500
LIST_EVERY_SEC = 15.0
"""Between two lists of pods, where every page is read."""
KEEP_SEC = 300.0
"""How long the last list of pods holds while there is no other."""
log = logging.getLogger(__name__)


class Discovery:
    """The endpoints of a cluster's settings, with one per process where they are discovered. What was found last holds
    while the name server does not answer, and for five minutes while Kubernetes' API does not. `nameservers`: by
    default those of this machine; `pod_api`: by default that of the pod in which this process runs; `clock` counts
    seconds."""

    def __init__(
        self,
        settings: Sequence[MetricsEndpoint],
        nameservers: Sequence[tuple[str, int]] = (),
        pod_api: PodApi | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._known: dict[str, list[str]] = {}
        self._resolver: dns.asyncresolver.Resolver | None = None
        self._nameservers = nameservers
        api = pod_api or PodApi.of_this_pod()
        self._pods = {e.url: DiscoveredPods(api, pods, e.port or 0, clock) for e in settings if (pods := e.pods)}

    @property
    def needed(self) -> bool:
        """Whether any endpoint is discovered."""
        return any(endpoint.discover for endpoint in self._settings)

    async def endpoints(self) -> tuple[MetricsEndpoint, ...]:
        """The endpoints now. What has no address is one endpoint, which cannot be read: its page says why."""
        await asyncio.gather(*(pods.refresh() for pods in self._pods.values()))
        found: list[MetricsEndpoint] = []
        for endpoint in self._settings:
            urls = await self._urls(endpoint) if endpoint.discover else []
            found += [endpoint.model_copy(update={"url": url, "discover": None}) for url in urls] or [endpoint]
        return tuple({(endpoint.url, endpoint.role): endpoint for endpoint in found}.values())

    def pods(self, endpoint: MetricsEndpoint) -> "DiscoveredPods | None":
        """The pods of an endpoint of the settings; None where it is not discovered by Kubernetes' API."""
        return self._pods.get(endpoint.url)

    def list_again(self) -> None:
        """List the pods at the next opportunity: a page that is not answered may be that of a pod that is gone."""
        for pods in self._pods.values():
            pods.due = True

    async def _urls(self, endpoint: MetricsEndpoint) -> list[str]:
        if (pods := self.pods(endpoint)) is not None:
            return pods.urls
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


class DiscoveredPods:
    """The pods of one endpoint. `problem`: why the last list failed, or has no page to read; None if it has one.
    `due`: whether to list them again before `LIST_EVERY_SEC` have passed."""

    def __init__(self, api: PodApi | None, pods: PodSelector, port: int | str, clock: Callable[[], float]) -> None:
        self._api, self._selector, self._port, self._clock = api, pods, port, clock
        self.problem: SourceError | None = None
        self.due = True
        self._found: list[Pod] = []
        self._tried = self._listed = 0.0
        self._log = ThrottledLog(log, "scrape.pods_not_listed", clock)

    @property
    def read(self) -> list[Pod]:
        """The pods with the port, whose pages are read."""
        return [pod for pod in self._found if pod.port is not None]

    @property
    def left_out(self) -> list[str]:
        """The names of the pods that have no such port."""
        return [pod.name for pod in self._found if pod.port is None]

    @property
    def urls(self) -> list[str]:
        """The addresses of their pages."""
        hosts = ((pod, f"[{pod.address}]" if ":" in pod.address else pod.address) for pod in self.read)
        return [f"http://{host}:{pod.port}/metrics" for pod, host in hosts]

    async def refresh(self) -> None:
        """List the pods, if they are due."""
        now = self._clock()
        if not self.due and now - self._tried < LIST_EVERY_SEC:
            return
        self.due, self._tried = False, now
        try:
            if self._api is None:
                raise SourceError(
                    MissingCode.NO_SOURCE, "this process runs in no pod of Kubernetes: give url, or dns:…"
                )
            self._found, self._listed = await self._api.running(self._selector, self._port), now
            self.problem = None if self.urls else self._without_pages()
        except SourceError as error:
            self.problem = error
            if now - self._listed > KEEP_SEC:
                self._found = []
            held = f"; the last list, {now - self._listed:.0f} s old, holds" if self._found else ""
            self._log.warning("pods %s in %s: %s%s", self._selector.selector, self._selector.namespace, error, held)

    def _without_pages(self) -> SourceError:
        where = f"namespace {self._selector.namespace}"
        if not self._found:
            return SourceError(MissingCode.ABSENT, f"no running pod in {where} matches {self._selector.selector}")
        named = ", ".join(self.left_out[:3])
        return SourceError(MissingCode.ABSENT, f"no pod in {where} has a port named {self._port}: {named}")
