"""What a run leaves beside its recording, and shows while it goes on."""

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from whenever import Instant

from copilot.errors import RecordingError
from copilot.rules.evaluate import Context
from copilot.rules.model import Evaluation
from copilot.rules.signals.readings import Frozen, RecordingHeader, Signals
from copilot.rules.thresholds import Thresholds
from copilot.sources.recorded import read_recording


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


RECORDINGS = Path(__file__).parent / "recordings"


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A recording, and when and where it was taken."""

    taken: Taken
    header: RecordingHeader
    ticks: tuple[Signals, ...]

    @property
    def name(self) -> str:
        """The scenario's name."""
        return self.taken.scenario

    def context(self, thresholds: Thresholds | None = None) -> Context:
        """What the rules must know: the recorded interval and window, and thresholds (the defaults unless given)."""
        interval, window = self.header.interval_sec, self.header.window_sec
        return Context(self.name, interval, window, thresholds or Thresholds())


def find_runs(folder: Path) -> dict[str, Path]:
    """The recordings in a folder by scenario: NAME.jsonl.gz (with NAME.json), or NAME/recording.jsonl.gz (with
    NAME/marks.json)."""
    flat = {p.name.removesuffix(".jsonl.gz"): p for p in folder.glob("*.jsonl.gz")}
    deep = {p.parent.name: p for p in folder.glob("*/recording.jsonl.gz")}
    return dict(sorted({**deep, **flat}.items()))


def load_run(name: str, path: Path) -> RecordedRun:
    """A recording and what lies beside it. RecordingError says which of the two cannot be read, and why."""
    marks_only = path.name == "recording.jsonl.gz"
    beside = path.with_name("marks.json" if marks_only else f"{name}.json")
    header, lines = read_recording(path)
    ticks = tuple(lines)
    try:
        document = json.loads(beside.read_text(encoding="utf-8"))
        if marks_only:
            end = ticks[-1].time.format_iso() if ticks else document.get("after")
            document = {"scenario": name, "marks": {"end": end, **document}, "taken": "", "machine": {}}
        taken = Taken.model_validate(document)
    except OSError as error:
        raise RecordingError(f"{beside} cannot be read: {error.strerror or error}") from error
    except (ValidationError, ValueError) as error:
        raise RecordingError(f"{beside} does not tell of a recording: {str(error).splitlines()[0]}") from error
    return RecordedRun(taken, header, ticks)
