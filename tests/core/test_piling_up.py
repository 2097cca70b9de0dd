"""Work that piles up, seen by the age of its oldest task."""

import pytest

from copilot.rules.flow import cluster_flow
from copilot.rules.memory import Memory, QueueMemory
from copilot.rules.signals.readings import Missing, MissingCode, Signals
from tests.cluster_signals import START, healthy
from tests.core.test_gates import gates


def aged(signals: Signals, age: float, seconds_ago: float) -> Memory:
    """The memory of a cluster whose oldest task was so old so long ago."""
    then = START.subtract(seconds=seconds_ago)
    return Memory(queues={cluster_flow(signals).key: QueueMemory(ages=((then, age),), last_seen=then)})


@pytest.mark.parametrize(
    ("age", "before", "seconds_ago", "piles_up"),
    [(16.0, 0.0, 20.0, True), (14.0, 0.0, 20.0, False), (29.0, 27.0, 20.0, False), (29.0, 0.0, 10.0, False)],
    ids=["waits ever longer", "has hardly waited", "does not age much", "not seen for half a window"],
)
def test_work_is_seen_to_pile_up_by_the_age_of_its_oldest_task_however_little_it_is(
    age: float, before: float, seconds_ago: float, piles_up: bool
) -> None:
    few = healthy(matching__workflow_backlog_age_sec=age, matching__backlog_count=2.0, poller__recent_pollers=2.0)
    gate = gates(few, aged(few, before, seconds_ago))["backlog_growing"]
    assert gate.fired is piles_up
    lagging = few.model_copy(update={"readings": {**few.readings, "poller.recent_pollers": None}})
    assert gates(lagging, aged(lagging, before, seconds_ago))["backlog_growing"].fired is False


@pytest.mark.parametrize(
    ("waits", "young", "judged"), [(2.0, None, False), (0.0, None, True), (2.0, 1.0, True)], ids=str
)
def test_that_nothing_ages_is_only_said_where_what_was_read_suffices(
    waits: float, young: float | None, judged: bool
) -> None:
    unread = healthy(matching__workflow_backlog_age_sec=young, matching__backlog_count=waits)
    why = {**unread.missing, "matching.workflow_backlog_age_sec": Missing(code=MissingCode.TIMEOUT)}
    lost = unread.model_copy(update={"missing": why if young is None else {}})
    assert (gates(lost)["backlog_growing"].fired is False) is judged
