"""What a loop writes at once."""

import json

from hypothesis import given
from hypothesis import strategies as st

from copilot.loops.storing import BYTES_PER_WRITE, SNAPSHOTS_PER_WRITE, first_batch


@given(sizes=st.lists(st.integers(min_value=0, max_value=2 * BYTES_PER_WRITE), max_size=2 * SNAPSHOTS_PER_WRITE))
def test_a_batch_is_the_first_of_what_waits_and_fits_a_payload_unless_one_alone_does_not(sizes: list[int]) -> None:
    pending = [{"number": n, "text": "x" * size} for n, size in enumerate(sizes)]
    batch = first_batch(pending)
    assert batch == pending[: len(batch)]
    assert bool(batch) == bool(pending)
    assert len(batch) <= SNAPSHOTS_PER_WRITE
    assert len(batch) <= 1 or sum(len(json.dumps(b)) for b in batch) <= BYTES_PER_WRITE
    if len(batch) < min(len(pending), SNAPSHOTS_PER_WRITE):
        assert sum(len(json.dumps(b)) for b in pending[: len(batch) + 1]) > BYTES_PER_WRITE
