"""What is known of each process over the ticks: what it was, its last read, restarts, and that one is gone."""

from whenever import Instant

from copilot.explain.processes import process_rows, processes_sentence
from copilot.rules.signals.readings import MAX_PROCESSES, Missing, MissingCode, ProcessRead, Signals
from copilot.rules.targets import Process, processes_seen
from tests.cluster_signals import START, at, healthy

REFUSED = Missing(code=MissingCode.TARGET_DOWN, detail="connection refused")
HISTORY = ProcessRead("h1:9090", "server", services=("history",), version="1.32.0", shards=270.0)
OTHER = ProcessRead("h2:9090", "server", services=("history",), version="1.32.0", shards=242.0)
OWN = ProcessRead("w1:9090", "server", job="temporal", services=("worker",))
SDK = ProcessRead("p1:9464", "worker", version="temporal-core-sdk")
LOST = ProcessRead("h1:9090", "server", missing=REFUSED)


def tick(*processes: ProcessRead, **changes: object) -> Signals:
    return healthy().model_copy(update={"processes": processes, **changes})


def seen(*ticks: Signals, every_sec: float = 30.0) -> tuple[tuple[Process, ...], Instant]:
    """The processes after these ticks, and the time of the last."""
    known: tuple[Process, ...] = ()
    for number, signals in enumerate(ticks):
        known = processes_seen(known, at(signals, number * every_sec))
    return known, START.add(seconds=every_sec * (len(ticks) - 1))


def restarted(times: float) -> ProcessRead:
    return ProcessRead("h1:9090", "server", services=("history",), restarts=times)


def test_a_process_that_is_not_read_stays_what_it_was_and_has_the_reason() -> None:
    known, now = seen(tick(HISTORY, OTHER, SDK), tick(LOST, OTHER, SDK), tick(LOST, OTHER, SDK))
    lost, *others = process_rows(known, now)
    assert (lost.kind, lost.version, lost.shards, lost.state) == ("history", "1.32.0", None, "not_read")
    assert (lost.why, lost.last_read_age_sec, lost.up_since) == ("connection refused", 60.0, None)
    assert [(p.kind, p.version, p.up_since, p.up_at_least) for p in others] == [
        ("history", "1.32.0", START, True), ("worker", "Core SDK", START, True)
    ]  # fmt: skip
    said = "1 of 2 history processes is not read: `h1:9090`, last read 1 min ago: connection refused."
    assert processes_sentence(known, now) == said


def test_restarts_are_counted_once_each_for_an_hour_and_the_last_is_the_start() -> None:
    counts = [0.0, 1.0, 1.0, 2.0, *[2.0] * 9, 0.0, 1.0]
    known, now = seen(*(tick(restarted(n)) for n in counts))
    (row,) = process_rows(known, now)
    assert (row.restarts, row.up_since, row.up_at_least) == (3, now, False)
    ((process,), hour_later) = (known, now.add(minutes=61))
    assert process_rows([process], hour_later)[0].restarts == 0


def test_after_five_minutes_of_silence_nothing_is_claimed_of_the_time_before() -> None:
    known, now = seen(tick(HISTORY), *[tick(LOST)] * 11, tick(HISTORY))
    assert process_rows(known, now)[0].up_since == now


def test_what_nothing_lists_is_gone_for_an_hour_and_what_no_source_tells_is_not() -> None:
    known, now = seen(tick(HISTORY, SDK), tick(HISTORY))
    assert [(p.role, p.state) for p in known] == [("server", "read"), ("worker", "gone")]
    assert processes_sentence(known, now) == "1 process is read. 1 more gone within the hour."
    blind, _ = seen(tick(HISTORY, SDK), tick(targets={}))
    assert {p.state for p in blind} == {"not_read"}
    assert len(seen(tick(HISTORY, SDK), tick(HISTORY), every_sec=3601)[0]) == 1


def test_of_a_hundred_and_more_the_first_are_kept_and_none_is_called_gone() -> None:
    many = [ProcessRead(f"p{n}:9464", "worker") for n in range(MAX_PROCESSES + 1)]
    known, _ = seen(tick(*many[:-1]), tick(*many[1:]))
    assert {p.state for p in known} == {"read"}
    assert len(known) == MAX_PROCESSES


def test_several_that_are_not_read_are_named_and_none_at_all_is_said() -> None:
    known, now = seen(tick(LOST, ProcessRead("w1:9090", "server", "temporal", missing=REFUSED), SDK))
    assert processes_sentence(known, now) == "2 of 3 processes are not read: `h1:9090` and `w1:9090 (temporal)`."
    assert processes_sentence((), now) == "No process is read."
    (one,), now = seen(tick(LOST))
    assert (
        processes_sentence([one], now) == "The server process is not read: `h1:9090`, never read: connection refused."
    )
