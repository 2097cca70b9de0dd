"""All sources under one deadline."""

import asyncio

from whenever import Instant

from copilot.core.errors import SourceError
from copilot.core.signals import MissingCode, Signals
from copilot.pipeline import collect

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
