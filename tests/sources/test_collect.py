"""All sources under one deadline."""

import asyncio

from whenever import Instant

from copilot.errors import SourceError
from copilot.pipeline import collect
from copilot.rules.signals.readings import BreakdownRow, Missing, MissingCode, Signals

NOW = Instant.from_utc(2026, 11, 22, 3)


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


def signals(**readings: float) -> Signals:
    return Signals(time=NOW, readings={k.replace("__", "."): v for k, v in readings.items()})


async def test_the_api_is_preferred_whatever_the_order() -> None:
    metrics = Fixed("metrics", signals(matching__backlog_count=1.0, demand__starts_per_sec=2.0))
    api = Fixed("api", signals(matching__backlog_count=3.0))
    found = await collect([metrics, api], NOW)
    assert found.readings == {"matching.backlog_count": 3.0, "demand.starts_per_sec": 2.0}
    assert found.time == NOW


async def test_what_does_not_answer_in_time_is_missing_and_the_rest_is_used() -> None:
    slow = Fixed("metrics", None, ("demand.starts_per_sec",))
    found = await collect([slow, Fixed("api", signals(frontend__reachable=1.0))], NOW, deadline_sec=0.2)
    assert found.value("frontend.reachable") == 1.0
    assert found.missing["demand.starts_per_sec"].code == MissingCode.TIMEOUT
    assert found.missing["demand.starts_per_sec"].detail == "timed out after 0.2 s"
    await asyncio.sleep(0)
    assert slow.cancelled


async def test_a_source_that_fails_is_missing_with_its_reason() -> None:
    broken = Fixed("metrics", SourceError(MissingCode.FORBIDDEN, "HTTP 403"), ("demand.starts_per_sec",))
    found = await collect([broken], NOW)
    assert found.missing["demand.starts_per_sec"].detail == "HTTP 403"


async def test_without_sources_nothing_is_expected() -> None:
    assert (await collect([], NOW)).readings == {}


async def test_metrics_are_preferred_for_rates_and_it_is_said_whose_reading_was_taken() -> None:
    rates = ("demand.tasks_added_per_sec", "matching.tasks_dispatched_per_sec")
    metrics = signals(**{"demand__tasks_added_per_sec": 17.0, "matching__backlog_count": 1.0, "cache__hit_rate": 0.9})
    api = signals(
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
        NOW,
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
    gauges = signals(matching__workflow_backlog_age_sec=203.0).model_copy(update={"breakdowns": {age: (minute_old,)}})
    found = await collect(
        [Fixed("api", signals(matching__workflow_backlog_age_sec=0.0)), Fixed("metrics", gauges)], NOW
    )
    assert (found.value(age), found.rows(age)) == (0.0, ())


async def test_a_rate_neither_source_has_is_missing_for_the_reason_metrics_give() -> None:
    of_metrics, of_api = (Missing(code=MissingCode.TARGET_DOWN, detail=d) for d in ("page gone", "no frontend"))
    parts = {
        name: Signals(
            time=NOW, readings={"demand.tasks_added_per_sec": None}, missing={"demand.tasks_added_per_sec": why}
        )
        for name, why in (("api", of_api), ("metrics", of_metrics))
    }
    found = await collect([Fixed(name, part) for name, part in parts.items()], NOW)
    assert found.missing["demand.tasks_added_per_sec"].detail == "page gone"
    assert found.sources == {}
