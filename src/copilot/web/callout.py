"""The worst finding, as the hero names it."""

from dataclasses import dataclass

from copilot.core.assessment import Evaluation, Issue


@dataclass(frozen=True, slots=True)
class Callout:
    """A finding and what is said of it. `beside_summary`: the summary says something else and stands above it; where it
    does not, the callout says all of it."""

    finding: Issue
    words: str
    beside_summary: bool


def callout(e: Evaluation) -> Callout | None:
    """The first finding, without what the summary says already; None where there is none."""
    if not e.findings:
        return None
    worst = e.findings[0]
    if e.explained_by == "rules" and e.summary.startswith(f"{worst.title}. "):
        return Callout(worst, e.summary.removeprefix(f"{worst.title}. "), beside_summary=False)
    return Callout(worst, worst.description if worst.likely_cause in e.summary else worst.likely_cause, True)
