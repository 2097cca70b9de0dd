"""One recorded run of a scenario: its ticks, and what lies beside them."""

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from copilot.core.errors import RecordingError
from copilot.core.evaluation import Context
from copilot.core.signals import RecordingHeader, Signals
from copilot.core.thresholds import Thresholds
from copilot.lab.taken import Taken
from copilot.sources.recorded import read_recording

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
