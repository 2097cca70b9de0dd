"""docs/explanations.md, written from the recordings: `python -m tools.docs.explanations > docs/explanations.md`."""

from collections.abc import Iterator

from copilot import pipeline
from copilot.explain import explained
from copilot.rules.model import Evaluation, ReportedState
from lab.recorded_run import RECORDINGS, RecordedRun, find_runs, load_run
from lab.scenarios import SCENARIOS
from tools.docs import public_cases

INTRODUCTION = """# What the Copilot says, without a model

Made from the recordings in the repository by `make docs`; do not edit. Each scenario really happened to a Temporal
server with workers and load. This is what the rules write in the middle of the fault, what they would do first, and
when they say it is over; and the first words after the fault once the state is happy again.
"""
PUBLIC = """## Incidents that people reported in public

The public cases of [the benchmark](benchmark.md#public-cases), retold as series: what the Copilot writes in the
middle of each, and what to do first.
"""


def document() -> str:
    """The document."""
    runs = find_runs(RECORDINGS)
    said = (line for name, path in runs.items() for line in _scenario(load_run(name, path)))
    return "\n".join((INTRODUCTION, *said, PUBLIC, *public_cases.explanations()))


def _scenario(run: RecordedRun) -> Iterator[str]:
    told = [explained(e) for e in pipeline.replay(run.ticks, run.context())]
    marks = run.taken.marks
    middle = next(e for e in told if e.time >= marks.fault + (marks.after - marks.fault) * 0.5)
    what = next((s.what for s in SCENARIOS.values() if s.name == run.name), "")
    yield f"## {run.name}\n"
    yield f"{what[:1].upper()}{what[1:].rstrip('.')}.\n"
    yield f"**{_state(middle)}** {middle.summary}\n"
    if actions := [a.description for f in middle.findings for a in f.suggested_actions]:
        yield f"Do first: {actions[0]}\n"
    if middle.verdict.health_state is not ReportedState.HAPPY:
        yield f"{middle.narrative.watch_next}\n"
        well = (e for e in told if e.time > marks.after and e.verdict.health_state is ReportedState.HAPPY)
        if (after := next(well, None)) is not None:
            later = (after.time - marks.after).total("seconds")
            yield f"**{_state(after)}**, {later:.0f} s after the fault: {after.summary}\n"


def _state(evaluation: Evaluation) -> str:
    return evaluation.verdict.health_state.value.capitalize()


if __name__ == "__main__":
    print(document(), end="")
