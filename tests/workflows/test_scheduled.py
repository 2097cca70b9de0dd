"""Scheduled assessments: never within the window of a recent one; and the loop on a real Temporal server."""

from dataclasses import dataclass, field
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError

from copilot.loops.activities.schedule import ScheduleActivities
from copilot.loops.assess import due, newest, next_look
from copilot.loops.live import LoopLive
from copilot.loops.messages import CheckRecentAssessment
from copilot.loops.starter import SCHEDULING
from copilot.rules.model import HealthAssessment, Trigger
from tests.evaluations import NOON, assessment
from tests.fakes.memory_store import MemoryStore
from tests.workflows.conftest import Observed, a_cluster

INTERVAL, WINDOW, EVERY = 30, 300, 4


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
    """An observing loop that ticks every 30 s, a store that may be down, and what was assessed when and why."""

    made: list[tuple[int, str]] = field(default_factory=list)
    stored: list[int] = field(default_factory=list)
    observer_knows: int | None = None


@given(
    ticks=st.lists(
        st.tuples(st.booleans(), st.booleans(), st.integers(0, 8), st.booleans(), st.booleans()), max_size=80
    )
)
@settings(max_examples=50, deadline=None)
def test_no_scheduled_assessment_lies_within_the_window_of_a_recent_one(
    ticks: list[tuple[bool, bool, int, bool, bool]],
) -> None:
    """Each tick: does the state change, is the store up, how late is the look, does the scheduling loop restart, does
    the observing loop answer. Stored is what was assessed while the store was up, or once it is up again."""
    world = World()
    assessed: int | None = None
    since, look_at = 0, 0.0
    for number, (changes, store_up, late, restarts, observer_answers) in enumerate(ticks, start=1):
        tick = number * INTERVAL
        if changes:
            world.made.append((tick, "state_change"))
            world.observer_knows = tick
        if store_up:
            world.stored = [t for t, _ in world.made]
        now = tick + late
        if restarts:
            assessed, since, look_at = None, now, 0.0
        if now < look_at or not observer_answers:
            continue
        assessed = newest(assessed, world.observer_knows)
        if store_up:
            assessed, since = newest(assessed, *world.stored), 0
        if due(tick, newest(assessed, since), WINDOW):
            world.made.append((tick, "scheduled"))
            assessed = tick
        look_at = now + next_look(newest(assessed, since), now, WINDOW)
    for scheduled in (t for t, trigger in world.made if trigger == "scheduled"):
        earlier = [t for t, trigger in world.made if t <= scheduled and (t, trigger) != (scheduled, "scheduled")]
        assert all(scheduled - t >= WINDOW for t in earlier)


@given(kept=st.lists(st.integers(0, 1000), max_size=8, unique=True), since=st.integers(-10, 1010))
@settings(max_examples=50, deadline=None)
async def test_an_assessment_is_recent_if_it_is_later_than_the_moment(kept: list[int], since: int) -> None:
    store = MemoryStore()
    for at in kept:
        await store.save_assessment(assessment("stressed", NOON.add(seconds=at)))
    activities = ScheduleActivities(store, cast(LoopLive, None))
    noon = NOON.timestamp()
    found = await activities.check_recent_assessment(CheckRecentAssessment(cluster="default", since=noon + since))
    assert (found.time is not None) == any(at > since for at in kept)
    assert found.time == (noon + max(kept) if found.time else None)
    latest = await activities.get_latest_assessment("default")
    in_range = await activities.get_assessments_in_range("default", noon, noon + 1000, 3)
    assert in_range == [assessment("stressed", NOON.add(seconds=at)) for at in sorted(kept)[-3:]]
    assert latest == (in_range[-1] if in_range else None)


@pytest.fixture
def scheduled(client: Client) -> Observed:
    """Assessed every four seconds: faster than settings allow."""
    return Observed(client, a_cluster(assess_every_sec=float(EVERY)))


def apart(kept: list[HealthAssessment]) -> None:
    """No scheduled assessment lies within the window of one before it."""
    times = [a.time.timestamp() for a in kept]
    for n, each in enumerate(kept):
        if each.trigger is Trigger.SCHEDULED:
            assert all(times[n] - earlier >= EVERY for earlier in times[:n])


@pytest.mark.servers
async def test_the_live_verdict_is_assessed_on_schedule_once_there_is_one_until_the_loop_is_cancelled(
    scheduled: Observed,
) -> None:
    """Each look is a run of its own, which knows what the one before it assessed."""
    loop = scheduled.other(SCHEDULING)
    async with scheduled.worker():
        await scheduled.start(SCHEDULING, ticks_per_run=1)
        assert "`copilot start` starts it" in await scheduled.failure(SCHEDULING)
        assert (await scheduled.status(SCHEDULING)).made == 0
        await scheduled.start()
        kept = await scheduled.assessed(Trigger.SCHEDULED, 2)
        apart(kept)
        assert kept[0].trigger is Trigger.STATE_CHANGE
        assert {a.evaluation_id for a in kept} <= set(await scheduled.stored(1))
        assert len({a.verdict.since for a in kept}) == 1
        assert (await scheduled.status(SCHEDULING)).runs >= 2
        scheduled.cluster = scheduled.cluster.model_copy(update={"assess_every_sec": 60.0})
        assert (await scheduled.start(SCHEDULING)).outcome == "redefined"
        await scheduled.until(lambda status: status.definition.interval_sec == 60.0, SCHEDULING)
        await loop.cancel()
        with pytest.raises(WorkflowFailureError):
            await loop.result()
        assert (await loop.describe()).status is WorkflowExecutionStatus.CANCELED


@pytest.mark.servers
async def test_a_store_that_is_down_delays_no_assessment_and_gets_them_afterwards(scheduled: Observed) -> None:
    scheduled.store.away = True
    async with scheduled.worker():
        await scheduled.start()
        await scheduled.start(SCHEDULING)
        status = await scheduled.until(lambda status: status.made >= 2, SCHEDULING)
        assert "the state store is away" in await scheduled.failure(SCHEDULING)
        scheduled.store.away = False
        apart(await scheduled.assessed(Trigger.SCHEDULED, status.made))
