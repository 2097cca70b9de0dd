"""A cluster of Temporal Cloud, two minutes late, goes through workers that are down, throttling and recovery.

The API readings of recordings are live, as those of Cloud are; metrics come through the stand-in of the endpoint."""

from collections.abc import Iterable
from dataclasses import dataclass

from whenever import Instant, TimeDelta

from copilot import pipeline
from copilot.explain import explained
from copilot.explain.explanation import ExplainedEvaluation
from copilot.rules.evaluate import Context, evaluate
from copilot.rules.memory import Memory
from copilot.rules.signals.readings import Signals
from copilot.sources.temporal.source import TemporalApiSource
from lab.recorded_run import RecordedRun, load_run
from tests.fakes.cloud import CloudEndpoint, limits, minute_of_signals
from tests.lab.runs import RECORDED
from tests.sources.test_cloud import SHOP, Clock, watched

TICKS = 24
OF_API = frozenset(TemporalApiSource.expected)


@dataclass(eq=False)
class RecordedApi:
    """What Temporal's API gave at the recorded tick nearest to the time."""

    run: RecordedRun
    offset: TimeDelta
    name: str = "api"
    expected: tuple[str, ...] = TemporalApiSource.expected

    async def read(self, now: Instant) -> Signals:
        tick = nearest(self.run, now - self.offset)
        kept = {i: v for i, v in tick.readings.items() if i in OF_API}
        rows = {i: r for i, r in tick.breakdowns.items() if i in OF_API}
        quiet = tuple(i for i in tick.no_traffic if i in OF_API)
        missing = {i: m for i, m in tick.missing.items() if i in OF_API}
        return Signals(time=now, readings=kept, breakdowns=rows, no_traffic=quiet, missing=missing)

    async def aclose(self) -> None:
        pass


def nearest(run: RecordedRun, at: Instant) -> Signals:
    """The recorded tick; after the end, the healthy one it began with."""
    if at > run.ticks[-1].time:
        return run.ticks[0]
    return min(run.ticks, key=lambda t: abs((t.time - at).total("seconds")))


async def watch(name: str) -> tuple[RecordedRun, list[ExplainedEvaluation], CloudEndpoint]:
    """Evaluate a recorded run as one of Cloud's, once a minute until it has ended and the last minute was seen."""
    run, clock = load_run(name, RECORDED[name]), Clock()
    offset = clock.now - run.ticks[0].time
    endpoint = CloudEndpoint(clock, values=limits(action_limit=500.0), namespace=SHOP)
    for minute in range(-3, TICKS):
        at = clock.now.add(minutes=minute)
        endpoint.add(at, minute_of_signals(nearest(run, at.add(seconds=30) - offset)))
    context, memory, seen = Context("shop", 60.0, 60.0), Memory(), []
    async with watched(endpoint) as source:
        for _ in range(TICKS):
            signals = await pipeline.collect([RecordedApi(run, offset), source], clock.now)
            evaluation, memory = evaluate(signals, memory, context)
            seen.append(explained(evaluation))
            clock.tick()
    return run, seen, endpoint


def states(seen: Iterable[ExplainedEvaluation]) -> list[str]:
    return [e.verdict.health_state.value for e in seen]


async def test_workers_that_are_down_are_seen_by_the_live_api_and_recovered_from() -> None:
    _, seen, endpoint = await watch("workers-down")
    assert states(seen)[0] == "happy"
    assert "critical" in states(seen)
    assert states(seen)[-1] == "happy"
    assert states(seen).index("critical") <= 3, "the API is live: the metrics of the fault come two minutes later"
    worst = next(e for e in seen if e.verdict.health_state.value == "critical")
    assert worst.findings[0].finding == "no_pollers"
    assert len(endpoint.reads) == len(seen), "one read a minute"
    assert all((e.time - e.signals.metrics_at).total("seconds") <= 180 for e in seen if e.signals.metrics_at)


async def test_throttling_is_seen_two_minutes_later_and_told_with_its_own_time() -> None:
    _, seen, _ = await watch("frontend-rate-limit")
    throttled = [e for e in seen if any(g.name == "rate_limited" and g.fired for g in e.verdict.gates)]
    assert throttled
    assert throttled[0].findings[0].finding == "rate_limited"
    gate = next(g for g in throttled[0].verdict.gates if g.name == "rate_limited")
    assert gate.since == throttled[0].signals.metrics_at
    assert states(seen)[-1] == "happy"
    assert set(states(seen)) <= {"happy", "stressed", "critical"}


async def test_a_refused_key_leaves_the_live_api_and_is_said() -> None:
    run, clock = load_run("healthy", RECORDED["healthy"]), Clock()
    endpoint = CloudEndpoint(clock, keys={})
    async with watched(endpoint) as source:
        signals = await pipeline.collect([RecordedApi(run, clock.now - run.ticks[-1].time), source], clock.now)
    assert signals.value("matching.backlog_count") == 0
    assert "the API key is refused" in signals.missing["demand.starts_per_sec"].detail
