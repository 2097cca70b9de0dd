"""A real dev server for the loops, and a watched cluster whose readings the test decides."""

import asyncio
import subprocess
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydantic import SecretStr
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker
from whenever import Instant

from copilot import pipeline
from copilot.embedded.ports import LOOPBACK, free_ports
from copilot.embedded.temporal import frontend_healthy, temporal_binary
from copilot.errors import StoreError
from copilot.logs.patterns import PatternBook
from copilot.loops.activities.explain import ExplainActivities
from copilot.loops.activities.inspect import InspectActivities
from copilot.loops.activities.mutes import MutesRead
from copilot.loops.activities.notify import LOOK_AGAIN_SEC, NotifyActivities
from copilot.loops.activities.observe import LogActivities, ObserveActivities, WatchedLogs
from copilot.loops.activities.schedule import PruneActivities, ScheduleActivities
from copilot.loops.definitions import TICKS_PER_RUN, LoopStatus, observe_id
from copilot.loops.live import LoopLive
from copilot.loops.observe import ObserveClusterWorkflow
from copilot.loops.starter import OBSERVING, LoopKind, Started, start_loop
from copilot.loops.worker import UNVERSIONED, build_worker
from copilot.notify.channels import channel
from copilot.rules.evaluate import Context, evaluate
from copilot.rules.memory import Memory
from copilot.rules.model import Evaluation, HealthAssessment, Snapshot, Trigger
from copilot.rules.signals.readings import Signals
from copilot.rules.thresholds import Thresholds
from copilot.settings.clusters import ClusterSettings, MetricsEndpoint, TemporalSettings, WatchedTemporal
from copilot.settings.load import Settings, WorkerSettings
from copilot.settings.notify import NotifySettings, StateName
from copilot.sources.knowledge.local import LocalKnowledge
from copilot.sources.logs.file import FileLogs
from copilot.sources.temporal.executions import ExecutionsReader
from copilot.store.base import Store
from tests.evaluations import signals
from tests.fakes.memory_store import MemoryStore

T = TypeVar("T")
EVER = (Instant.from_utc(2020, 1, 1), Instant.from_utc(2100, 1, 1))


class FedSource:
    """Reads what the test says. No read returns while it is `stuck`."""

    name = "fed"
    expected = tuple(signals().readings)

    def __init__(self) -> None:
        self.changed: dict[str, float | None] = {}
        self.stuck = False

    async def read(self, now: Instant) -> Signals:
        while self.stuck:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
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
            raise StoreError("the state store is away") from ValueError(3_000 * "as drivers tell it: ")

    async def save_snapshots(self, snapshots: Sequence[Snapshot]) -> int:
        self._reached()
        for each in snapshots:
            if each.evaluation.evaluation_id not in self._snapshots:
                self.arrived.append(each.evaluation.evaluation_id)
        return await super().save_snapshots(snapshots)

    async def save_assessment(self, assessment: HealthAssessment) -> bool:
        self._reached()
        return await super().save_assessment(assessment)

    async def prune(self, *args: Any, **named: Any) -> int:
        self._reached()
        return await super().prune(*args, **named)

    async def save_inspection(self, *args: Any) -> None:
        self._reached()
        await super().save_inspection(*args)

    async def latest_assessment(self, cluster: str) -> HealthAssessment | None:
        self._reached()
        return await super().latest_assessment(cluster)

    async def latest_snapshot(self, cluster: str) -> Snapshot | None:
        self._reached()
        return await super().latest_snapshot(cluster)


LOCKED = '{"level":"error","msg":"Error acquiring shard","shard-id":1,"error":"database is locked"}\n'
SECRET = "wh-s3cret-that-stays-secret"


def a_channel(name: str, url: str, *states: StateName) -> NotifySettings:
    """A webhook."""
    chosen: tuple[StateName, ...] = states or ("stressed", "critical", "unknown")
    return NotifySettings(
        name=name, kind="webhook", url=SecretStr(f"{url}/{name}"), secret=SecretStr(SECRET), states=chosen
    )


