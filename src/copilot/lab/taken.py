"""What a run leaves beside its recording, and in which points its verdicts are not what the label says."""

from collections.abc import Sequence
from dataclasses import dataclass

from whenever import Instant, TimeDelta

from copilot.core.assessment import Evaluation, ReportedState
from copilot.core.signals import Frozen
from copilot.lab.labels import Label

NEVER_FROM_SEC = 120.0


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


def settle_sec(taken: Taken, window_sec: float, interval_sec: float) -> float:
    """Seconds of the fault's phase until the verdict must be there: W + max(60 s, 3·I) + 5 s (requirements §3.3)."""
    return max(window_sec + max(60.0, 3 * interval_sec) + 5.0, taken.label_judged_after_sec or 0.0)


def problems(
    label: Label, taken: Taken, evaluations: Sequence[Evaluation], window_sec: float, interval_sec: float
) -> list[str]:
    """Where a run is not as labelled, in sentences; a quick look, `copilot lab score` is the full one."""
    marks = taken.marks
    judged_from = marks.fault + TimeDelta(seconds=settle_sec(taken, window_sec, interval_sec))
    fault = [e for e in evaluations if marks.fault <= e.time < marks.after]
    judged = [e for e in fault if e.time >= judged_from]
    late = [e for e in evaluations if (e.time - marks.before).total("seconds") >= NEVER_FROM_SEC]
    found = [
        _share("state", [e.verdict.health_state.value for e in judged], [s.value for s in label.states]),
        *(f"{s.value} is said" for s in label.never if s in {e.verdict.health_state for e in late}),
    ]
    if label.reaches is not None and label.reaches not in {e.verdict.health_state for e in fault}:
        found.append(f"{label.reaches.value} is not reached")
    ill = [e for e in judged if e.verdict.health_state is not ReportedState.HAPPY]
    named = ill or (judged if set(label.states) == {ReportedState.HAPPY} else [])
    found.append(_share("cause", [e.top_factor or "none" for e in named], label.cause))
    found.append(_share("bottleneck", [e.bottleneck.value for e in named], [b.value for b in label.bottleneck]))
    advice = {a.description.lower() for e in evaluations for f in e.findings for a in f.suggested_actions}
    found += [f"advice {text!r} is given" for text in label.not_said if any(text in a for a in advice)]
    return [text for text in found if text]


def _share(what: str, said: Sequence[str], allowed: Sequence[str]) -> str:
    wrong = [s for s in said if s not in allowed] if allowed else []
    if not wrong:
        return ""
    each = ", ".join(f"{s} {wrong.count(s)} times" for s in dict.fromkeys(wrong))
    return f"{what} {each} of {len(said)} (expected {' or '.join(allowed)})"
