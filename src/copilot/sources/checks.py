"""One look at a metrics page or a Prometheus, for `copilot doctor`: does it answer, whose metrics does it have, how far
is its clock off."""

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import httpx
from whenever import Instant

from copilot.metrics import promql
from copilot.metrics.answers import TargetStatus
from copilot.metrics.dialects import BYTES, NUMBERS, MetricName, dialect_by_name, known_names
from copilot.metrics.resolve import leaves_of
from copilot.metrics.window import COARSE_SEC
from copilot.rules.signals.expressions import Matcher, Quantile, Role, server
from copilot.rules.signals.taxonomy import SPECS
from copilot.settings.clusters import MetricsEndpoint, PrometheusSettings
from copilot.sources import time_limit
from copilot.sources.http import clock_ahead
from copilot.sources.prometheus.client import PrometheusClient
from copilot.sources.prometheus.queries import OWN, ROLES, RoleQueries
from copilot.sources.scrape.once import PageTarget, of_its_role
from copilot.sources.scrape.pages import fetch_page, page_client, sums

TIMEOUT_SEC = 5.0
SERVER_ONLY = b"persistence_requests"
SERVICE = re.compile(rb'service_name="(frontend|history|matching|worker)"')
SHARDS = re.compile(rb"^numshards_gauge(?:\{[^}]*\})? (\d+)", re.MULTILINE)
SUMMARY = "summary (quantiles of each process; the worst is taken)"
NO_BUCKETS, TOO_COARSE = "no buckets", "too coarse"
SERVICES = frozenset({"frontend", "history", "matching", "worker"})
LATENCY = Quantile(0.0, server("service_latency"))
MIN_SAMPLES = 2
"""A rate needs two samples in its window."""
WINDOWS_SEC = (120.0, 300.0, 900.0)
"""Windows searched for two samples, the shortest first: a target may be young."""


@dataclass(frozen=True, slots=True)
class ServerProcesses:
    """The server's processes on a page or in a Prometheus: how many of each service, the history shards each of them
    owns (empty: not known), and their versions."""

    services: Mapping[str, int] = field(default_factory=dict)
    shards: tuple[int, ...] = ()
    versions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PageCheck:
    """A page that answered: its size and how long it took; how many of the families that the taxonomy reads of such
    pages it has now, in which dialects, and these in words; what of its latencies cannot be read, or not as a whole;
    how far its clock is ahead of ours, good to a second (None: it has no Date); the other role, where the page is of
    that one; the server's processes that it names; its sums of durations; and which of its lines were left out."""

    size_bytes: int
    took_sec: float
    families: int
    families_known: int
    dialects: tuple[str, ...]
    ahead_sec: float | None
    looks_like: Role | None
    spellings: tuple[str, ...] = ()
    latencies: tuple[str, ...] = ()
    processes: ServerProcesses = ServerProcesses()
    sums: frozenset[int] = frozenset()
    left_out: str = ""


@dataclass(frozen=True, slots=True)
class RoleCheck:
    """The targets of a role in a Prometheus: how many are up and down, their dialects in words, what of their latencies
    cannot be read, and the most samples a counter of one had in the rate window. `scraped_every_sec`: the scrape
    interval, where samples are too few for a rate; None also where the last quarter of an hour has fewer than two.
    `twins`: jobs that scrape another job's targets again; `broken`: instances whose series do not continue each other,
    and why; `again`: instances that are the process of another one, and of which."""

    role: Role
    living: int
    down: int
    spellings: tuple[str, ...]
    samples: int
    scraped_every_sec: float | None = None
    latencies: tuple[str, ...] = ()
    twins: tuple[str, ...] = ()
    broken: tuple[tuple[str, str], ...] = ()
    again: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PrometheusCheck:
    """A Prometheus that answered. `version` is empty where it does not say; `ahead_sec` as in `PageCheck`."""

    version: str
    took_sec: float
    ahead_sec: float | None
    roles: tuple[RoleCheck, ...]
    processes: ServerProcesses = ServerProcesses()


def lowest_bounds(series: Iterable[tuple[MetricName, Mapping[str, str]]]) -> dict[str, float]:
    """The lowest bound of each histogram of durations among these series that is not zero, by its name."""
    found: dict[str, float] = {}
    for metric, labels in series:
        family, bucket, _ = metric.name.partition("_bucket")
        if bucket and family not in NUMBERS | BYTES and (bound := _number(labels.get("le", ""))) > 0:
            found[family] = min(bound, found.get(family, bound))
    return found