@dataclass
class Observed:
    """One cluster in a test: its source, its store (`database`, if there is one), its log file and channels if it has
    them, its worker, and its loops."""

    client: Client
    cluster: ClusterSettings
    source: FedSource = field(default_factory=FedSource)
    store: BreakableStore = field(default_factory=BreakableStore)
    thresholds: Thresholds = field(default_factory=Thresholds)
    rules: pipeline.Rules = evaluate
    database: Store | None = None
    log_file: Path | None = None
    channels: Sequence[NotifySettings] = ()
    executions: ExecutionsReader | None = None
    look_again_sec: float = LOOK_AGAIN_SEC
    queue: str = ""

    def __post_init__(self) -> None:
        self.queue = self.queue or f"queue-{self.cluster.name}"

    @property
    def loop(self) -> WorkflowHandle[ObserveClusterWorkflow, None]:
        return self.client.get_workflow_handle_for(ObserveClusterWorkflow.run, observe_id(self.cluster.name))

    def other(self, loop: LoopKind) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(loop.workflow_id(self.cluster.name))

    def settings(self, *clusters: ClusterSettings) -> Settings:
        """What `copilot start` and `copilot status` would read for this cluster, or for these."""
        address = self.client.service_client.config.target_host
        return Settings(
            temporal=TemporalSettings(address=address),
            task_queue=self.queue,
            clusters=clusters or (watched(self.cluster.name),),
            notify=tuple(self.channels),
        )

    def worker(self, release: WorkerSettings = UNVERSIONED) -> AbstractAsyncContextManager[Worker]:
        name, cluster = self.cluster.name, self.cluster
        context = Context(name, cluster.interval_sec, cluster.window, self.thresholds)
        deps = ObserveActivities(
            sources={name: (self.source,)},
            contexts={name: context},
            store=self.database or self.store,
            rules=self.rules,
        )
        logs = {name: WatchedLogs(FileLogs([self.log_file]), PatternBook(), cluster.window)} if self.log_file else {}
        return build_worker(
            self.client,
            self.queue,
            deps,
            LogActivities(redact=str, logs=logs),
            ExplainActivities(deps.store, LocalKnowledge()),
            ScheduleActivities(deps.store, LoopLive(self.client)),
            PruneActivities(deps.store, retention_days=7),
            InspectActivities({name: self.executions} if self.executions else {}, deps.store),
            NotifyActivities(
                tuple(self.channels),
                {c.name: channel(c) for c in self.channels},
                mutes=MutesRead(deps.store),
                look_again_sec=self.look_again_sec,
            ),
            release=release,
        )

    async def start(self, loop: LoopKind = OBSERVING, ticks_per_run: int = TICKS_PER_RUN) -> Started:
        notifies = bool(self.channels) and loop is OBSERVING
        return await start_loop(self.client, self.queue, self.cluster, loop, ticks_per_run, notifies=notifies)

    async def live(self) -> Evaluation | None:
        return await LoopLive(self.client, timeout_sec=10).evaluation(self.cluster.name)

    async def status(self, loop: LoopKind = OBSERVING) -> LoopStatus:
        status: LoopStatus = await self.other(loop).query("status", result_type=LoopStatus)
        return status

    async def until(self, reached: Callable[[LoopStatus], bool], loop: LoopKind = OBSERVING) -> LoopStatus:
        """Wait until a loop's status is like this."""

        async def status() -> LoopStatus | None:
            found = await self.status(loop)
            return found if reached(found) else None

        return await eventually(status)

    async def cycles(self, at_least: int, loop: LoopKind = OBSERVING) -> LoopStatus:
        """Wait until a loop has had so many cycles."""
        return await self.until(lambda status: status.cycles >= at_least, loop)

    async def failure(self, loop: LoopKind) -> str:
        """Wait until a loop has failed; how."""
        status = await self.until(lambda status: status.last_error is not None and not status.last_error.over, loop)
        assert status.last_error is not None
        return status.last_error.what

    async def stored(self, at_least: int) -> list[str]:
        """Wait until so many snapshots have arrived; their ids in order of arrival."""

        async def enough() -> list[str] | None:
            return self.store.arrived if len(self.store.arrived) >= at_least else None

        return list(await eventually(enough))

    async def assessments(self) -> list[HealthAssessment]:
        """All that are stored, oldest first."""
        return list(await self.store.assessments_in_range(self.cluster.name, *EVER))

    async def assessed(self, trigger: Trigger, at_least: int = 1) -> list[HealthAssessment]:
        """Wait until so many assessments of a trigger are stored; all there are, oldest first."""

        async def enough() -> list[HealthAssessment] | None:
            kept = await self.assessments()
            return kept if sum(a.trigger is trigger for a in kept) >= at_least else None

        return await eventually(enough)

    def frontend(self, *, answers: bool) -> None:
        """Whether the watched cluster's frontend answers: stressed at once if not."""
        self.source.changed = {} if answers else {"frontend__reachable": 0.0}

    def log(self, lines: int, line: str = LOCKED) -> None:
        """Write to the log file."""
        assert self.log_file is not None
        with self.log_file.open("a", encoding="utf-8") as out:
            out.write(line * lines)

    async def shows(self, pattern: str) -> Evaluation:
        """The first live evaluation whose logs show this pattern."""

        async def named() -> Evaluation | None:
            live = await self.live()
            return live if live and pattern in {p.pattern for p in live.signals.logs} else None

        return await eventually(named)


