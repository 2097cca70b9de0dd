"""What is read beside the verdict, without a server: workers and their trouble, sentences, links into Temporal's UI."""

import pytest
from whenever import Instant

from copilot.explain.executions import executions_sentence, executions_sentences, workers_sentence
from copilot.inspection.executions import ExecutionsKind, Group, Inspection, Part
from copilot.inspection.links import Links, ui_of
from copilot.inspection.workers import Executor, WorkerRow, WorkersListed, WorkerState, merged
from copilot.settings.clusters import ClusterSettings, WatchedTemporal
from copilot.sources.temporal.heartbeats import WorkerHeartbeats
from copilot.sources.temporal.worker_rows import workers_listed
from tests.sources.test_heartbeats import beat

NOON = Instant.from_utc(2026, 11, 30, 12)
TEN = Executor(slots=10, pollers=2)


def row(name: str, minute: int = 0, queue: str = "orders", **fields: object) -> WorkerRow:
    """A worker that started then and beats."""
    started = NOON.add(minutes=minute)
    given = {"workflow": TEN, "host": f"host-{name[0]}", "started": started, "last_heartbeat": started, **fields}
    return WorkerRow.model_validate({"namespace": "shop", "task_queue": queue, "instance": name, **given})


def listed(minute: int, *rows: WorkerRow, before: WorkersListed | None = None, complete: bool = True) -> WorkersListed:
    now = WorkersListed(cluster="default", time=NOON.add(minutes=minute), workers=rows)
    return merged(before, now, ["shop"] if complete else [])


def test_workers_come_by_queue_those_in_trouble_first() -> None:
    full = Executor(used=10, slots=10, pollers=2)
    found = listed(
        1,
        row("a", queue="billing"),
        row("b"),
        row("c", activity=full),
        row("d", state=WorkerState.STALE, activity=full),
        row("e", workflow=Executor(slots=10), last_heartbeat=NOON.add(seconds=31)),
        row("g", workflow=Executor(slots=10), last_heartbeat=NOON.add(seconds=1)),
        row("f", workflow=Executor(used=500, pollers=1)),
    )
    assert [(w.task_queue, w.instance, w.trouble) for w in found.workers] == [
        ("orders", "c", ("all activity slots are in use",)),
        ("orders", "d", ("its heartbeat is overdue",)),
        ("orders", "e", ("no pollers",)),
        ("orders", "b", ()),
        ("orders", "f", ()),
        ("orders", "g", ()),
        ("billing", "a", ()),
    ]
    assert workers_sentence(found) == "6 workers with heartbeats, 3 in trouble."
    assert [w.instance for w in found.chosen(task_queue="billing")] == ["a"]


def test_a_worker_that_vanished_stays_for_an_hour_and_only_where_the_list_is_complete() -> None:
    first = listed(0, row("a"), row("b"))
    partly = listed(1, row("a"), before=first, complete=False)
    assert {w.instance: w.state for w in partly.workers} == {"a": WorkerState.LIVE, "b": WorkerState.LIVE}
    gone = listed(2, row("a"), before=partly)
    assert [(w.instance, w.state, w.gone_at) for w in gone.workers] == [
        ("a", WorkerState.LIVE, None),
        ("b", WorkerState.GONE, NOON.add(minutes=2)),
    ]
    assert workers_sentence(gone) == "1 worker with heartbeats, 1 gone within the hour."
    still = listed(61, row("a"), before=gone)
    assert len(still.workers) == 2
    assert [w.instance for w in listed(62, row("a"), before=still).workers] == ["a"]


def test_a_worker_that_is_started_again_and_again_on_one_host_is_in_trouble() -> None:
    found: WorkersListed | None = None
    for minute in range(4):
        found = listed(minute, row(f"w{minute}", minute), row("x"), before=found)
    assert found is not None
    worst, *others = found.workers
    assert (worst.instance, worst.restarts, worst.trouble) == ("w3", 3, ("started again 3 times within an hour",))
    assert not any(w.trouble for w in others)


