"""A recorded run: the recording of its signals, and the document beside it with its phases."""

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from whenever import Instant

from copilot.errors import RecordingError
from copilot.rules.evaluate import Context
from copilot.rules.signals.readings import Frozen, RecordingHeader, Signals
from copilot.rules.thresholds import Thresholds
from copilot.sources.recorded import read_recording

RECORDINGS = Path(__file__).parent / "recordings"
"""Recordings of the newest server; those of other servers are in a folder with their version."""


class Marks(Frozen):
    """The start of each phase of a run, and the end of the last."""

    before: Instant
    fault: Instant
    after: Instant
    end: Instant


class Taken(Frozen):
    """NAME.json beside NAME.jsonl.gz: the phases of the recording, and the date and machine. `label_judged_after_sec`:
    seconds of the fault phase before the label's states are due, where that is later than usual."""

    scenario: str
    marks: Marks
    taken: str
    machine: dict[str, str | int]
    label_judged_after_sec: float | None = None

    def document(self) -> str:
        """The content of the file."""
        return self.model_dump_json(indent=1, exclude_none=True) + "\n"


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A recording with its document."""

    taken: Taken
    header: RecordingHeader
    ticks: tuple[Signals, ...]

    @property
    def name(self) -> str:
        """The scenario's name."""
        return self.taken.scenario

    def context(self, thresholds: Thresholds | None = None) -> Context:
        """The context for the rules: the recorded interval and window, and thresholds (None: the defaults)."""
        interval, window = self.header.interval_sec, self.header.window_sec
        return Context(self.name, interval, window, thresholds or Thresholds())


def find_runs(folder: Path) -> dict[str, Path]:
    """The recordings in a folder by scenario: NAME.jsonl.gz (with NAME.json), or NAME/recording.jsonl.gz (with
    NAME/marks.json)."""
    flat = {p.name.removesuffix(".jsonl.gz"): p for p in folder.glob("*.jsonl.gz")}
    deep = {p.parent.name: p for p in folder.glob("*/recording.jsonl.gz")}
    return dict(sorted({**deep, **flat}.items()))


def server_versions(folder: Path = RECORDINGS) -> list[str]:
    """The other servers' versions that have recordings, oldest first."""
    found = (p.name for p in folder.iterdir() if p.name[0].isdigit() and find_runs(p))
    return sorted(found, key=lambda v: [int(n) for n in v.split(".")])


def load_run(name: str, path: Path) -> RecordedRun:
    """Read a recording and the document beside it. RecordingError names the file that cannot be read, and why."""
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
        raise RecordingError(f"{beside} does not describe a recording: {str(error).splitlines()[0]}") from error
    return RecordedRun(taken, header, ticks)