def in_order(stored: list[str]) -> bool:
    """Whether every snapshot was stored once, in the order of its tick."""
    return stored == sorted(set(stored), key=lambda i: int(i.rpartition(":")[2]))


def no_rules(signals: Signals, memory: Memory, context: Context) -> tuple[Evaluation, Memory]:  # noqa: ARG001
    """Rules that cannot judge."""
    raise ValueError("these rules judge nothing")


async def eventually(ask: Callable[[], Awaitable[T | None]], within: float = 120.0) -> T:
    """Ask until there is an answer."""
    async with asyncio.timeout(within):
        while (answer := await ask()) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.5)
        return answer


def watched(name: str) -> ClusterSettings:
    """A cluster as settings allow it."""
    return ClusterSettings(name=name, temporal=WatchedTemporal(address="127.0.0.1:1"))


def reading_executions(client: Client) -> ExecutionsReader:
    """A reader of the executions on the client's own server."""
    address = client.service_client.config.target_host
    cluster = ClusterSettings(temporal=WatchedTemporal(address=address, namespaces=("default",)))
    return ExecutionsReader(cluster, redact=str)


def a_cluster(**settings: float) -> ClusterSettings:
    """A cluster of a name of its own, observed every second: faster than settings allow, for tests are to be short."""
    nowhere = MetricsEndpoint(url="http://127.0.0.1:1/metrics", role="server")
    cluster = ClusterSettings(name=f"c{uuid.uuid4().hex[:8]}", metrics=(nowhere,))
    return cluster.model_copy(update={"interval_sec": 1.0, **settings})


@pytest.fixture(scope="session")
def temporal() -> Iterator[str]:
    """The address of a dev server that all tests of a process share: their clusters, task queues and deployments bear
    names of their own."""
    port, http_port, metrics_port = free_ports(3)
    argv = [
        *(str(temporal_binary()), "server", "start-dev", "--headless", "--ip", LOOPBACK, "--log-level", "error"),
        *("--port", str(port), "--http-port", str(http_port), "--metrics-port", str(metrics_port)),
    ]
    serves = frontend_healthy(f"{LOOPBACK}:{port}")

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
