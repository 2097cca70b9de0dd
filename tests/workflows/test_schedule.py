"""When an assessment on schedule is due: never within the window of a recent one (property 10)."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot.loops.activities.schedule import ScheduleActivities, ScheduleDeps
from copilot.loops.loop import due, newest, next_look
from copilot.loops.messages import CheckRecentAssessment
from copilot.rules.model import Evaluation
from tests.evaluations import NOON, assessment
from tests.fakes.memory_store import MemoryStore

INTERVAL, WINDOW = 30, 300


@pytest.mark.parametrize(
    ("evaluated", "assessed", "expected"),
    [
        pytest.param(1300, 1000, True, id="a window later"),
        pytest.param(1299, 1000, False, id="within the window"),
        pytest.param(1000, 1000, False, id="the same evaluation"),
        pytest.param(900, 1000, False, id="an older evaluation"),
        pytest.param(5, None, True, id="the first of all"),
    ],
)
def test_when_an_evaluation_is_due_to_be_assessed(evaluated: int, assessed: int | None, expected: bool) -> None:
    assert due(evaluated, assessed, WINDOW) is expected


@pytest.mark.parametrize(
    ("assessed", "now", "seconds"),
    [
        pytest.param(1000, 1000.0, 300, id="a whole window, at most"),
        pytest.param(1000, 1280.0, 30, id="not at once, though it is soon over"),
        pytest.param(1000, 1100.0, 203, id="until the tick at its end is evaluated"),
        pytest.param(1000, 1900.0, 30, id="soon, where nothing could be assessed"),
        pytest.param(None, 1900.0, 30, id="soon, where nothing ever was"),
        pytest.param(9000, 1900.0, 300, id="and where the loop's time is ahead of the clock"),
    ],
)
def test_when_to_look_again(assessed: int | None, now: float, seconds: float) -> None:
    assert next_look(assessed, now, WINDOW) == seconds


@dataclass
class World:
    """An observer that ticks every 30 s, a store that may be away, and what was assessed when, by whom."""

    made: list[tuple[int, str]] = field(default_factory=list)
    stored: list[int] = field(default_factory=list)
    observer_knows: int | None = None


@given(
    ticks=st.lists(
        st.tuples(st.booleans(), st.booleans(), st.integers(0, 8), st.booleans(), st.booleans()), max_size=80
    )
)
@settings(max_examples=100, deadline=None)
def test_10_no_scheduled_assessment_lies_within_the_window_of_a_recent_one(
    ticks: list[tuple[bool, bool, int, bool, bool]],
) -> None:
    """Each tick: does the state change, is the store there, how late is the look, does the scheduling loop begin anew,
    can the observer be asked. Stored is what was assessed while the store was there, or once it is back."""
    world = World()
    assessed: int | None = None
    since, look_at = 0, 0.0
    for number, (changes, store_there, late, begun_anew, observer_there) in enumerate(ticks, start=1):
        tick = number * INTERVAL
        if changes:
            world.made.append((tick, "state_change"))
            world.observer_knows = tick
        if store_there:
            world.stored = [t for t, _ in world.made]
        now = tick + late
        if begun_anew:
            assessed, since, look_at = None, now, 0.0
        if now < look_at or not observer_there:
            continue
        assessed = newest(assessed, world.observer_knows)
        if store_there:
            assessed, since = newest(assessed, *world.stored), 0
        if due(tick, newest(assessed, since), WINDOW):
            world.made.append((tick, "scheduled"))
            assessed = tick
        look_at = now + next_look(newest(assessed, since), now, WINDOW)
    for scheduled in (t for t, trigger in world.made if trigger == "scheduled"):
        earlier = [t for t, trigger in world.made if t <= scheduled and (t, trigger) != (scheduled, "scheduled")]
        assert all(scheduled - t >= WINDOW for t in earlier)


class NoLoop:
    """A loop nobody asks here."""

    async def evaluation(self, cluster: str) -> Evaluation | None:
        raise AssertionError(cluster)

    async def assessed(self, cluster: str) -> int | None:
        raise AssertionError(cluster)


@given(kept=st.lists(st.integers(0, 1000), max_size=8, unique=True), since=st.integers(-10, 1010))
@settings(max_examples=100, deadline=None)
async def test_10_an_assessment_is_recent_iff_it_is_later_than_asked(kept: list[int], since: int) -> None:
    store = MemoryStore()
    for at in kept:
        await store.save_assessment(assessment("stressed", NOON.add(seconds=at)))
    activities = ScheduleActivities(ScheduleDeps(store=store, live=NoLoop()))
    noon = NOON.timestamp()
    found = await activities.check_recent_assessment(CheckRecentAssessment(cluster="default", since=noon + since))
    assert found.recent == any(at > since for at in kept)
    assert found.time == (noon + max(kept) if found.recent else None)
