"""What a variant changes, and what it leaves alone."""

import pytest

from copilot.rules.gates.progress import cut_off
from copilot.rules.signals.readings import BreakdownRow, MissingCode
from copilot.rules.signals.taxonomy import SPECS
from lab.cloud import KEPT, of_cloud
from lab.judge import play
from lab.recorded_run import RecordedRun, load_run
from lab.variants import CLOUD, dropped, loaded, scales_with_load, thinned, variants, without_api, without_sdk
from tests.lab.runs import RECORDED, run


@pytest.fixture(scope="module")
def recorded() -> RecordedRun:
    name = "slots-exhausted"
    return load_run(name, RECORDED[name])


def covered(of: RecordedRun) -> list[tuple[int, str]]:
    return [(n, i) for n, tick in enumerate(of.ticks) for i in tick.readings if tick.covered(i)]


def test_about_a_tenth_of_the_readings_is_dropped_and_missing_by_seed(recorded: RecordedRun) -> None:
    changed = dropped(recorded, 0)
    assert changed == dropped(recorded, 0)
    assert covered(changed) != covered(dropped(recorded, 2))
    lost = set(covered(recorded)) - set(covered(changed))
    assert 0.07 < len(lost) / len(covered(recorded)) < 0.13
    for number, signal_id in lost:
        why = changed.ticks[number].why_missing(signal_id)
        assert why is not None
        assert why.code is MissingCode.DROPPED
        assert changed.ticks[number].rows(signal_id) == ()


def test_a_longer_interval_keeps_the_window_and_every_third_tick() -> None:
    changed = thinned(run(), 30.0, first=1)
    assert (changed.header.interval_sec, changed.header.window_sec) == (30.0, 30.0)
    gaps = {(b.time - a.time).total("seconds") for a, b in zip(changed.ticks, changed.ticks[1:], strict=False)}
    assert gaps == {30.0}
    assert changed.ticks[0] == run().ticks[1]


def test_work_and_its_breakdowns_grow_with_the_load_and_nothing_else_does(recorded: RecordedRun) -> None:
    before, after = recorded.ticks[-1], loaded(recorded, 20.0).ticks[-1]
    started, there = before.value("demand.starts_per_sec"), after.value("demand.starts_per_sec")
    assert started
    assert there == pytest.approx(20 * started)
    rows = [BreakdownRow(labels=r.labels, value=20 * r.value) for r in before.rows("demand.tasks_added_per_sec")]
    assert rows
    assert list(after.rows("demand.tasks_added_per_sec")) == rows
    for signal_id in (i for i in before.readings if not scales_with_load(i)):
        assert after.value(signal_id) == before.value(signal_id), signal_id
        assert after.rows(signal_id) == before.rows(signal_id), signal_id


def test_what_grows_with_the_load_is_rates_and_counts_of_work() -> None:
    scaled = {i for i in SPECS if scales_with_load(i)}
    assert {"matching.backlog_count", "persistence.error_rate_per_sec", "frontend.throttled_per_sec"} <= scaled
    assert not scaled & {
        "poller.pending_polls", "poller.recent_pollers", "workers.activity_slots_available", "frontend.reachable",
        "workers.activity_slots_used", "history.shard_churn_rate_per_sec", "workflow_tasks.attempts_p99",
        "matching.activity_backlog_age_sec",
    }  # fmt: skip
    assert {SPECS[i].unit for i in scaled} == {"1/s", "count"}


def test_without_sdk_metrics_nothing_of_the_workers_is_left_nor_expected(recorded: RecordedRun) -> None:
    before, after = recorded.ticks[0], without_sdk(recorded).ticks[0]
    gone = set(before.readings) - set(after.readings)
    assert gone == {i for i in before.readings if SPECS[i].role == "worker" and SPECS[i].source != "api"}
    assert gone
    assert not gone & {*after.breakdowns, *after.missing, *after.no_traffic}
    assert after.targets == {"server": 1}


