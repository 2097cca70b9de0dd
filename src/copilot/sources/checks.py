"""One look at a metrics page or a Prometheus, for `copilot doctor`: does it answer, whose metrics does it have, how far
is its clock off."""

import re
import time
from dataclasses import dataclass

import httpx
from whenever import Instant

from copilot.metrics.answers import TargetStatus
from copilot.rules.signals.expressions import Role
from copilot.settings.clusters import MetricsEndpoint, PrometheusSettings
from copilot.sources import time_limit
from copilot.sources.http import clock_ahead
from copilot.sources.prometheus.client import PrometheusClient
from copilot.sources.prometheus.queries import ROLES, RoleQueries
from copilot.sources.scrape.once import PageTarget, of_its_role
from copilot.sources.scrape.pages import fetch_page, page_client, sums

TIMEOUT_SEC = 5.0
SERVER_ONLY = b"persistence_requests"
SERVICE = re.compile(rb'service_name="(frontend|history|matching|worker)"')
MIN_SAMPLES = 2
"""A rate needs two samples in its window."""
WINDOWS_SEC = (120.0, 300.0, 900.0)
"""Windows searched for two samples, the shortest first: a target may be young."""


@dataclass(frozen=True, slots=True)
class PageCheck:
    """A page that answered: its size and how long it took; how many of the families that the taxonomy reads of such
    pages it has now, in which dialects; how far its clock is ahead of ours, good to a second (None: it has no Date);
    the other role, where the page is of that one; the server's services that it names; and its sums of durations."""

    size_bytes: int
    took_sec: float
    families: int
    families_known: int
    dialects: tuple[str, ...]
    ahead_sec: float | None
    looks_like: Role | None
    services: tuple[str, ...] = ()
    sums: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class RoleCheck:
    """The targets of a role in a Prometheus: how many are up and down, their dialects, and the most samples a counter
    of one had in the rate window. `scraped_every_sec`: the scrape interval, where samples are too few for a rate; None
    also where the last quarter of an hour has fewer than two. `twins`: jobs that scrape another job's targets again;
    `jumping`: instances whose series are of several processes."""

    role: Role
    living: int
    down: int
    dialects: tuple[str, ...]
    samples: int
    scraped_every_sec: float | None = None
    twins: tuple[str, ...] = ()
    jumping: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PrometheusCheck:
    """A Prometheus that answered. `version` is empty where it does not say; `ahead_sec` as in `PageCheck`."""

    version: str
    took_sec: float
    ahead_sec: float | None
    roles: tuple[RoleCheck, ...]


def _clock_of(client: httpx.AsyncClient) -> list[float | None]:
    """How far the server's clock is ahead, by the Date header of each response that the client gets from now on."""
    ahead: list[float | None] = []

    async def note(response: httpx.Response) -> None:
        ahead.append(clock_ahead(response.headers.get("date", ""), time.time()))

    client.event_hooks = {"response": [note]}
    return ahead


async def check_page(endpoint: MetricsEndpoint) -> PageCheck:
    """Read the page once. SourceError when it cannot be read or parsed."""
    began = time.monotonic()
    async with page_client(endpoint.url) as client:
        ahead = _clock_of(client)
        body = await fetch_page(client, endpoint.url, timeout_sec=TIMEOUT_SEC)
    took = time.monotonic() - began
    page = PageTarget("", body, endpoint.role, endpoint.dialect)
    families, known = page.families
    other = PageTarget("", body, "worker" if endpoint.role == "server" else "server")
    of_other, known_of_other = other.families
    mistaken = of_its_role([page, other]) is other and of_other / known_of_other > families / known
    if SERVER_ONLY in body:  # Temporal's own service `worker` has the pages of an SDK worker, and calls the database.
        mistaken = mistaken and endpoint.role == "worker"
    return PageCheck(
        size_bytes=len(body),
        took_sec=took,
        families=families,
        families_known=known,
        dialects=(endpoint.dialect,) if endpoint.dialect else tuple(page.dialects),
        ahead_sec=ahead[-1],
        looks_like=other.role if mistaken else None,
        services=tuple(sorted({name.decode() for name in SERVICE.findall(body)})) if endpoint.role == "server" else (),
        sums=sums(body),
    )


async def check_prometheus(settings: PrometheusSettings, window_sec: float) -> PrometheusCheck:
    """Query its version and the targets of each role. SourceError when it does not answer, SettingsError when a file of
    the settings cannot be used."""
    client = PrometheusClient(settings)
    async with client.http, time_limit(TIMEOUT_SEC):
        began = time.monotonic()
        roles = tuple([await _role(client, role, settings, window_sec) for role in ROLES])
        took = time.monotonic() - began
        return PrometheusCheck(await client.version(), took, client.ahead_sec, roles)


async def _role(client: PrometheusClient, role: Role, settings: PrometheusSettings, window_sec: float) -> RoleCheck:
    async def targets(queries: RoleQueries) -> TargetStatus:
        at = Instant.now().timestamp(unit="millisecond")
        found = await client.query(queries.targets(), at)
        return queries.read_targets(((labels, points[at]) for labels, points in found), at / 1000)

    queries = RoleQueries(role, settings, window_sec)
    found = await targets(queries)
    every = None
    for window in WINDOWS_SEC if found.samples < MIN_SAMPLES and found.up else ():
        if (samples := (await targets(RoleQueries(role, settings, window))).samples) >= MIN_SAMPLES:
            every = 5.0 * max(1, round(window / samples / 5))  # to five seconds
            break
    dialects = tuple(d.name for d in queries.dialects)
    return RoleCheck(
        role, len(found.up), len(found.down), dialects, found.samples, every,
        twins=tuple(sorted(found.twins)), jumping=tuple(sorted(instance for _, instance in found.jumping)),
    )  # fmt: skip
