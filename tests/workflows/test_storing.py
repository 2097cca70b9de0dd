"""What a loop writes at once, and what a message holds."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot.loops.activities.observe import ObserveActivities
from copilot.loops.definitions import Definition, ObserveInput, ObserveState
from copilot.loops.messages import EvaluateHealth, SnapshotDocument
from copilot.loops.storing import BYTES_PER_WRITE, SNAPSHOTS_PER_WRITE, first_batch
from copilot.rules.evaluate import Context
from tests.evaluations import NOON, signals
from tests.fakes.memory_store import MemoryStore


@given(sizes=st.lists(st.integers(min_value=0, max_value=2 * BYTES_PER_WRITE), max_size=2 * SNAPSHOTS_PER_WRITE))
def test_a_batch_is_the_first_pending_that_fit_a_payload(sizes: list[int]) -> None:
    versions = {"thresholds_hash": "", "taxonomy_version": "", "rules_version": ""}
    pending = [SnapshotDocument(evaluation={"summary": "x" * n}, memory_before={}, **versions) for n in sizes]
    written = [len(json.dumps(dict(each))) for each in pending]
    batch = first_batch(pending)
    assert batch == pending[: len(batch)]
    assert bool(batch) == bool(pending)
    assert len(batch) <= SNAPSHOTS_PER_WRITE
    assert len(batch) <= 1 or sum(written[: len(batch)]) <= BYTES_PER_WRITE
    if len(batch) < min(len(pending), SNAPSHOTS_PER_WRITE):
        assert sum(written[: len(batch) + 1]) > BYTES_PER_WRITE


def test_memory_and_evaluation_of_any_release_pass_through_a_run_unchanged() -> None:
    memory = {"version": 99, "of_a_later_release": {"deep": [1, None, {"x": 2.5}]}}
    evaluation = {
        "evaluation_id": "east:7",
        "time": "2026-01-01T00:00:07Z",
        "verdict": {"health_state": "happy", "later": 1},
        "signals": {"readings": {"a": 1.0, "b": None}, "sources": {"a": "api"}},
        "of_a_later_release": [{"x": 1}],
    }
    state = ObserveState.model_validate({"memory": memory, "newest": evaluation, "resumed": True})
    given_ = ObserveInput(cluster="east", definition=Definition(interval_sec=30), state=state)
    again = ObserveInput.model_validate_json(given_.model_dump_json()).state
    assert again is not None
    assert (again.memory, again.newest) == (memory, evaluation)


def test_the_state_of_an_older_release_is_read_by_its_names() -> None:
    older = {"cluster": "east", "definition": {"interval_sec": 30}, "known": {"ticks": 12, "runs": 3}}
    state = ObserveInput.model_validate(older).state
    assert state is not None
    assert (state.cycles, state.runs) == (12, 3)


@pytest.mark.parametrize(("assessed", "worded"), [(None, True), ("critical", True), ("happy", False)])
async def test_only_an_evaluation_in_another_state_than_the_assessed_has_the_words_of_a_notification(
    assessed: str | None, worded: bool
) -> None:
    activities = ObserveActivities({}, {"east": Context("east", 30.0, 60.0)}, MemoryStore())
    ask = EvaluateHealth(
        cluster="east", tick=NOON.timestamp(), signals=signals().model_dump(mode="json"), memory=None,
        assessed_state=assessed,
    )  # fmt: skip
    evaluated = await activities.evaluate_health(ask)
    assert evaluated.health_state == "happy"
    assert bool(evaluated.words) is worded
