"""Messages as the notifying loop makes them."""

from typing import Any

from copilot.explain import explained
from copilot.notify.decide import ClusterState, Kind, Notification
from copilot.notify.messages import EvaluationExcerpt, Message, compose
from copilot.rules.model import ReportedState
from tests.evaluations import NOON, evaluation

PAGE = "https://copilot.example.org/"


def a_message(
    state: str = "critical",
    kind: Kind = "firing",
    previous: str | None = None,
    public_url: str | None = PAGE,
    **changed: Any,
) -> Message:
    """A message about the cluster `east`; `changed` replaces fields of the explained evaluation."""
    made = explained(evaluation(state, NOON, cluster="east")).model_copy(update=changed)
    began = made.verdict.since
    cluster = ClusterState(state=ReportedState(state), since=began, time=NOON, incident=began)
    notification = Notification(kind=kind, state=cluster.state, number=2, incident=began)
    before = ReportedState(previous) if previous else None
    excerpt = EvaluationExcerpt.model_validate(made.model_dump(mode="json"))
    return compose("east", notification, cluster, before, excerpt, public_url)
