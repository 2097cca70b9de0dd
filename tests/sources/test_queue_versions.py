"""Task queues of all kinds at a real server: several namespaces, activities alone, worker deployments; and refusals."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from temporalio import activity, workflow
from temporalio.api.enums.v1 import DescribeTaskQueueMode
from temporalio.api.workflowservice.v1 import ListWorkersRequest, SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.service import RPCStatusCode
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkerDeploymentConfig
from whenever import Instant

from copilot.rules.signals.readings import MissingCode, Signals
from copilot.settings.clusters import ClusterSettings, WatchedTemporal
from copilot.sources.temporal.source import TemporalApiSource
from tests.sources.watched_frontend import Counted, answered, dev_server, start_on

TASKS, POLLERS = "version.backlog_count", "version.pollers"


@activity.defn
async def step(number: int) -> int:
    """Gives back what it got."""
    return number


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
    request = SetWorkerDeploymentCurrentVersionRequest(namespace="default", deployment_name="shop", build_id=build)
    await answered(lambda: client.workflow_service.set_worker_deployment_current_version(request))


async def read_until(source: TemporalApiSource, good: Callable[[Signals], bool], within: float = 30.0) -> Signals:
    end = time.monotonic() + within
    while not good(signals := await source.read(Instant.now())):
        assert time.monotonic() < end, signals.model_dump_json()
        await asyncio.sleep(0.5)
    return signals


def refusing(status: RPCStatusCode, call: str, _request: object) -> RPCStatusCode | None:
    return status if call == "describe_task_queue" else None


def by_version(signals: Signals, signal_id: str) -> dict[str, float]:
    rows = [r for r in signals.rows(signal_id) if r.labels["task_queue"] == "shop-tasks"]
    return {r.labels["worker_version"]: r.value for r in rows if r.labels["task_type"] == "workflow"}


def queues(signals: Signals, signal_id: str) -> set[tuple[str, str]]:
    return {(r.labels["namespace"], r.labels["task_queue"]) for r in signals.rows(signal_id)}


def source_of(address: str, client: Counted | None = None, **temporal: object) -> TemporalApiSource:
    watched = WatchedTemporal.model_validate({"address": address, **temporal})
    return TemporalApiSource(ClusterSettings(temporal=watched), client=client.as_client() if client else None)


@pytest.mark.servers
async def test_work_that_waits_for_a_version_is_told_apart_from_the_version_that_is_polled(tmp_path: Path) -> None:
    async with dev_server(tmp_path) as server:
        client = server.client
        async with shop_worker(client, "v1"):
            await make_current(client, "v1")
            for n in range(5):
                handle = await client.start_workflow(Waits.run, id=f"waits-{n}", task_queue="shop-tasks")
                await handle.query(Waits.begun)
        async with shop_worker(client, "v2"):
            await make_current(client, "v2")
            for n in range(5):
                await client.get_workflow_handle(f"waits-{n}").signal("go")
            source = source_of(server.address)
            signals = await read_until(source, lambda s: (s.value(TASKS) or 0) == 5)
            assert by_version(signals, TASKS) == {"shop:v1": 5.0, "shop:v2": 0.0}
            assert set(by_version(signals, POLLERS)) == {"shop:v1", "shop:v2"}
            assert by_version(signals, POLLERS)["shop:v2"] >= 1
            assert signals.value("matching.backlog_count") == 5.0
            assert signals.server is not None
            assert (signals.server.version[:2], signals.server.history_shards) == ("1.", 1)
            await source.aclose()


@pytest.mark.servers
async def test_every_user_namespace_is_read_and_activities_alone_are_found(tmp_path: Path) -> None:
    async with dev_server(tmp_path) as server:
        other = await server.namespace("other")
        await start_on(server.client, ["here"])
        await start_on(other, ["there"])
        beating = await Client.connect(server.address, namespace="other", runtime=BEATING)
        async with Worker(beating, task_queue="only-activities", activities=[step]):
            await listed(other)
            source = source_of(server.address)
            polled = ("other", "only-activities")
            signals = await read_until(source, lambda s: polled in queues(s, "poller.recent_pollers"))
        assert queues(signals, "matching.backlog_count") == {("default", "here"), ("other", "there")}
        assert signals.value("matching.backlog_count") == 2.0
        assert {r.labels["worker_version"] for r in signals.rows(TASKS)} == {"unversioned"}
        assert signals.value("demand.tasks_added_per_sec") is not None
        await source.aclose()

        named = source_of(server.address, namespaces=("other",))
        signals = await named.read(Instant.now())
        assert queues(signals, "matching.backlog_count") == {("other", "there")}
        await named.aclose()

        absent = source_of(server.address, namespace="absent")
        why = (await absent.read(Instant.now())).missing["matching.backlog_count"]
        assert (why.code, why.detail) == (MissingCode.ABSENT, "the workflows of namespace absent: not found")
        await absent.aclose()


@pytest.mark.servers
async def test_what_is_refused_is_missing_with_its_reason_and_named_queues_are_described_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with dev_server(tmp_path) as server:
        await start_on(server.client, ["here"])

        def lists(call: str, _request: object) -> RPCStatusCode | None:
            return RPCStatusCode.PERMISSION_DENIED if call.startswith("list_") else None

        reader = source_of(server.address, Counted(server.client, lists), task_queues=("here",))
        signals = await reader.read(Instant.now())
        assert signals.value("matching.backlog_count") == 1.0
        assert signals.missing[TASKS].code == MissingCode.ABSENT

        without = source_of(server.address, Counted(server.client, lists))
        why = (await without.read(Instant.now())).missing["matching.backlog_count"]
        assert (why.code, why.detail) == (
            MissingCode.FORBIDDEN,
            "the workflows of namespace default: permission denied",
        )

        for status, code, words in (
            (RPCStatusCode.PERMISSION_DENIED, MissingCode.FORBIDDEN, "permission denied"),
            (RPCStatusCode.DEADLINE_EXCEEDED, MissingCode.TIMEOUT, "no answer in time"),
            (RPCStatusCode.RESOURCE_EXHAUSTED, MissingCode.DROPPED, "rejected by a rate limit of the cluster"),
        ):
            refuses = Counted(server.client, partial(refusing, status))
            source = source_of(server.address, refuses)
            caplog.clear()
            for _ in range(2):
                signals = await source.read(Instant.now())
            assert signals.value("frontend.reachable") == 1.0
            why = signals.missing["matching.backlog_count"]
            assert (why.code, why.detail) == (code, f"task queue here of namespace default: {words}")
            assert len(caplog.records) == 1


@pytest.mark.servers
async def test_a_server_without_the_enhanced_mode_is_asked_by_task_type(tmp_path: Path) -> None:
    async with dev_server(tmp_path) as server:
        await start_on(server.client, ["here"])

        def enhanced(_call: str, request: object) -> RPCStatusCode | None:
            mode = getattr(request, "api_mode", None)
            known = mode != DescribeTaskQueueMode.DESCRIBE_TASK_QUEUE_MODE_ENHANCED
            return None if known else RPCStatusCode.INVALID_ARGUMENT

        counted = Counted(server.client, enhanced)
        source = source_of(server.address, counted)
        signals = await source.read(Instant.now())
        assert signals.value("matching.backlog_count") == 1.0
        assert TASKS in signals.missing
        assert len(counted.asked("describe_task_queue")) == 3
        await source.read(Instant.now())
        assert len(counted.asked("describe_task_queue")) == 5
