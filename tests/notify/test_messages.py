"""What a message says."""

from copilot.loops.activities.observe import read_document
from copilot.notify.decide import ClusterState, Notification
from copilot.notify.messages import EvaluationExcerpt, compose
from copilot.rules.model import ReportedState
from tests.evaluations import NOON, issue
from tests.notify.messages import a_message

KEY = "AKIAIOSFODNN7EXAMPLE"


def test_the_headline_names_firing_or_resolved_the_cluster_and_its_state() -> None:
    since = "since 2026-11-22 11:57 UTC"
    assert a_message("critical").headline == f"[FIRING] east is CRITICAL {since}"
    assert a_message("critical", "repeat", "critical").headline == f"[FIRING] east is still CRITICAL {since}"
    assert a_message("unknown").headline == f"[FIRING] east is UNKNOWN (not enough data) {since}"
    assert a_message("happy", "resolved", "critical").headline == f"[RESOLVED] east is HAPPY {since}"
    improved = a_message("stressed", "improved", "critical")
    minute = improved.since.format_iso()[:16].replace("T", " ")
    assert improved.headline == f"[FIRING] east is STRESSED, no longer CRITICAL, since {minute} UTC"


def test_a_resolved_message_has_no_finding_and_no_action() -> None:
    resolved = a_message("stressed", "resolved", "critical")
    assert (resolved.finding, resolved.action, resolved.runbook_url) == (None, None, None)


def test_secrets_are_replaced_and_texts_are_bounded() -> None:
    named = issue(subject=KEY, title=f"No pollers on {KEY} " + "far " * 300, description="")
    message = a_message(summary=f"{KEY} waits\nfor " + "ever " * 1000, findings=(named,))
    assert KEY not in message.model_dump_json()
    assert message.finding is not None
    assert message.finding.subject in message.finding.title, "the same secret has the same placeholder"
    assert (len(message.summary), len(message.finding.title)) == (600, 200)
    assert "\n" not in message.summary


def test_an_evaluation_that_cannot_be_read_is_notified_by_its_state_alone() -> None:
    melted = {"evaluation_id": "east:1", "verdict": {"health_state": "melted"}}
    assert read_document(EvaluationExcerpt, melted, "notify.evaluation_incompatible") is None
    state = ClusterState(state=ReportedState.CRITICAL, since=NOON, time=NOON, incident=NOON)
    firing = Notification(kind="firing", state=ReportedState.CRITICAL, number=1, incident=NOON)
    message = compose("east", firing, state, None, None, None)
    assert message.headline == "[FIRING] east is CRITICAL since 2026-11-22 12:00 UTC"
    assert (message.summary, message.finding, message.page_url, message.time) == ("", None, None, NOON)
