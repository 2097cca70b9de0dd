"""What is read when somebody sets the clock: no old verdict passes for a fresh one, and no newer one is held back."""

from copilot.api.live import LiveCopies, Said
from copilot.errors import SourceError
from copilot.rules.signals.readings import MissingCode
from tests.api.standin import Clock, ToldLoop, deps
from tests.evaluations import NOON, assessment, evaluation, snapshot
from tests.fakes.memory_store import MemoryStore

AWAY = SourceError(MissingCode.TIMEOUT, "the Copilot's own Temporal does not answer", asked="query verdict")


async def heard(copies: LiveCopies) -> Said:
    await copies.refresh("default")
    return copies.said("default")


async def test_a_verdict_grows_old_although_the_wall_clock_went_back() -> None:
    loop, clock = ToldLoop(), Clock()
    copies = LiveCopies(deps(loop, clock=clock))
    loop.tell(evaluation("happy", time=NOON))
    assert (await heard(copies)).age_sec == 0
    loop.away = AWAY
    clock.now, clock.ran = NOON.subtract(hours=1), 50.0
    said = await heard(copies)
    assert said.age_sec == 50
    assert said.evaluation is not None
    assert said.evaluation.verdict.stale
    clock.ran = 100.0
    said = await heard(copies)
    assert said.evaluation is not None
    assert said.evaluation.verdict.health_state == "unknown"


async def test_the_loop_is_believed_that_goes_on_at_an_earlier_time_after_the_clock_was_put_right() -> None:
    loop, store, clock = ToldLoop(), MemoryStore(), Clock(NOON.add(hours=1))
    copies = LiveCopies(deps(loop, store, clock))
    ahead = evaluation("critical", time=NOON.add(hours=1))
    loop.tell(ahead)
    await store.save_snapshots([snapshot(ahead)])
    await store.save_assessment(assessment("critical", time=ahead.time))
    await heard(copies)
    clock.now, clock.ran = NOON.add(seconds=30), 30.0
    right = evaluation("happy", time=NOON.add(seconds=30))
    loop.tell(right)
    said = await heard(copies)
    assert said.evaluation is not None
    assert said.evaluation.evaluation_id == right.evaluation_id
    assert said.age_sec == 0


async def test_a_loop_whose_clock_is_always_ahead_is_believed_too() -> None:
    loop, clock = ToldLoop(), Clock()
    copies = LiveCopies(deps(loop, clock=clock))
    for tick in range(3):
        clock.now, clock.ran = NOON.add(seconds=30 * tick), 30.0 * tick
        newest = evaluation("happy", time=NOON.add(seconds=30 * tick + 300))
        loop.tell(newest)
        said = await heard(copies)
        assert said.evaluation is not None
        assert said.evaluation.evaluation_id == newest.evaluation_id
        assert said.age_sec == 0
        assert not said.evaluation.verdict.stale
