"""What a message says."""

from whenever import Instant

from copilot.notify.decide import Say, Seen
from copilot.notify.messages import notice, read_evaluation
from copilot.rules.model import ReportedState
from tests.evaluations import NOON, issue
from tests.notify.messages import a_notice

KEY = "AKIAIOSFODNN7EXAMPLE"


def test_the_state_comes_first_whatever_else_is_said() -> None:
    since = "since 2026-11-22 11:57 UTC"
    assert a_notice("critical").headline == f"east is CRITICAL, {since}"
    assert a_notice("critical", "reminder", "critical").headline == f"east is still CRITICAL, {since}"
    assert a_notice("unknown").headline == f"east is UNKNOWN: nobody can tell how it is, {since}"
    assert a_notice("happy", "resolved", "critical").headline == f"east is HAPPY again, {since}"
    assert a_notice("stressed", "eased", "critical").headline == f"east is STRESSED, no longer CRITICAL, {since}"


def test_what_is_over_is_told_without_findings_and_advice() -> None:
    over = a_notice("stressed", "resolved", "critical")
    assert (over.finding, over.action) == (None, None)
    assert over.resolves


def test_secrets_are_replaced_and_texts_are_bounded() -> None:
    named = issue(subject=KEY, title=f"No pollers on {KEY} " + "far " * 300, description="")
    said = a_notice(summary=f"{KEY} waits\nfor " + "ever " * 1000, findings=(named,))
    assert KEY not in said.model_dump_json()
    assert said.finding is not None
    assert said.finding.subject in said.finding.title, "the same secret has the same placeholder"
    assert (len(said.summary), len(said.finding.title)) == (600, 200)
    assert "\n" not in said.summary


def test_an_evaluation_another_release_wrote_otherwise_is_told_of_by_its_state() -> None:
    assert read_evaluation({"evaluation_id": "east:1", "verdict": {"health_state": "melted"}}) is None
    seen = Seen(state=ReportedState.CRITICAL, since=NOON, time=NOON, incident=NOON)
    say = Say(kind="opened", state=ReportedState.CRITICAL, number=1, incident=NOON)
    said = notice("east", say, seen, None, None, None)
    assert said.headline == "east is CRITICAL, since 2026-11-22 12:00 UTC"
    assert (said.summary, said.finding, said.links.page) == ("", None, None)
    assert said.time == Instant.from_utc(2026, 11, 22, 12)
