"""A real dev server for the loops, and a watched cluster whose readings the test decides."""

import asyncio
import subprocess
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TypeVar

import pytest
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker
from whenever import Instant

from copilot import pipeline
from copilot.bootstrap import LoopLive
from copilot.embedded.ports import LOOPBACK, free_ports
from copilot.embedded.temporal import frontend_serves, temporal_binary
from copilot.errors import StoreError
from copilot.loops.activities.observe import ObserveDeps
from copilot.loops.definitions import LoopStatus, observe_id
from copilot.loops.observe import ObserveClusterWorkflow
from copilot.loops.starter import SCHEDULING, Started, start_loop
from copilot.loops.worker import UNVERSIONED, build_worker
from copilot.rules.evaluate import Context, evaluate
from copilot.rules.memory import Memory
from copilot.rules.model import Evaluation, HealthAssessment, Snapshot
from copilot.rules.signals.readings import Signals
from copilot.rules.thresholds import Thresholds
from copilot.settings.load import ClusterSettings, MetricsEndpoint, WorkerSettings
from copilot.store.base import PRUNE_BATCH, Store, Told
from tests.evaluations import signals
from tests.fakes.memory_store import MemoryStore

T = TypeVar("T")
EVER = (Instant.from_utc(2020, 1, 1), Instant.from_utc(2100, 1, 1))


class FedSource:
    """Reads what the test says. `stuck`: a read never comes back."""

    name = "fed"
    expected = tuple(signals().readings)

    def __init__(self) -> None:
        self.changed: dict[str, float | None] = {}
        self.stuck = False
        self.reads = 0

    async def read(self, now: Instant) -> Signals:
        self.reads += 1
        if self.stuck:
            await asyncio.Event().wait()
        return signals(now, **self.changed)

    async def aclose(self) -> None:
        return None


class BreakableStore(MemoryStore):
    """A store that can be away, and remembers in which order things were really new."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.arrived: list[str] = []
        self.refused = 0

    def _reached(self) -> None:
        if self.away:
            self.refused += 1
            raise StoreError("the state store is away")

    async def save_snapshots(self, snapshots: Sequence[Snapshot]) -> int:
        self._reached()
        for each in snapshots:
            if each.evaluation.evaluation_id not in self._snapshots:
                self.arrived.append(each.evaluation.evaluation_id)
        return await super().save_snapshots(snapshots)

    async def save_assessment(self, assessment: HealthAssessment) -> bool:
        self._reached()
        return await super().save_assessment(assessment)

    async def prune(
        self, before: Instant, batch: int = PRUNE_BATCH, told: Told | None = None, cluster: str | None = None
    ) -> int:
        self._reached()
        return await super().prune(before, batch, told, cluster)

    async def latest_assessment(self, cluster: str) -> HealthAssessment | None:
        self._reached()
        return await super().latest_assessment(cluster)

    async def latest_snapshot(self, cluster: str) -> Snapshot | None:
        self._reached()
        return await super().latest_snapshot(cluster)


@dataclass
class Observed:
    """One cluster's loop in a test: what feeds it, where it stores (`database`, if there is one), and how to start and
    ask it."""

    client: Client
    cluster: ClusterSettings
    source: FedSource = field(default_factory=FedSource)
    store: BreakableStore = field(default_factory=BreakableStore)
    thresholds: Thresholds = field(default_factory=Thresholds)
    rules: pipeline.Rules = evaluate
    database: Store | None = None
    queue: str = ""

    def __post_init__(self) -> None:
        self.queue = self.queue or f"queue-{self.cluster.name}"

    @property
    def loop(self) -> WorkflowHandle[ObserveClusterWorkflow, None]:
        return self.client.get_workflow_handle_for(ObserveClusterWorkflow.run, observe_id(self.cluster.name))

    def worker(self, release: WorkerSettings = UNVERSIONED) -> AbstractAsyncContextManager[Worker]:
        name, cluster = self.cluster.name, self.cluster
        context = Context(name, cluster.interval_sec, cluster.window, self.thresholds)
        deps = ObserveDeps(
            sources={name: (self.source,)},
            contexts={name: context},
            store=self.database or self.store,
            rules=self.rules,
        )
        return build_worker(self.client, self.queue, deps, release)

    async def schedule(self, ticks_per_run: int | None = None) -> Started:
        """Start the loop of scheduled assessments."""
        return await start_loop(self.client, self.queue, self.cluster, SCHEDULING, ticks_per_run)

    async def start(self, ticks_per_run: int | None = None) -> Started:
        return await start_loop(self.client, self.queue, self.cluster, ticks_per_run=ticks_per_run)

    async def live(self) -> Evaluation | None:
        return await LoopLive(self.client, timeout_sec=10).evaluation(self.cluster.name)

    async def status(self) -> LoopStatus:
        return await self.loop.query(ObserveClusterWorkflow.status)

    async def ticks(self, at_least: int) -> LoopStatus:
        """Wait until the loop has evaluated so often."""

        async def often_enough() -> LoopStatus | None:
            status = await self.status()
            return status if status.ticks >= at_least else None

        return await eventually(often_enough)

    async def stored(self, at_least: int) -> list[str]:
        """Wait until so many snapshots have arrived; their ids in order of arrival."""

        async def enough() -> list[str] | None:
            return self.store.arrived if len(self.store.arrived) >= at_least else None

        return list(await eventually(enough))


def no_rules(signals: Signals, memory: Memory, context: Context) -> tuple[Evaluation, Memory]:  # noqa: ARG001
    """Rules that cannot judge."""
    raise ValueError("these rules judge nothing")


async def eventually(ask: Callable[[], Awaitable[T | None]], within: float = 40.0) -> T:
    """Ask until there is an answer."""
    async with asyncio.timeout(within):
        while (answer := await ask()) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        return answer


def a_cluster() -> ClusterSettings:
    """A cluster of a name of its own, observed every second: faster than settings allow, for tests are to be short."""
    nowhere = MetricsEndpoint(url="http://127.0.0.1:1/metrics", role="server")
    cluster = ClusterSettings(name=f"c{uuid.uuid4().hex[:8]}", metrics=(nowhere,))
    return cluster.model_copy(update={"interval_sec": 1.0})


@pytest.fixture(scope="session")
def temporal() -> Iterator[str]:
    """The address of a dev server that all tests of a process share: their clusters, task queues and deployments bear
    names of their own."""
    port, http_port, metrics_port = free_ports(3)
    argv = [
        *(str(temporal_binary()), "server", "start-dev", "--headless", "--ip", LOOPBACK, "--log-level", "error"),
        *("--port", str(port), "--http-port", str(http_port), "--metrics-port", str(metrics_port)),
    ]
    serves = frontend_serves(f"{LOOPBACK}:{port}")

    async def ready() -> bool | None:
        return await serves() or None

    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            asyncio.run(eventually(ready, within=120))
            yield f"{LOOPBACK}:{port}"
        finally:
            server.kill()


@pytest.fixture
async def client(temporal: str) -> Client:
    return await Client.connect(temporal, data_converter=pydantic_data_converter)


@pytest.fixture
async def observed(client: Client) -> Observed:
    return Observed(client, a_cluster())