def test_a_minute_between_reads_is_tried_only_on_long_faults() -> None:
    assert [v.kind for v in variants(run())].count("every 60 s") == 6
    assert {v.kind for v in variants(run()) if not v.sources} == {"no SDK metrics", CLOUD}
    short = run()
    marks = short.taken.marks.model_copy(update={"after": short.taken.marks.fault.add(seconds=200)})
    taken = short.taken.model_copy(update={"marks": marks})
    kinds = [v.kind for v in variants(RecordedRun(taken, short.header, short.ticks))]
    assert kinds.count("every 60 s") == 0
    assert kinds.count("every 30 s") == 3


def test_a_run_of_temporal_cloud_has_nothing_that_only_a_server_page_has(recorded: RecordedRun) -> None:
    tick, plain = recorded.ticks[-1], of_cloud(recorded).ticks[-1]
    assert plain.readings.keys() <= KEPT
    assert plain.targets == {}
    assert plain.value("matching.backlog_count") == tick.value("matching.backlog_count")
    errors = [tick.value(i) or 0.0 for i in ("frontend.error_rate_per_sec", "clients.mistakes_per_sec")]
    assert plain.value("clients.all_errors_per_sec") == sum(errors), "whose fault they are, Cloud does not say"
    assert all(set(r.labels) == {"namespace"} for r in plain.rows("poller.pending_polls"))
    assert "worker_tasks.activity_failures_per_sec" in of_cloud(recorded, sdk=True).ticks[-1].readings


def test_without_the_api_backlogs_are_held_for_a_minute_and_what_it_alone_tells_is_not_expected(
    recorded: RecordedRun,
) -> None:
    backlog = "matching.backlog_count"
    ticks = without_api(recorded).ticks
    assert not {i for tick in ticks for i in (*tick.readings, *tick.breakdowns) if SPECS[i].source == "api"}
    first = next(n for n, tick in enumerate(recorded.ticks) if tick.value(backlog))
    held = [recorded.ticks[n - n % 6] for n in range(len(ticks))]
    pairs = [
        (t.value(backlog), t.rows(backlog), h.value(backlog), h.rows(backlog)) for t, h in zip(ticks, held, strict=True)
    ]
    assert first
    assert all((value, rows) == (then, rows_then) for value, rows, then, rows_then in pairs)
    assert [t.value("poller.pending_polls") for t in ticks] == [t.value("poller.pending_polls") for t in recorded.ticks]


@pytest.mark.parametrize("name", ["server-down", "server-frozen"])
def test_where_nothing_asks_the_server_workers_show_that_it_is_away(name: str) -> None:
    away = [e for e in play(without_api(load_run(name, RECORDED[name]))) if not e.signals.targets["server"]]
    assert "happy" not in [e.verdict.health_state for e in away[4:]]
    assert {(e.verdict.health_state.value, e.top_factor) for e in away[6:]} == {("critical", "server_unreachable")}


@pytest.mark.parametrize(
    ("server", "worker", "changed"),
    [
        (1, 2, {}),
        (0, 0, {}),
        (0, 2, {"frontend.reachable": 1.0}),
        (0, 2, {"worker_poll.long_poll_failures_per_sec": 0.1}),
        (0, 2, {"worker_poll.long_poll_failures_per_sec": None}),
        (0, 2, {"workers.activity_execution_p95_ms": 90.0}),
    ],
    ids=["one page is read", "no worker is read", "it answers", "few polls fail", "polls are not read", "work is done"],
)
def test_workers_do_not_show_that_the_server_is_away(
    server: int, worker: int, changed: dict[str, float | None]
) -> None:
    alone = without_api(load_run("server-down", RECORDED["server-down"]))
    tick = next(t for t in alone.ticks if cut_off(t))
    targets = {"server": server, "worker": worker}
    assert not cut_off(tick.model_copy(update={"readings": {**tick.readings, **changed}, "targets": targets}))