def unread_latencies(series: Iterable[tuple[MetricName, Mapping[str, str]]]) -> tuple[str, ...]:
    """What of a worker's latencies cannot be read, or not as a whole, in words; empty where all can or none exists."""
    seen = list(series)
    lowest, names = lowest_bounds(seen), {metric.name: metric.dialect for metric, _ in seen}
    found: Counter[str] = Counter()
    for leaf in leaves_of(SPECS.values()):
        if isinstance(leaf, Quantile) and leaf.timer and leaf.series.role == "worker":
            family = leaf.series.family
            if family in lowest:
                dialect, bound = names[f"{family}_bucket"], lowest[family]
                found[TOO_COARSE] += bound / dialect.scale(bound) >= COARSE_SEC
            elif family in names:
                found[SUMMARY] += 1
            else:
                found[NO_BUCKETS] += f"{family}_count" in names
    return tuple(what for what, count in found.items() if count)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


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
    names = (endpoint.dialect,) if endpoint.dialect else tuple(page.dialects)
    services = {name.decode(): 1 for name in sorted(set(SERVICE.findall(body)))}
    shards = [int(number) for number in SHARDS.findall(body)]
    of_server = ServerProcesses(services, (sum(shards),) if shards else (), frozenset(page.versions))
    return PageCheck(
        size_bytes=len(body),
        took_sec=took,
        families=families,
        families_known=known,
        dialects=names,
        ahead_sec=ahead[-1],
        looks_like=other.role if mistaken else None,
        spellings=spellings(names, page.series),
        latencies=unread_latencies(page.series),
        processes=of_server if endpoint.role == "server" else ServerProcesses(),
        sums=sums(body),
        left_out=page.left_out,
    )


def spellings(dialects: Iterable[str], series: Iterable[tuple[MetricName, Mapping[str, str]]]) -> tuple[str, ...]:
    """Each dialect's name, which is what can be set, and what it means for these series."""
    seen = list(series)
    # A summary has no bounds: what names do not tell is read as seconds, as all reporters of summaries write them.
    unknown = 0.0 if SUMMARY in unread_latencies(seen) else None
    lowest = min(lowest_bounds(seen).values(), default=unknown)
    return tuple(f"{name}: {dialect_by_name(name).spelling(lowest)}" for name in dialects)


async def check_prometheus(settings: PrometheusSettings, window_sec: float) -> PrometheusCheck:
    """Query its version and the targets of each role. SourceError when it does not answer, SettingsError when a file of
    the settings cannot be used."""
    client = PrometheusClient(settings)
    async with client.http, time_limit(2 * TIMEOUT_SEC):
        began = time.monotonic()
        roles = tuple([await _role(client, role, settings, window_sec) for role in ROLES])
        took = time.monotonic() - began
        version, processes = await client.version(), await _processes(client, settings)
        return PrometheusCheck(version, took, client.ahead_sec, roles, processes)


async def _processes(client: PrometheusClient, settings: PrometheusSettings) -> ServerProcesses:
    """The server's processes by `num_goroutines`, which each writes: Temporal's own worker serves no requests."""

    def of(family: str) -> str:
        return promql.selector(settings.prefix + family, promql.parse_matchers(settings.selector))

    each = f"max by (service_name, instance) ({of('num_goroutines')})"
    parts = (
        ("services", f"count by (service_name) ({each})"),
        ("shards", f"max by (instance) ({of('numshards_gauge')})"),
        ("versions", f"count by (build_version) ({of('build_information')})"),
    )
    at = Instant.now().timestamp(unit="millisecond")
    found: dict[str, dict[str, int]] = {part: {} for part, _ in parts}
    for labels, points in await client.query(promql.join_expressions(parts), at):
        label = labels.get("service_name") or labels.get("instance") or labels.get("build_version")
        if label and (part := labels.get(promql.TAG)) in found:
            found[part][label] = int(points[at])
    services = {name: found["services"][name] for name in sorted(SERVICES & found["services"].keys())}
    return ServerProcesses(services, tuple(found["shards"].values()), frozenset(found["versions"]))


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
    series = await _timers(client, role, settings)
    named = spellings((d.name for d in queries.dialects), series)
    return RoleCheck(
        role, len(found.up), len(found.down), named, found.samples, every, unread_latencies(series),
        twins=tuple(sorted(found.twins)),
        again=tuple(sorted((instance, of) for (_, instance), (_, of) in found.again.items())),
        broken=tuple(sorted((instance, why) for (_, instance), why in found.broken.items())),
    )  # fmt: skip


async def _timers(
    client: PrometheusClient, role: Role, settings: PrometheusSettings
) -> list[tuple[MetricName, Mapping[str, str]]]:
    """The series of a role's timers: which of their parts there are, and with which bounds."""
    leaves = leaves_of(SPECS.values()) if role == "worker" else (LATENCY,)
    known = {settings.prefix + name: metric for name, metric in known_names(role, leaves, ()).items()}
    timers = "|".join(sorted(n for n, m in known.items() if "latency" in m.name))
    these = (Matcher("__name__", "=~", timers), *OWN[role], *promql.parse_matchers(settings.selector))
    at = Instant.now().timestamp(unit="millisecond")
    answer = await client.query(f"count by (__name__, le) ({promql.selector('', these)})", at)
    return [(known[name], labels) for labels, _ in answer if (name := labels.get("__name__", "")) in known]
