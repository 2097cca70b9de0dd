"""Property 8: a stored assessment is found if and only if it is in the range that is asked for."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from copilot.rules.model import ReportedState
from copilot.store.base import SeriesPoint, Store, TimelinePoint
from copilot.store.downsample import thin_series, thin_timeline
from copilot.store.postgres import PostgresStore
from tests.evaluations import NOON, assessment, evaluation
from tests.fakes.memory_store import MemoryStore

offsets = st.integers(min_value=0, max_value=3_000_000)
times = st.lists(offsets, max_size=6, unique=True)


async def found_iff_in_range(store: Store, cluster: str, stored: list[int], start: int, end: int) -> None:
    for at in stored:
        time = NOON.add(microseconds=at)
        await store.save_assessment(assessment("stressed", time, cluster=cluster, evaluation_id=f"{cluster}:{at}"))
    answer = await store.assessments_in_range(cluster, NOON.add(microseconds=start), NOON.add(microseconds=end))
    assert [a.time for a in answer] == [NOON.add(microseconds=at) for at in sorted(stored) if start <= at <= end]


@given(stored=times, start=offsets, end=offsets)
@settings(max_examples=40, deadline=None)
def test_8_a_stored_assessment_is_found_iff_in_range_in_memory(stored: list[int], start: int, end: int) -> None:
    asyncio.run(found_iff_in_range(MemoryStore(), "c", stored, start, end))


@pytest.mark.servers
def test_8_a_stored_assessment_is_found_iff_in_range_in_postgres(database: str) -> None:
    with asyncio.Runner() as runner:
        store = PostgresStore(database)
        runner.run(store.setup_schema())
        examples = iter(range(100_000))

        @given(stored=times, start=offsets, end=offsets)
        @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
        def law(stored: list[int], start: int, end: int) -> None:
            runner.run(found_iff_in_range(store, f"c{next(examples)}", stored, start, end))

        law()
        runner.run(store.close())


@given(states=st.lists(st.sampled_from(list(ReportedState)), min_size=1, max_size=200), room=st.integers(1, 60))
@settings(deadline=None)
def test_a_thinned_timeline_is_bounded_ordered_and_keeps_every_change_it_has_room_for(
    states: list[ReportedState], room: int
) -> None:
    bottleneck = evaluation().bottleneck
    points = [
        TimelinePoint(time=NOON.add(seconds=n), health_state=s, stale=False, bottleneck=bottleneck, top_factor=None)
        for n, s in enumerate(states)
    ]
    kept = thin_timeline(points, room)
    assert len(kept) <= room
    assert kept == sorted(kept, key=lambda p: p.time)
    changes = [b for a, b in pairwise(points) if a.health_state is not b.health_state]
    if len(changes) + 2 <= room:
        assert set(changes) <= set(kept)
    if ReportedState.CRITICAL in states:
        assert ReportedState.CRITICAL in {p.health_state for p in kept}


@given(values=st.lists(st.none() | st.floats(-1e6, 1e6), min_size=1, max_size=200), room=st.integers(2, 60))
@settings(deadline=None)
def test_a_thinned_series_is_bounded_ordered_and_keeps_its_extremes(values: list[float | None], room: int) -> None:
    points = [SeriesPoint(time=NOON.add(seconds=n), value=v) for n, v in enumerate(values)]
    kept = thin_series(points, room)
    assert len(kept) <= room
    assert kept == sorted(kept, key=lambda p: p.time)
    some = [v for v in values if v is not None]
    if some:
        left = [p.value for p in kept if p.value is not None]
        assert (min(left), max(left)) == (min(some), max(some))
