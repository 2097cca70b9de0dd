"""Hours of a cluster's life for the page to draw: recorded ticks, spliced and judged by the rules."""

from functools import cache

from whenever import Instant

from copilot.api.deps import Deps
from copilot.rules.model import Evaluation, ReportedState
from tests.api.standin import Clock, ToldLoop, deps
from tests.evaluations import FAULT, NOON, judged, recorded, snapshot
from tests.fakes.memory_store import MemoryStore

STEP_SEC = 60
TICKS = 6 * 3600 // STEP_SEC
PAST_INCIDENT = 94
"""The tick at which an incident of the past began."""


async def lived(state: str, *, cluster: str = "default") -> tuple[MemoryStore, ToldLoop, Clock]:
    """A store with six hours that end in `state` at NOON, a loop with the last evaluation, and the clock 4 s later."""
    store, loop = MemoryStore(), ToldLoop()
    past = history(state, cluster)
    await store.save_snapshots([snapshot(e) for e in past])
    loop.tell(past[-1])
    return store, loop, Clock(NOON.add(seconds=4))


async def story(state: str) -> Deps:
    """The API's deps over those hours."""
    store, loop, clock = await lived(state)
    return deps(loop, store, clock)


@cache
def history(state: str, cluster: str = "default", step_sec: int = STEP_SEC) -> tuple[Evaluation, ...]:
    """Six hours: an incident four hours ago, and what leads to `state` now."""
    workers_gone, blind = recorded("one-of-two-queues"), recorded("metrics-cut")
    well = [workers_gone[i % FAULT] for i in range(TICKS)]
    lasting = {"happy": [], "stressed": workers_gone[FAULT : FAULT + 3], "critical": workers_gone[FAULT : FAULT + 9],
               "unknown": blind[FAULT : FAULT + 6]}  # fmt: skip
    end = list(lasting[state])
    past = [*well[:PAST_INCIDENT], *workers_gone[FAULT : FAULT + 10], *well]
    made = list(judged([*past[: TICKS - len(end)], *end], NOON, step_sec, cluster))
    assert made[-1].verdict.health_state == state, made[-1].verdict.health_state
    return tuple(made)


def stretches(state: str) -> list[tuple[ReportedState, Instant]]:
    """The states of those hours, each with the time of its first tick."""
    made = history(state)
    return [
        (e.verdict.health_state, e.time)
        for before, e in zip((None, *made), made, strict=False)
        if before is None or before.verdict.health_state is not e.verdict.health_state
    ]
