"""Worker heartbeats: what they give of live workers, and when they give nothing."""

from collections.abc import Iterable
from typing import Any

import pytest
from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.enums.v1 import WorkerStatus
from temporalio.api.worker.v1 import WorkerHeartbeat, WorkerSlotsInfo
from temporalio.service import RPCStatusCode
from whenever import Instant

from copilot.rules.signals.readings import MissingCode
from copilot.rules.signals.taxonomy import SPECS
from copilot.sources.temporal.heartbeats import HEARTBEAT_IDS, OF_VERSIONS, Read, WorkerHeartbeats
from copilot.sources.temporal.queues import Description, QueueKey
from tests.sources.test_queues import NOON, Service

FREE, USED, POLLERS = (f"workers.activity_{what}" for what in ("slots_available", "slots_used", "pollers"))
CACHED = "worker_cache.sticky_size"
ORDERS = QueueKey("shop", "orders")


def beat(name: str, sent: Instant = NOON, every: float = 60.0, kind: str = "Fixed", **fields: Any) -> WorkerHeartbeat:
    """A worker of `orders` with three activity slots, one of them used, which sent this heartbeat."""
    worker = WorkerHeartbeat(
        worker_instance_key=name, worker_identity=name, task_queue="orders", status=WorkerStatus.WORKER_STATUS_RUNNING
    )
    worker.heartbeat_time.FromNanoseconds(sent.timestamp(unit="nanosecond"))
    worker.elapsed_since_last_heartbeat.FromNanoseconds(int(every * 1e9))
    slots, free = worker.activity_task_slots_info, 2 if kind == "Fixed" else 0
    slots.current_available_slots, slots.current_used_slots, slots.slot_supplier_kind = free, 1, kind
    worker.activity_poller_info.current_pollers = 2
    worker.MergeFrom(WorkerHeartbeat(**fields))
    return worker


def read(beats: Iterable[WorkerHeartbeat], at: Instant = NOON, *, complete: bool = True) -> Read:
    """What a list of namespace shop, fetched at noon, gives at `at`."""
    heartbeats = WorkerHeartbeats()
    heartbeats.record("shop", beats, NOON, complete=complete)
    return heartbeats.read(["shop"], at)


def why(found: Read, signal_id: str = FREE) -> tuple[MissingCode, str]:
    """Why the reading is missing."""
    assert signal_id not in found.values
    return found.missing[signal_id].code, found.missing[signal_id].detail


def test_slots_and_pollers_of_live_workers_add_up_by_task_queue() -> None:
    found = read([beat("a"), beat("b"), beat("c", task_queue="refunds")])
    assert {i: found.values[i] for i in (FREE, USED, POLLERS)} == {FREE: 6.0, USED: 3.0, POLLERS: 6.0}
    assert [(r.labels, r.value) for r in found.rows[FREE]] == [
        ({"namespace": "shop", "task_queue": "orders"}, 4.0),
        ({"namespace": "shop", "task_queue": "refunds"}, 2.0),
    ]
    assert found.values["worker.task_slots_available"] == found.values["worker.poller_concurrency"] == 6.0
    assert why(found, "workers.workflow_slots_available") == (MissingCode.NO_SOURCE, "no worker takes workflow tasks")
    assert found.values.keys() | found.missing.keys() == set(HEARTBEAT_IDS)


@pytest.mark.parametrize("status", ["SHUTTING_DOWN", "SHUTDOWN"])
def test_a_worker_that_shuts_down_does_not_count(status: str) -> None:
    found = read([beat("a"), beat("b", status=WorkerStatus.Value(f"WORKER_STATUS_{status}"))])
    assert found.values[FREE] == 2.0


def test_a_heartbeat_counts_for_three_intervals_and_no_longer() -> None:
    ages = {name: NOON.subtract(seconds=sec) for name, sec in (("a", 29), ("b", 31))}
    assert read(beat(name, sent, every=10.0) for name, sent in ages.items()).values[FREE] == 2.0
    assert read([beat("first", NOON.subtract(seconds=179), every=0.0)]).values[FREE] == 2.0
    dead = why(read([beat("b", ages["b"], every=10.0)]))
    assert dead == (MissingCode.TARGET_DOWN, "no worker has sent a heartbeat within 3 of its intervals")


@pytest.mark.parametrize("clock_sec", [-600, 600], ids=["behind", "ahead"])
def test_a_worker_whose_clock_is_wrong_lives_while_it_sends_and_not_when_it_stops(clock_sec: int) -> None:
    heartbeats, its_clock = WorkerHeartbeats(), NOON.add(seconds=clock_sec)
    for second in (0, 30, 60):
        heartbeats.record("shop", [beat("a", its_clock.add(seconds=second))], NOON.add(seconds=second), complete=True)
    assert heartbeats.read(["shop"], NOON.add(seconds=60)).values[FREE] == 2.0
    later = NOON.add(seconds=60 + 181)
    heartbeats.record("shop", [beat("a", its_clock.add(seconds=60))], later, complete=True)
    assert why(heartbeats.read(["shop"], later))[0] is MissingCode.TARGET_DOWN


def test_slots_that_no_number_limits_are_missing_for_their_task_queue_and_used_ones_count() -> None:
    mixed = read([beat("a"), beat("b", kind="ResourceBased"), beat("c", task_queue="refunds")])
    assert (mixed.values[FREE], mixed.values[USED]) == (2.0, 3.0)
    assert [r.labels["task_queue"] for r in mixed.rows[FREE]] == ["refunds"]
    code, detail = why(read([beat("b", kind="ResourceBased")]))
    assert (code, detail.partition(":")[0]) == (MissingCode.NO_SOURCE, "not limited by number")


