"""The steps that loops, command line and replay share: collect under one deadline, judge, replay, resume."""

import asyncio
import logging

import pytest
from whenever import Instant

from copilot import pipeline
from copilot.errors import SettingsError, SourceError
from copilot.pipeline import collect
from copilot.rules.evaluate import Context, evaluate
from copilot.rules.memory import Memory
from copilot.rules.model import ReportedState
from copilot.rules.signals.readings import BreakdownRow, Missing, MissingCode, Signals
from copilot.rules.thresholds import Thresholds
from copilot.settings.clusters import ClusterSettings, MetricsEndpoint
from copilot.settings.load import Settings
from copilot.sources import ThrottledLog
from tests.evaluations import NOON, signals

CONTEXT = Context(cluster="night", interval_sec=30, window_sec=60)
NOWHERE = MetricsEndpoint(url="http://127.0.0.1:1/metrics", role="server")


def ticks(count: int) -> list[Instant]:
    return [NOON.add(seconds=30 * n) for n in range(count)]


def test_a_replay_gives_what_the_rules_said_tick_by_tick() -> None:
    read = [signals(t) for t in ticks(4)]
    said = list(pipeline.replay(read, CONTEXT))
    memory = Memory()
    for tick, evaluation in zip(read, said, strict=True):
        expected, memory = evaluate(tick, memory, CONTEXT)
        assert evaluation == expected
    assert said[0].evaluation_id == f"night:{NOON.timestamp()}"


def test_a_replay_reads_no_further_than_it_was_asked_to() -> None:
    read = iter([signals(t) for t in ticks(3)])
    said = pipeline.replay(read, CONTEXT)
    next(said)
    assert len(list(read)) == 2


def test_memory_is_taken_up_from_the_last_stored_tick_as_if_the_loop_had_gone_on() -> None:
    first, second = (signals(t) for t in ticks(2))
    evaluation, after = evaluate(first, Memory(), CONTEXT)
    kept = pipeline.snapshot(evaluation, Memory(), CONTEXT)
    resumed = pipeline.memory_after(evaluate, kept, CONTEXT, second.time)
    assert resumed == after


@pytest.mark.parametrize("age_sec", [-1, 901])
def test_memory_too_old_or_from_the_future_is_not_taken_up(age_sec: int) -> None:
    evaluation, _ = evaluate(signals(NOON), Memory(), CONTEXT)
    kept = pipeline.snapshot(evaluation, Memory(), CONTEXT)
    assert pipeline.memory_after(evaluate, kept, CONTEXT, NOON.add(seconds=age_sec)) is None


def test_memory_of_another_release_is_not_taken_up() -> None:
    evaluation, _ = evaluate(signals(NOON), Memory(), CONTEXT)
    kept = pipeline.snapshot(evaluation, Memory(), CONTEXT).model_copy(update={"memory_before": {"mood": "fine"}})
    assert pipeline.memory_after(evaluate, kept, CONTEXT, NOON) is None


def test_a_blind_tick_knows_nothing_and_says_why() -> None:
    blind = pipeline.all_missing(NOON, ["frontend.reachable"], "nobody was there")
    why = blind.why_missing("frontend.reachable")
    assert why is not None
    assert (why.code, why.detail) == (MissingCode.TIMEOUT, "nobody was there")
    evaluation, _ = evaluate(blind, Memory(), CONTEXT)
    assert evaluation.verdict.health_state is not ReportedState.HAPPY


def test_thresholds_are_kept_under_a_hash_that_follows_their_values() -> None:
    field = next(name for name, value in Thresholds() if isinstance(value, float))
    changed = Thresholds.model_validate({field: getattr(Thresholds(), field) * 1.01})
    assert Thresholds().digest() == Thresholds().digest()
    assert changed.digest() != Thresholds().digest()


def test_a_replay_takes_the_rules_of_the_cluster_with_the_recordings_name() -> None:
    settings = Settings(clusters=(ClusterSettings(name="night", metrics=(NOWHERE,), ignore_task_queues=("old",)),))
    assert pipeline.with_rules_of(CONTEXT, settings).ignore_task_queues == ("old",)
    with pytest.raises(SettingsError, match="no cluster named 'day'"):
        pipeline.with_rules_of(Context(cluster="day", interval_sec=30, window_sec=60), settings)


class Fixed:
    """A source that gives what it was given, raises it, or never answers."""

    def __init__(self, name: str, answer: Signals | SourceError | None, expected: tuple[str, ...] = ()) -> None:
        self.name = name
        self.answer = answer
        self.expected = expected
        self.cancelled = False

    async def read(self, now: Instant) -> Signals:
        if self.answer is None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise
        if isinstance(self.answer, SourceError):
            raise self.answer
        return self.answer.model_copy(update={"time": now}) if self.answer else Signals(time=now, readings={})

    async def aclose(self) -> None:
        return


