"""Task queues of all kinds and the workers behind them at one real server, each test in its own namespaces: activities
alone, worker deployments, heartbeats; and refusals."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from temporalio import activity, workflow
from temporalio.api.workflowservice.v1 import ListWorkersRequest, SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkerDeploymentConfig, WorkerTuner
from whenever import Instant

from copilot.doctor import diagnose
from copilot.embedded.ports import free_ports
from copilot.pipeline import collect
from copilot.rules.signals.readings import MissingCode, Signals
from copilot.settings.clusters import ClusterSettings, WatchedTemporal
from copilot.settings.load import Settings
from copilot.sources.temporal.source import TemporalApiSource
from tests.sources.test_temporal_api import load_of
from tests.sources.watched_frontend import DevServer, answered, dev_server, start_on

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]

TASKS, POLLERS = "version.backlog_count", "version.pollers"


def routed(signals: Signals) -> list[tuple[str, str]]:
    """The changes of the current version: the build, and what is said of it."""
    return [(c.build, c.text) for c in signals.changes if c.kind == "routing"]


@activity.defn
async def step(number: int) -> int:
    """Gives back what it got."""
    return number


@activity.defn
async def hold() -> None:
    """Takes a slot until the worker stops."""
    await asyncio.Event().wait()


@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class Waits:
    """Waits to be told to go on."""

    def __init__(self) -> None:
        self.told = False

    @workflow.signal
    def go(self) -> None:
        """Go on."""
        self.told = True

    @workflow.query
    def begun(self) -> bool:
        """Whether it was begun."""
        return True

    @workflow.run
    async def run(self) -> None:
        """Nothing but wait."""
        await workflow.wait_condition(lambda: self.told)


@workflow.defn
class Holds:
    """One activity that holds its slot."""

    @workflow.run
    async def run(self) -> None:
        """Until it is stopped."""
        await workflow.execute_activity(hold, start_to_close_timeout=timedelta(minutes=5))


def shop_worker(client: Client, build: str) -> Worker:
    version = WorkerDeploymentVersion(deployment_name="shop", build_id=build)
    return Worker(
        client,
        task_queue="shop-tasks",
        workflows=[Waits],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_cached_workflows=0,
        deployment_config=WorkerDeploymentConfig(version=version, use_worker_versioning=True),
    )


BEATING = Runtime(telemetry=TelemetryConfig(), worker_heartbeat_interval=timedelta(seconds=1))


async def listed(client: Client) -> None:
    """Return when the server lists a worker of the namespace."""
    request = ListWorkersRequest(namespace=client.namespace)
    async with asyncio.timeout(30):
        while True:
            if (await client.workflow_service.list_workers(request)).workers:
                return
            await asyncio.sleep(0.2)


async def make_current(client: Client, build: str) -> None:
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=client.namespace, deployment_name="shop", build_id=build
    )
    await answered(lambda: client.workflow_service.set_worker_deployment_current_version(request))


async def read_until(source: TemporalApiSource, good: Callable[[Signals], bool]) -> Signals:
    async with asyncio.timeout(180):
        while True:
            if good(signals := await source.read(Instant.now())):
                return signals
            await asyncio.sleep(0.5)


def by_version(signals: Signals, signal_id: str) -> dict[str, float]:
    rows = [r for r in signals.rows(signal_id) if r.labels["task_queue"] == "shop-tasks"]
    return {r.labels["worker_version"]: r.value for r in rows if r.labels["task_type"] == "workflow"}


def queues(signals: Signals, signal_id: str) -> set[tuple[str, str]]:
    return {(r.labels["namespace"], r.labels["task_queue"]) for r in signals.rows(signal_id)}


@asynccontextmanager
async def source_of(server: DevServer, **temporal: Any) -> AsyncIterator[TemporalApiSource]:
    watched = WatchedTemporal.model_validate({"address": server.address, **temporal})
    cluster = ClusterSettings(temporal=watched, ignore_task_queues=("ignored",))
    source = TemporalApiSource(cluster)
    try:
        yield source
    finally:
        await source.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevServer]:
    async with dev_server(tmp_path_factory.mktemp("server")) as running:
        yield running


async def test_tasks_of_a_version_without_pollers_are_told_apart_from_the_version_that_is_polled(
    server: DevServer,
) -> None:
    client = await server.namespace("versions")
    async with shop_worker(client, "v1"):
        await make_current(client, "v1")
        for n in range(5):
            handle = await client.start_workflow(Waits.run, id=f"waits-{n}", task_queue="shop-tasks")
            await handle.query(Waits.begun)
    async with shop_worker(client, "v2"), source_of(server, namespaces=("versions",)) as source:
        await make_current(client, "v2")
        for n in range(5):
            await client.get_workflow_handle(f"waits-{n}").signal("go")
        current = ("v2", "`v2` became current in deployment `shop`, before: `v1`")
        signals = await read_until(source, lambda s: (s.value(TASKS) or 0) == 5 and current in routed(s))
        assert by_version(signals, TASKS) == {"shop:v1": 5.0, "shop:v2": 0.0}
        assert set(by_version(signals, POLLERS)) == {"shop:v1", "shop:v2"}
        assert by_version(signals, POLLERS)["shop:v2"] >= 1
        assert signals.value("matching.backlog_count") == 5.0
        assert {c.build for c in signals.changes if c.kind == "build"} == {"v1", "v2"}
        assert all((signals.time - c.at).total("seconds") < 600 for c in signals.changes)
        assert signals.server is not None
        assert (signals.server.version[:2], signals.server.history_shards) == ("1.", 1)


async def test_every_user_namespace_is_read_and_activities_alone_are_found(server: DevServer) -> None:
    other = await server.namespace("other")
    await start_on(server.client, ["here"])
    await start_on(other, ["there"])
    beating = await Client.connect(server.address, namespace="other", runtime=BEATING)
    async with Worker(beating, task_queue="only-activities", activities=[step]), source_of(server) as source:
        await listed(other)
        polled, waiting = ("other", "only-activities"), {("default", "here"), ("other", "there")}
        signals = await read_until(
            source,
            lambda s: polled in queues(s, "poller.recent_pollers") and waiting <= queues(s, "matching.backlog_count"),
        )
    unversioned = {r.labels["worker_version"] for r in signals.rows(TASKS) if r.labels["task_queue"] == "there"}
    assert unversioned == {"unversioned"}
    assert signals.value("demand.tasks_added_per_sec") is not None
    async with source_of(server, namespaces=("other",)) as named:
        signals = await named.read(Instant.now())
        assert queues(signals, "matching.backlog_count") == {("other", "there")}
    async with source_of(server, namespace="absent") as absent:
        why = (await absent.read(Instant.now())).missing["matching.backlog_count"]
        assert (why.code, why.detail) == (MissingCode.ABSENT, "the workflows of namespace absent: not found")


def holding(client: Client, queue: str = "held", **options: Any) -> Worker:
    """A worker whose activities hold their slots."""
    return Worker(
        client,
        task_queue=queue,
        workflows=[Holds],
        activities=[hold],
        workflow_runner=UnsandboxedWorkflowRunner(),
        **options,
    )


def why_no_slots(signals: Signals) -> tuple[MissingCode, str] | None:
    """Why the used activity slots are missing."""
    missing = signals.why_missing("workers.activity_slots_used")
    return (missing.code, missing.detail) if missing else None


def slots(signals: Signals, kind: str = "activity") -> tuple[float | None, float | None]:
    """Free slots, and used ones."""
    return signals.value(f"workers.{kind}_slots_available"), signals.value(f"workers.{kind}_slots_used")


async def test_slots_pollers_and_caches_are_read_from_heartbeats_where_no_worker_is_scraped(server: DevServer) -> None:
    await server.namespace("beats")
    client = await Client.connect(server.address, namespace="beats", runtime=BEATING)
    cluster = ClusterSettings(temporal=WatchedTemporal(address=server.address, namespaces=("beats",)))
    async with holding(client, max_concurrent_activities=3), source_of(server, namespaces=("beats",)) as source:
        await answered(lambda: client.start_workflow(Holds.run, id="holds-1", task_queue="held"))
        await client.start_workflow(Holds.run, id="holds-2", task_queue="held")
        await read_until(source, lambda s: slots(s) == (1.0, 2.0))
        signals = await collect([source], Instant.now())
        assert [r.labels for r in signals.rows("workers.activity_slots_used")] == [
            {"namespace": "beats", "task_queue": "held"}
        ]
        assert (signals.value("workers.activity_pollers") or 0) >= 1
        assert (signals.value("workers.workflow_pollers") or 0) >= 2
        assert signals.value("worker_cache.sticky_size") == 2.0
        assert signals.sources["workers.activity_slots_used"] == "worker heartbeats"
        diagnosis = await diagnose(Settings(clusters=(cluster,)), [cluster], quick=True)
        [check] = [c for c in diagnosis.clusters[0].checks if c.name == "worker heartbeats"]
        assert check.found.startswith("sent by 1 worker (temporal-python 1.")
        needed, _, scraped = check.found.partition("only a scrape gives")
        assert "workers.activity_slots_used" in needed
        assert "workers.restarts" in scraped


async def test_a_killed_worker_counts_for_three_heartbeats_and_then_its_slots_are_missing(server: DevServer) -> None:
    async with source_of(server, namespaces=("default",), task_queues=("my-orders",)) as source:
        async with load_of(server, free_ports(1)[0], heartbeat_sec=5):
            await read_until(source, lambda s: (slots(s, "workflow")[0] or 0) > 50)
        said = "no worker has sent a heartbeat within 3 of its intervals"
        await read_until(source, lambda s: why_no_slots(s) == (MissingCode.TARGET_DOWN, said))


async def test_slots_of_resource_based_tuners_have_no_number_and_silent_workers_make_all_missing(
    server: DevServer,
) -> None:
    silent = await server.namespace("tuned")
    client = await Client.connect(server.address, namespace="tuned", runtime=BEATING)
    tuner = WorkerTuner.create_resource_based(target_memory_usage=1.0, target_cpu_usage=1.0)
    quiet = Runtime(telemetry=TelemetryConfig(), worker_heartbeat_interval=None)
    async with holding(client, "tuned", tuner=tuner):
        async with source_of(server, namespaces=("tuned",), task_queues=("tuned",)) as source:
            await answered(lambda: client.start_workflow(Holds.run, id="holds", task_queue="tuned"))
            signals = await read_until(source, lambda s: slots(s) == (None, 1.0))
            assert signals.missing["workers.activity_slots_available"].detail.startswith("not limited by number")
        unheard = await Client.connect(server.address, namespace=silent.namespace, runtime=quiet, identity="unheard")
        async with holding(unheard, "tuned"), source_of(server, namespaces=("tuned",)) as source:
            said = "some pollers of task queue tuned of namespace tuned send no heartbeats"
            await read_until(source, lambda s: why_no_slots(s) == (MissingCode.ABSENT, said))