def test_workers_of_one_go_process_share_a_cache_and_others_have_their_own() -> None:
    process: dict[str, Any] = {"host_info": {"worker_grouping_key": "process"}, "current_sticky_cache_size": 7}
    for sdk, size in (("temporal-go", 7.0), ("temporal-python", 14.0)):
        assert read([beat("a", sdk_name=sdk, **process), beat("b", sdk_name=sdk, **process)]).values[CACHED] == size


def test_what_some_workers_send_is_not_taken_for_all() -> None:
    heartbeats = WorkerHeartbeats()
    heartbeats.record("shop", [beat("a")], NOON, complete=True)
    heartbeats.saw({ORDERS: Description(NOON, {}, polling=frozenset({"a", "old sdk"}))}, NOON)
    silent = "some pollers of task queue orders of namespace shop send no heartbeats"
    assert why(heartbeats.read(["shop"], NOON)) == (MissingCode.ABSENT, silent)


def test_a_new_poller_has_time_for_its_first_heartbeat() -> None:
    heartbeats, started = WorkerHeartbeats(), {ORDERS: Description(NOON, {}, polling=frozenset({"a", "new"}))}
    heartbeats.record("shop", [beat("a")], NOON, complete=True)
    heartbeats.saw({ORDERS: Description(NOON, {}, polling=frozenset({"a"}))}, NOON)
    heartbeats.saw(started, NOON.add(seconds=30))
    assert heartbeats.read(["shop"], NOON.add(seconds=100)).values[FREE] == 2.0
    heartbeats.saw(started, NOON.add(seconds=121))
    assert why(heartbeats.read(["shop"], NOON.add(seconds=121)))[0] is MissingCode.ABSENT


def test_an_old_list_and_one_with_too_many_workers_give_nothing() -> None:
    old = "the workers of namespace shop: the last list is 181 s old"
    assert why(read([beat("a")], NOON.add(seconds=181))) == (MissingCode.DROPPED, old)
    many = "the workers of namespace shop: there are too many"
    assert why(read([beat("a")], complete=False)) == (MissingCode.DROPPED, many)
    assert why(WorkerHeartbeats().read(["shop"], NOON))[0] is MissingCode.DROPPED


def test_without_any_heartbeat_nothing_measures_the_workers() -> None:
    assert why(read([])) == (MissingCode.NO_SOURCE, "no worker's heartbeats are listed")


def test_heartbeats_give_what_the_signal_table_says_and_scraped_metrics_are_preferred() -> None:
    from_both = {i for i, s in SPECS.items() if s.role == "worker" and s.source == "metrics or api"}
    assert from_both == set(HEARTBEAT_IDS) - set(OF_VERSIONS)


def of_build(build: str, processed: int, failed: int, lately: int | None = None) -> WorkerHeartbeat:
    """A worker of this build that has processed so many workflow tasks, and `lately` in the last minute (all)."""
    late = processed if lately is None else lately
    slots = WorkerSlotsInfo(
        total_processed_tasks=processed, total_failed_tasks=failed,
        last_interval_processed_tasks=late, last_interval_failure_tasks=failed if late else 0,
    )  # fmt: skip
    version = WorkerDeploymentVersion(deployment_name="shop", build_id=build)
    return beat(build, workflow_task_slots_info=slots, deployment_version=version)


def test_tasks_and_failures_are_told_apart_by_worker_version() -> None:
    found = read([of_build("b41", 200, 2, lately=0), of_build("b42", 60, 18), of_build("b43", 9, 9)])
    shares = {r.label("worker_version"): r.value for r in found.rows["version.task_failure_ratio"]}
    assert shares == {"shop:b42": 0.3, "shop:b41": 0.01}
    rates = {r.label("worker_version"): r.value for r in found.rows["version.tasks_per_sec"] if r.value}
    assert rates == {"shop:b42": 1.0, "shop:b43": 0.15}
    assert found.values["version.task_failure_ratio"] == 0.3
    assert why(read([beat("a")]), "version.tasks_per_sec")[1] == "no worker has a deployment version"


def test_a_version_that_fails_keeps_its_neighbor_where_there_are_more_rows_than_are_kept() -> None:
    many = [of_build(f"b{n}", 100, 1) for n in range(30)]
    for n, worker in enumerate(many):
        worker.task_queue = f"queue-{n}"
    found = read([*many, of_build("old", 100, 0), of_build("new", 100, 50)])
    assert [(r.label("worker_version"), r.label("task_queue")) for r in found.rows["version.task_failure_ratio"]][
        :: len(found.rows["version.task_failure_ratio"]) - 1
    ] == [("shop:new", "orders"), ("shop:old", "orders")]


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (RPCStatusCode.UNIMPLEMENTED, MissingCode.NO_SOURCE, "server 1.29.1 lists no worker heartbeats (since 1.30)"),
        (RPCStatusCode.PERMISSION_DENIED, MissingCode.FORBIDDEN, "the workers of namespace default: permission denied"),
    ],
)
async def test_a_server_that_does_not_list_workers_is_not_asked_each_cycle_and_the_rest_is_read(
    status: RPCStatusCode, code: MissingCode, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []

    def refuses(call: str, _request: Any) -> RPCStatusCode | None:
        asked.append(call)
        return status if call == "list_workers" else None

    source = Service(["orders"], refuses, version="1.29.1").source()
    for _ in range(3):
        signals = await source.read(Instant.now())
        assert signals.value("matching.backlog_count") == 1.0
        assert (signals.missing[FREE].code, signals.missing[FREE].detail) == (code, words)
    assert asked.count("list_workers") == 1
    assert caplog.records == []