def of(**readings: float) -> Signals:
    return Signals(time=NOON, readings={k.replace("__", "."): v for k, v in readings.items()})


async def test_the_api_is_preferred_whatever_the_order() -> None:
    metrics = Fixed("metrics", of(matching__backlog_count=1.0, demand__starts_per_sec=2.0))
    api = Fixed("api", of(matching__backlog_count=3.0))
    found = await collect([metrics, api], NOON)
    assert found.readings == {"matching.backlog_count": 3.0, "demand.starts_per_sec": 2.0}
    assert found.time == NOON


async def test_what_does_not_answer_in_time_is_missing_and_the_rest_is_used() -> None:
    slow = Fixed("metrics", None, ("demand.starts_per_sec",))
    found = await collect([slow, Fixed("api", of(frontend__reachable=1.0))], NOON, deadline_sec=0.2)
    assert found.value("frontend.reachable") == 1.0
    assert found.missing["demand.starts_per_sec"].code == MissingCode.TIMEOUT
    assert found.missing["demand.starts_per_sec"].detail == "timed out after 0.2 s"
    await asyncio.sleep(0)
    assert slow.cancelled


async def test_a_source_that_fails_is_missing_with_its_reason() -> None:
    broken = Fixed("metrics", SourceError(MissingCode.FORBIDDEN, "HTTP 403"), ("demand.starts_per_sec",))
    found = await collect([broken], NOON)
    assert found.missing["demand.starts_per_sec"].detail == "HTTP 403"


async def test_without_sources_nothing_is_expected() -> None:
    assert (await collect([], NOON)).readings == {}


async def test_metrics_are_preferred_for_rates_and_it_is_said_whose_reading_was_taken() -> None:
    rates = ("demand.tasks_added_per_sec", "matching.tasks_dispatched_per_sec")
    metrics = of(**{"demand__tasks_added_per_sec": 17.0, "matching__backlog_count": 1.0, "cache__hit_rate": 0.9})
    api = of(
        **{
            "demand__tasks_added_per_sec": 9.0,
            "matching__tasks_dispatched_per_sec": 8.0,
            "matching__backlog_count": 3.0,
        }
    )
    row = BreakdownRow(labels={"task_queue": "orders"}, value=9.0)
    of_metrics = BreakdownRow(labels={"task_queue": "orders"}, value=17.0)
    found = await collect(
        [
            Fixed("api", api.model_copy(update={"breakdowns": dict.fromkeys(rates, (row,))})),
            Fixed(
                "metrics",
                metrics.model_copy(
                    update={
                        "readings": {**metrics.readings, "matching.tasks_dispatched_per_sec": None},
                        "breakdowns": {rates[0]: (of_metrics,)},
                    }
                ),
            ),
        ],
        NOON,
    )
    assert [found.value(i) for i in (*rates, "matching.backlog_count")] == [17.0, 8.0, 3.0]
    assert [found.rows(i) for i in rates] == [(of_metrics,), (row,)]
    assert found.sources == {
        "demand.tasks_added_per_sec": "metrics",
        "matching.tasks_dispatched_per_sec": "api",
        "matching.backlog_count": "api",
    }


async def test_rows_of_an_old_gauge_go_where_the_api_says_that_nothing_waits() -> None:
    age = "matching.workflow_backlog_age_sec"
    minute_old = BreakdownRow(labels={"task_queue": "orders"}, value=203.0)
    gauges = of(matching__workflow_backlog_age_sec=203.0).model_copy(update={"breakdowns": {age: (minute_old,)}})
    found = await collect([Fixed("api", of(matching__workflow_backlog_age_sec=0.0)), Fixed("metrics", gauges)], NOON)
    assert (found.value(age), found.rows(age)) == (0.0, ())


async def test_a_rate_neither_source_has_is_missing_for_the_reason_metrics_give() -> None:
    of_metrics, of_api = (Missing(code=MissingCode.TARGET_DOWN, detail=d) for d in ("page gone", "no frontend"))
    parts = {
        name: Signals(
            time=NOON, readings={"demand.tasks_added_per_sec": None}, missing={"demand.tasks_added_per_sec": why}
        )
        for name, why in (("api", of_api), ("metrics", of_metrics))
    }
    found = await collect([Fixed(name, part) for name, part in parts.items()], NOON)
    assert found.missing["demand.tasks_added_per_sec"].detail == "page gone"
    assert found.sources == {}


def test_a_failure_every_five_seconds_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    throttled = ThrottledLog(logging.getLogger("copilot.sources"), "source.failed", clock=lambda: now)
    times = []
    for _ in range(36):
        caplog.clear()
        throttled.warning("cannot read %s", "it")
        times += [now for r in caplog.records if r.getMessage() == "cannot read it"]
        now += 5
    assert times == [100.0, 160.0, 220.0]
