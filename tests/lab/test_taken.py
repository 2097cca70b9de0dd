"""What lies beside a recording."""

from whenever import TimeDelta

from lab.recorded_run import Marks, Taken
from tests.evaluations import NOON


def taken(judged_after: float | None = None) -> Taken:
    before, fault, after, end = (NOON + TimeDelta(seconds=at) for at in (0.0, 60.0, 360.0, 480.0))
    marks = Marks(before=before, fault=fault, after=after, end=end)
    return Taken(scenario="x", marks=marks, taken="2026-11-22", machine={}, label_judged_after_sec=judged_after)


def test_what_is_written_beside_a_recording_can_be_read_again() -> None:
    document = taken(190.0).document()
    assert Taken.model_validate_json(document) == taken(190.0)
    assert '"fault": "2026-11-22T12:01:00Z"' in document
    assert "label_judged_after_sec" not in taken().document()
