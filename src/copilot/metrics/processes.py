"""The targets of a tick, each described by what its page says of its process: services, release or SDK, shards, start
and restarts. Scraped pages and Prometheus share this step."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from whenever import Instant

from copilot.metrics.window import Vector
from copilot.rules.signals import expressions as ex
from copilot.rules.signals.expressions import Gauge, Leaf, Role
from copilot.rules.signals.readings import Missing, ProcessRead
from copilot.rules.signals.taxonomy import RESTARTS, SERVER_RESTARTS, SHARDS_OWNED

SDK = Gauge(ex.Selector("worker", ex.WORKER_PRESENCE_METRIC), "max", ("instance", "client_name", "service_name"))
STARTED: dict[Role, Gauge] = {
    role: Gauge(ex.Selector(role, ex.START_TIME), "max", ("instance",)) for role in ("server", "worker")
}
"""Read from pages only: a Prometheus has it of all that it scrapes, so its source looks it up for each target."""
OWN_RESTARTS = Gauge(ex.WORKER_ROLE, "resets", ("instance",))
OF_PROCESSES: tuple[Leaf, ...] = (ex.SERVICES, ex.BUILDS, SDK, OWN_RESTARTS)
"""The leaves that describe processes. A Prometheus gives all their groups, not the largest."""


def described(processes: Iterable[ProcessRead], vector_of: Callable[[Leaf], Vector | Missing]) -> Iterator[ProcessRead]:
    """The processes, those that are read with what their pages say."""

    def by_instance(leaf: Leaf) -> dict[str, float]:
        vector = vector_of(leaf)
        return {} if isinstance(vector, Missing) else {group[0]: value for group, value in vector.items()}

    processes = list(processes)
    roles = {process.role for process in processes}
    services: defaultdict[str, set[str]] = defaultdict(set)
    versions: defaultdict[str, set[str]] = defaultdict(set)
    restarts: dict[Role, dict[str, float]] = {}
    shards: dict[str, float] = {}
    if "server" in roles:
        for instance, service in _groups(vector_of(ex.SERVICES)):
            services[instance].add(service)
        for instance, service, version in _groups(vector_of(ex.BUILDS)):
            services[instance].add(service)
            versions[instance].add(version.replace("_", "."))
        restarts["server"] = by_instance(OWN_RESTARTS) | by_instance(SERVER_RESTARTS)
        shards = by_instance(SHARDS_OWNED)
    if "worker" in roles:
        for instance, *names in _groups(vector_of(SDK)):
            versions[instance].update(names)
        restarts["worker"] = by_instance(RESTARTS)
    starts = {role: by_instance(STARTED[role]) for role in {p.role for p in processes if p.started is None}}
    for process in processes:
        if process.missing is not None:
            yield process
            continue
        started = starts[process.role].get(process.instance) if process.started is None else None
        yield replace(
            process,
            services=tuple(sorted(services[process.instance] - {""})),
            version=", ".join(sorted(versions[process.instance] - {""})),
            shards=shards.get(process.instance),
            started=Instant.from_timestamp(started) if started else process.started,
            restarts=restarts[process.role].get(process.instance, 0.0),
        )


def _groups(vector: Vector | Missing) -> Iterable[tuple[str, ...]]:
    return () if isinstance(vector, Missing) else vector
