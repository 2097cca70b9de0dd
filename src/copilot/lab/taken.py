"""What a run leaves beside its recording, and shows while it goes on."""

from dataclasses import dataclass

from whenever import Instant

from copilot.core.assessment import Evaluation
from copilot.core.signals import Frozen


class Marks(Frozen):
    """When each phase of a run began, and when the last ended."""

    before: Instant
    fault: Instant
    after: Instant
    end: Instant


class Taken(Frozen):
    """NAME.json beside NAME.jsonl.gz: when and where the recording was taken, and its phases. `label_judged_after_sec`:
    seconds of the fault's phase before its label's states can be expected, where that is later than usual."""

    scenario: str
    marks: Marks
    taken: str
    machine: dict[str, str | int]
    label_judged_after_sec: float | None = None

    def document(self) -> str:
        """As it is written to the file."""
        return self.model_dump_json(indent=1, exclude_none=True) + "\n"


@dataclass(frozen=True)
class Took:
    """One evaluation of a run: in which phase, so many seconds after that began."""

    scenario: str
    phase: str
    sec: float
    evaluation: Evaluation
