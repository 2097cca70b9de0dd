"""Task queues: servers that report less than others, the rotation over many queues, and the calls it costs."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio.api.workflowservice import v1
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeTaskQueueResponse,
    ListWorkflowExecutionsRequest,
    ListWorkflowExecutionsResponse,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from whenever import Instant

from copilot.errors import SourceError
from copilot.rules.signals.readings import MissingCode
from copilot.settings.clusters import ClusterSettings, WatchedTemporal
from copilot.sources.temporal.client import RateLimitedClient
from copilot.sources.temporal.discovery import Job, QueueDiscovery, Watched
from copilot.sources.temporal.queues import Clock, Description, Part, QueueDescriber, QueueKey, QueueRotation
from copilot.sources.temporal.source import TemporalApiSource

NOON = Instant.from_utc(2026, 11, 22, 12)
KEYS = tuple(QueueKey("default", f"queue-{n:03}") for n in range(120))


def client_of(**calls: Any) -> RateLimitedClient:
    """A client of a frontend that has only these calls."""
    return RateLimitedClient(cast(Client, SimpleNamespace(workflow_service=SimpleNamespace(**calls))))


@pytest.mark.parametrize("enhanced", [False, True], ids=["neither mode", "versions without what waits"])
async def test_a_server_that_does_not_tell_what_waits_is_not_read_as_nothing_waits(enhanced: bool) -> None:
    async def describe_task_queue(request: DescribeTaskQueueRequest, timeout: timedelta) -> Any:  # noqa: ARG001
        answer = DescribeTaskQueueResponse()
        if enhanced and request.api_mode:
            answer.versions_info[""].types_info[1].pollers.add(identity="w")
        return answer

    calls = QueueDescriber(client_of(describe_task_queue=describe_task_queue))
    with pytest.raises(SourceError, match="does not report backlogs") as caught:
        await calls.describe(QueueKey("default", "orders"), (), Instant.now)
    assert caught.value.code is MissingCode.ABSENT


async def test_a_quiet_queue_is_found_behind_a_page_full_of_a_busy_one() -> None:
    asked: list[str] = []

    async def list_workflow_executions(request: ListWorkflowExecutionsRequest, timeout: timedelta) -> Any:  # noqa: ARG001
        asked.append(request.query)
        there = [q for q in ["busy"] * 210 + ["it's"] + ["quiet"] if f"'{q}'" not in request.query]
        answer = ListWorkflowExecutionsResponse(next_page_token=b"more" if len(there) > request.page_size else b"")
        for queue in there[: request.page_size]:
            answer.executions.add(task_queue=queue)
        return answer

    watched = Watched(ClusterSettings(temporal=WatchedTemporal(address="there:7233")), "default")
    lists = QueueDiscovery(client_of(list_workflow_executions=list_workflow_executions), watched)
    await lists.fetch(Job("running", "default"), Instant.now())
    assert {key.task_queue for key in lists.last_seen} == {"busy", "it's", "quiet"}
    # So understood by server 1.32.
    assert asked[1] == "ExecutionStatus = \"Running\" AND TaskQueue NOT IN ('busy')"


@dataclass
class Service:
    """A frontend of `version`: one workflow task waits on each queue. `refuses` says how calls fail. `made`: when which
    queue was described, or another call made (""). `polls`: when each poller polled last, by its clock."""

    queues: Sequence[str]
    refuses: Callable[[str, Any], RPCStatusCode | None] = lambda _name, _request: None
    made: list[tuple[float, str]] = field(default_factory=list)
    version: str = "1.32.0"
    polls: dict[str, Instant] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        async def call(request: Any, timeout: timedelta) -> Any:  # noqa: ARG001
            answer = getattr(v1, type(request).__name__.replace("Request", "Response"))()
            queue = request.task_queue.name if name == "describe_task_queue" else ""
            self.made.append((time.monotonic(), queue))
            if (status := self.refuses(name, request)) is not None:
                raise RPCError("refused by the test", status, b"")
            if queue and request.api_mode:
                info = answer.versions_info[""].types_info[1]
                info.stats.approximate_backlog_count = 1
                for identity, at in self.polls.items():
                    info.pollers.add(identity=identity).last_access_time.FromNanoseconds(
                        at.timestamp(unit="nanosecond")
                    )
            elif queue:
                answer.stats.approximate_backlog_count = int(request.task_queue_type == 1)
            elif name == "get_cluster_info":
                answer.server_version = self.version
            elif name == "list_workflow_executions":
                for found in self.queues:
                    answer.executions.add(task_queue=found)
            return answer

        return call

    async def check_health(self, timeout: timedelta) -> bool:  # noqa: ARG002
        return True

    def source(self, *task_queues: str, now: Callable[[], Instant] = Instant.now) -> TemporalApiSource:
        """A source that asks it, of a cluster that ignores the queue `ignored`."""
        client = SimpleNamespace(workflow_service=self, service_client=self, namespace="default")
        temporal = WatchedTemporal(address="there:7233", namespaces=("default",), task_queues=task_queues)
        cluster = ClusterSettings(temporal=temporal, ignore_task_queues=("ignored",))
        return TemporalApiSource(cluster, client=cast(Client, client), now=now)

    @property
    def described(self) -> list[str]:
        return [name for _, name in self.made if name]


async def test_the_versions_of_an_upgrade_are_remembered_for_ten_minutes() -> None:
    service, time = Service(()), [Instant.now()]
    source = service.source(now=lambda: time[0])
    seen = []
    for minute in range(11):
        service.version = "1.31.2" if minute == 0 else "1.32.0"
        reading = asyncio.create_task(source.read(time[0]))
        seen.append(set(await source.server_versions()))
        await reading
        time[0] = time[0].add(seconds=60)
    assert seen[0] == {"1.31.2"}
    assert set(await source.server_versions()) == {"1.32.0"}
    assert {"1.31.2", "1.32.0"} in seen[1:]


async def test_a_frontend_that_does_not_give_its_version_leaves_it_unknown() -> None:
    service = Service((), refuses=lambda name, _: RPCStatusCode.UNAVAILABLE if name == "get_cluster_info" else None)
    source = service.source()
    await source.read(Instant.now())
    assert set(await source.server_versions()) == set()


@pytest.mark.parametrize("ahead", [-400.0, -40.0, 0.0, 40.0, 400.0])
async def test_pollers_are_recent_by_the_clock_of_the_server_that_dates_them(ahead: float) -> None:
    """Two live pollers, of which one polls once a minute, and one that died a minute and a half ago."""
    service, time, found = Service(("orders",)), [NOON], list[float | None]()
    source = service.source("orders", now=lambda: time[0])
    for n in range(5):
        time[0] = NOON.add(seconds=30 * n)
        polled = {"busy": 30 * n - 1, "idle": 60 * (n // 2) - 5, "dead": -95}
        service.polls = {who: NOON.add(seconds=at + ahead) for who, at in polled.items()}
        found.append((await source.read(time[0])).value("poller.recent_pollers"))
    assert found[2:] == [2.0, 2.0, 2.0]
    assert source.ahead_sec == (pytest.approx(ahead, abs=16) if abs(ahead) > 5 else 0.0)
    time[0] = NOON.add(seconds=230)
    assert (await source.read(time[0])).value("poller.recent_pollers") == 0.0


QUEUES = tuple(f"queue-{n:02}" for n in range(52))


async def test_at_most_fifty_queues_are_described_per_evaluation_ten_a_second_and_none_that_is_ignored() -> None:
    service = Service((*QUEUES, "ignored"))
    source = service.source("ignored", "named")
    first = await source.read(Instant.now())
    assert 25 < len(service.described) == len(set(service.described)) <= 50
    assert first.missing["matching.backlog_count"].code is MissingCode.DROPPED
    assert (await source.read(Instant.now())).value("matching.backlog_count") == 53.0
    assert set(service.described) == {*QUEUES, "named"}
    began, *_, ended = (at for at, _ in service.made)
    assert len(service.made) / (ended - began) <= 10.5


def no_lists(call: str, _request: object) -> RPCStatusCode | None:
    return RPCStatusCode.PERMISSION_DENIED if call.startswith("list_") else None


@pytest.mark.parametrize(
    ("refuses", "code", "words"),
    [
        (no_lists, MissingCode.FORBIDDEN, "the workflows of namespace default: permission denied"),
        (RPCStatusCode.PERMISSION_DENIED, MissingCode.FORBIDDEN, "permission denied"),
        (RPCStatusCode.DEADLINE_EXCEEDED, MissingCode.TIMEOUT, "no answer in time"),
        (RPCStatusCode.RESOURCE_EXHAUSTED, MissingCode.DROPPED, "rejected by a rate limit of the cluster"),
    ],
)
async def test_a_refused_call_is_missing_with_its_reason_and_logged_once(
    refuses: Any, code: MissingCode, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    if isinstance(refuses, RPCStatusCode):
        status, words = refuses, f"task queue here of namespace default: {words}"
        refuses = lambda call, _request: status if call == "describe_task_queue" else None  # noqa: E731
    source = Service(["here"], refuses).source()
    for _ in range(2):
        signals = await source.read(Instant.now())
        why = signals.missing["matching.backlog_count"]
        assert (signals.value("frontend.reachable"), why.code, why.detail) == (1.0, code, words)
    assert len(caplog.records) == 1


async def test_named_queues_are_described_though_no_list_is_allowed() -> None:
    signals = await Service(["here"], no_lists).source("here").read(Instant.now())
    assert signals.value("matching.backlog_count") == 1.0
    assert signals.missing["version.backlog_count"].code is MissingCode.ABSENT


async def test_a_server_that_does_not_know_the_mode_of_versions_is_asked_by_type_from_then_on() -> None:
    service = Service(
        ["here"], lambda _, asked: RPCStatusCode.INVALID_ARGUMENT if getattr(asked, "api_mode", 0) else None
    )
    source = service.source()
    for calls in (3, 5):
        signals = await source.read(Instant.now())
        assert signals.value("matching.backlog_count") == 1.0
        assert "version.backlog_count" in signals.missing
        assert len(service.described) == calls


class Frontend(QueueDescriber):
    """Describes queues: `waiting` tasks by queue, `broken` ones fail. `asked` are those of this cycle."""

    def __init__(self, calls_a_queue: int = 1) -> None:
        self.waiting: dict[QueueKey, int] = {}
        self.broken: set[QueueKey] = set()
        self.asked: list[QueueKey] = []
        self._cost = calls_a_queue

    def cost(self, versions: Sequence[str] | None) -> int:  # noqa: ARG002
        return self._cost

    async def describe(self, key: QueueKey, versions: Sequence[str] | None, now: Clock) -> Description:  # noqa: ARG002
        self.asked.append(key)
        if key in self.broken:
            raise SourceError(MissingCode.DROPPED, "refused", asked=key.task_queue)
        return Description(now(), {("workflow", "unversioned"): Part(backlog=self.waiting.get(key, 0))})


class Cycles:
    """Cycles of 30 seconds."""

    def __init__(self, frontend: Frontend) -> None:
        self.now = NOON
        self.frontend = frontend
        self.turns = QueueRotation(frontend, 30.0, lambda: self.now)

    async def next(self, keys: Sequence[QueueKey] = KEYS, calls: int = 72) -> dict[QueueKey, Description]:
        self.now = self.now.add(seconds=30)
        self.frontend.asked.clear()
        return await self.turns.describe(keys, lambda _key: (), calls, 8.0)


async def test_the_largest_are_described_every_cycle_and_the_rest_in_turn() -> None:
    frontend = Frontend()
    frontend.waiting = {key: 1 + n for n, key in enumerate(KEYS[-40:])}
    cycles = Cycles(frontend)
    for already in (50, 100):
        with pytest.raises(SourceError, match=f"{already} of 120 task queues described so far: 50 at a time"):
            await cycles.next()
    assert sum(d.size[0] for d in (await cycles.next()).values()) == sum(frontend.waiting.values())
    seen: set[QueueKey] = set()
    for _ in range(4):
        found = await cycles.next()
        assert len(found) == 120
        assert len(frontend.asked) == 50
        assert set(KEYS[-25:]) <= set(frontend.asked)
        seen.update(frontend.asked)
    assert seen == set(KEYS)


async def test_no_more_are_described_than_calls_are_left_for() -> None:
    frontend = Frontend(calls_a_queue=2)
    with pytest.raises(SourceError, match="12 of 120"):
        await Cycles(frontend).next(calls=25)
    assert len(frontend.asked) == 12


async def test_a_queue_that_fails_once_is_as_it_was_and_one_that_goes_on_failing_is_missing() -> None:
    frontend = Frontend()
    frontend.waiting = {KEYS[0]: 7}
    cycles = Cycles(frontend)
    await cycles.next(KEYS[:3])
    frontend.broken = {KEYS[0]}
    assert (await cycles.next(KEYS[:3]))[KEYS[0]].size[0] == 7
    for _ in range(3):
        cycles.now = cycles.now.add(seconds=30)
    with pytest.raises(SourceError, match="queue-000: refused"):
        await cycles.next(KEYS[:3])


async def test_when_all_fail_nothing_is_taken_from_before() -> None:
    frontend = Frontend()
    cycles = Cycles(frontend)
    await cycles.next(KEYS[:3])
    frontend.broken = set(KEYS[:3])
    with pytest.raises(SourceError, match="refused"):
        await cycles.next(KEYS[:3])