def test_heartbeats_become_rows_without_secrets_and_with_links() -> None:
    heartbeats, cluster = WorkerHeartbeats(), ClusterSettings(temporal=WatchedTemporal(ui_url="http://ui:8080/"))
    heard = [
        beat("a", NOON.subtract(seconds=20), worker_identity="jane.doe@example.com"),
        beat("b", NOON.subtract(seconds=300), kind="ResourceBased"),
        beat("c", NOON.subtract(minutes=30)),
    ]
    assert workers_listed(cluster, heartbeats, ["shop"], NOON, "", str) == (None, frozenset())
    heartbeats.record("shop", heard, NOON, complete=True)
    found, complete = workers_listed(cluster, heartbeats, ["shop"], NOON, "", lambda text: text.split("@")[0])
    assert found is not None
    assert complete == {"shop"}
    assert [(w.identity, w.state) for w in found.workers] == [("jane.doe", "live"), ("b", "stale"), ("c", "gone")]
    assert (found.workers[0].activity.slots, found.workers[1].activity.slots) == (3, None)
    assert found.workers[0].last_heartbeat == NOON.subtract(seconds=20)
    assert found.workers[0].queue_url == "http://ui:8080/namespaces/shop/task-queues/orders"
    none, _ = workers_listed(cluster, WorkerHeartbeats(), ["shop"], NOON, "server 1.29 lists no heartbeats", str)
    assert none is not None
    assert none.problem == "server 1.29 lists no heartbeats"


def reported(*types: tuple[str, int], count: int | None = None, minute: int = 0) -> Part:
    groups = [
        Group(workflow_type=name, task_queue="q", cause="", count=n, first=NOON.add(minutes=i + 12))
        for i, (name, n) in enumerate(types)
    ]
    total = count or sum(n for _, n in types)
    kind = ExecutionsKind.REPORTED_PROBLEMS
    read_at = NOON.add(minutes=minute)
    return Part(kind=kind, namespace="n", query="", count=total, groups=tuple(groups), read_at=read_at)


def closed(now: int, before: int, kind: ExecutionsKind = ExecutionsKind.FAILED) -> Part:
    return Part(kind=kind, namespace="n", query="", count=now, before=before, read_at=NOON)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([reported(("Checkout", 41))], "41 executions of `Checkout` report problems, first at 12:12 UTC."),
        ([reported(("Refund", 1))], "1 execution of `Refund` reports problems, first at 12:12 UTC."),
        ([reported(("A", 1), ("B", 3), count=90)], "90 executions of `B` and `A` report problems, first at 12:12 UTC."),
        ([reported(("Checkout", 41), minute=-6)], "No execution is known to be in trouble."),
        ([closed(4, 0)], "No execution is known to be in trouble."),
        ([closed(9, 5)], "No execution is known to be in trouble."),
        ([closed(10, 5)], "10 executions failed in 10 min, 5 in the 10 min before."),
        ([closed(12, 0, ExecutionsKind.TIMED_OUT)], "12 executions timed out in 10 min, none in the 10 min before."),
        ([closed(1, 1).model_copy(update={"problem": "permission denied"})],
         "The executions cannot be read now: permission denied."),
        ([], "Nothing was read yet."),
        ([Part(kind=ExecutionsKind.OPEN_LONG, namespace="n", query="", count=10, at_least=True, workflow_type="Slow",
               usual_sec=180.0, read_at=NOON)], "At least 10 executions of `Slow` are open for more than 3 min."),
    ],
)  # fmt: skip
def test_executions_in_a_sentence(parts: list[Part], said: str) -> None:
    found = Inspection(cluster="default", time=NOON, parts=tuple(parts))
    assert executions_sentence(found, NOON) == said


def test_without_an_inspection_nothing_is_said() -> None:
    assert executions_sentences(None, NOON) == ()


@pytest.mark.parametrize(
    ("address", "given", "ui"),
    [
        ("127.0.0.1:7233", None, None),
        ("127.0.0.1:7233", "http://ui.example/", "http://ui.example"),
        ("prod.a1b2c.tmprl.cloud:7233", None, "https://cloud.temporal.io"),
        ("eu-west-1.aws.api.temporal.io:7233", None, "https://cloud.temporal.io"),
        ("tmprl.cloud.evil.example:7233", None, None),
    ],
)
def test_the_ui_is_the_given_one_or_clouds(address: str, given: str | None, ui: str | None) -> None:
    assert ui_of(address, given) == ui


def test_names_are_escaped_in_links() -> None:
    links = Links("http://ui", "a b")
    assert links.execution("cart/7?x#y", "run") == "http://ui/namespaces/a%20b/workflows/cart%2F7%3Fx%23y/run/history"
    assert links.executions("A = 'b'") == "http://ui/namespaces/a%20b/workflows?query=A%20%3D%20%27b%27"
    assert links.deployment("shop/1") == "http://ui/namespaces/a%20b/worker-deployments/shop%2F1"
    assert Links(None, "a").workers() is None
