"""What is new to explain, and what differs at every tick anyway."""

from typing import Any

import pytest

from copilot.explain.model.fingerprint import fingerprint
from copilot.rules.model import BottleneckClassification, Evaluation, GateResult, ReportedState, Severity
from copilot.rules.signals.readings import LogPattern
from tests.evaluations import NOON, evaluation, issue, signals

BASE = evaluation("critical")


def with_verdict(**changed: Any) -> Evaluation:
    return BASE.model_copy(update={"verdict": BASE.verdict.model_copy(update=changed)})


def with_logs(*logs: LogPattern) -> Evaluation:
    return BASE.model_copy(update={"signals": BASE.signals.model_copy(update={"logs": logs})})


def pattern(text: str = "no poller", **changed: Any) -> LogPattern:
    return LogPattern(**({"pattern": text, "count": 3, "service": "matching", "last_seen": NOON} | changed))


GATE = GateResult(name="backlog_age", severity=Severity.WARNING, fired=True, labels={"task_queue": "orders"})
SAME: dict[str, Evaluation] = {
    "another tick": evaluation("critical", cluster="default").model_copy(update={"time": NOON.add(seconds=30)}),
    "other numbers": BASE.model_copy(update={"signals": signals(matching__backlog_count=9e9)}),
    "other words": BASE.model_copy(update={"summary": "Otherwise.", "explained_by": "model"}),
    "findings in another order": BASE.model_copy(update={"findings": BASE.findings[::-1]}),
    "a mined template": with_logs(pattern(mined=True)),
    "a confidence": with_verdict(confidence=0.1),
}
OTHER: dict[str, Evaluation] = {
    "a state": with_verdict(health_state=ReportedState.STRESSED),
    "a new episode": with_verdict(since=NOON),
    "staleness": with_verdict(stale=True),
    "a gate": with_verdict(gates=(*BASE.verdict.gates, GATE)),
    "a finding": BASE.model_copy(update={"findings": (*BASE.findings, issue("slots_exhausted"))}),
    "a subject": BASE.model_copy(update={"findings": (issue(subject="billing"), *BASE.findings[1:])}),
    "a bottleneck": BASE.model_copy(update={"bottleneck": BottleneckClassification.MIXED}),
    "a log pattern": with_logs(pattern()),
    "a mined error": with_logs(pattern("lease lost", mined=True, level="error")),
}


@pytest.mark.parametrize("changed", SAME.values(), ids=SAME)
def test_this_is_nothing_new(changed: Evaluation) -> None:
    assert fingerprint(changed) == fingerprint(BASE)


@pytest.mark.parametrize("changed", OTHER.values(), ids=OTHER)
def test_this_is_new(changed: Evaluation) -> None:
    assert fingerprint(changed) != fingerprint(BASE)


def test_counts_of_a_pattern_are_numbers_and_its_name_is_not() -> None:
    assert fingerprint(with_logs(pattern(count=1))) == fingerprint(with_logs(pattern(count=900)))
    assert fingerprint(with_logs(pattern())) != fingerprint(with_logs(pattern("context canceled")))


def test_no_two_of_them_are_the_same() -> None:
    assert len({fingerprint(e) for e in OTHER.values()}) == len(OTHER)
