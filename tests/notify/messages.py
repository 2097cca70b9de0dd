"""Messages as the notifying loop makes them."""

from typing import Any

from copilot.notify.decide import Kind, Say, Seen
from copilot.notify.messages import Notice, notice, read_evaluation
from copilot.rules.model import ReportedState
from tests.evaluations import NOON, evaluation

PAGE = "https://copilot.example.org/"


def a_notice(
    state: str = "critical",
    kind: Kind = "opened",
    previous: str | None = None,
    public_url: str | None = PAGE,
    **changed: Any,
) -> Notice:
    """A message about the cluster `east`; `changed` replaces fields of the evaluation."""
    made = evaluation(state, NOON, cluster="east", **changed)
    seen = Seen(state=ReportedState(state), since=made.verdict.since, time=NOON, incident=made.verdict.since)
    say = Say(kind=kind, state=seen.state, number=2, incident=made.verdict.since)
    before = ReportedState(previous) if previous else None
    return notice("east", say, seen, before, read_evaluation(made.model_dump(mode="json")), public_url)
