"""The steps that loops, command line and replay share: collect under one deadline, judge, replay, resume."""

import asyncio
import logging
from typing import Any

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


def test_a_replay_gives_what_the_rules_decide_tick_by_tick_and_reads_no_further() -> None:
    read = iter([signals(t) for t in ticks(4)])
    replayed, memory = pipeline.replay(read, CONTEXT), Memory()
    for tick in ticks(2):
        expected, memory = evaluate(signals(tick), memory, CONTEXT)
        assert next(replayed) == expected
    assert len(list(read)) == 2


@pytest.mark.parametrize(
    ("age_sec", "changed", "fits"),
    [
        pytest.param(30, {}, True, id="as if the loop had gone on"),
        pytest.param(901, {}, False, id="too old"),
        pytest.param(-1, {}, False, id="from the future"),
        pytest.param(0, {"memory_before": {"mood": "fine"}}, False, id="of another release"),
    ],
)
def test_memory_is_resumed_from_the_last_stored_tick(age_sec: int, changed: dict[str, Any], fits: bool) -> None:
    evaluation, after = evaluate(signals(NOON), Memory(), CONTEXT)
    kept = pipeline.snapshot(evaluation, Memory(), CONTEXT).model_copy(update=changed)
    resumed = pipeline.memory_after(evaluate, kept, CONTEXT, NOON.add(seconds=age_sec))
    assert resumed == (after if fits else None)


def test_a_tick_at_which_nothing_was_read_has_the_reason() -> None:
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


async def test_what_fails_or_does_not_answer_in_time_is_missing_and_the_rest_is_used() -> None:
    slow = Fixed("metrics", None, ("demand.starts_per_sec",))
    broken = Fixed("prometheus", SourceError(MissingCode.FORBIDDEN, "HTTP 403"), ("cache.hit_rate",))
    wrong = Fixed("metrics", "no signals", ("cache.size_bytes",))  # type: ignore[arg-type]
    found = await collect([slow, broken, wrong, Fixed("api", of(frontend__reachable=1.0))], NOON, deadline_sec=0.2)
    assert found.missing["cache.size_bytes"].detail.startswith("the source failed: AttributeError")
    assert found.missing["cache.hit_rate"].detail == "HTTP 403"
    assert (await collect([], NOON)).readings == {}
    assert found.value("frontend.reachable") == 1.0
    assert found.missing["demand.starts_per_sec"].code == MissingCode.TIMEOUT
    assert found.missing["demand.starts_per_sec"].detail == "timed out after 0.2 s"
    await asyncio.sleep(0)
    assert slow.cancelled


async def test_metrics_are_preferred_for_rates_and_the_source_of_each_reading_is_named() -> None:
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
