"""Hours of evaluations as a cluster would have lived them, for the page to draw."""

import math

from whenever import Instant

from copilot.api.deps import Deps
from copilot.rules.model import Evaluation, HealthState, ReportedState, Snapshot
from tests.api.standin import Clock, ToldLoop, deps
from tests.evaluations import HEALTHY, NOON, WORKERS_GONE, evaluation, signals, snapshot
from tests.fakes.memory_store import MemoryStore

STEP_SEC = 60


async def lived(state: str, *, cluster: str = "default", now: Instant = NOON) -> tuple[MemoryStore, ToldLoop, Clock]:
    """A store with six hours that end in `state` now, and a loop that says the last of them."""
    store, loop = MemoryStore(), ToldLoop()
    past = history(state, cluster, now)
    await store.save_snapshots(past)
    loop.tell(past[-1].evaluation)
    return store, loop, Clock(now.add(seconds=4))


async def story(state: str) -> Deps:
    """The API's deps over those hours."""
    store, loop, clock = await lived(state)
    return deps(loop, store, clock)


def history(state: str, cluster: str, now: Instant) -> list[Snapshot]:
    """Six hours: an incident four hours ago, and what leads to `state` now."""
    count = 6 * 3600 // STEP_SEC
    return [snapshot(_tick(state, cluster, now, i, count - 1 - i)) for i in range(count)]


def _tick(state: str, cluster: str, now: Instant, i: int, before_end: int) -> Evaluation:
    if before_end < {"stressed": 3, "critical": 4, "unknown": 3}.get(state, 0):
        told = "stressed" if state == "critical" and before_end == 3 else state
    else:
        told = {95: "stressed", 96: "stressed", 97: "critical", 98: "critical", 99: "critical", 100: "stressed",
                101: "stressed", 210: "stressed", 211: "stressed"}.get(i, "happy")  # fmt: skip
    time = now.subtract(seconds=STEP_SEC * before_end)
    wave = {
        name: None
        if value is None
        else abs(value * (1 + 0.16 * math.sin(i / 7 + k) + 0.07 * math.sin(i * 1.7 + 2 * k)))
        for k, (name, value) in enumerate(HEALTHY.items())
    }
    for name, value in HEALTHY.items():
        if value is not None and (value == 0 or name.endswith(("reachable", "rate"))):
            wave[name] = value
    if told in ("stressed", "critical"):
        wave |= WORKERS_GONE | {"matching.backlog_count": 1204.0 - 260 * before_end if before_end < 5 else 300.0}
    said = evaluation(told, time, cluster=cluster, interval=STEP_SEC)
    if told == "unknown":
        return said
    read = signals(time, **{n.replace(".", "__", 1): v for n, v in wave.items()})
    return said.model_copy(update={"signals": read})


LAST_KNOWN = {"unknown": HealthState.HAPPY}
WORDS = {s: s.value.capitalize() for s in ReportedState}
