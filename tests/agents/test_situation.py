"""How much explanation a situation needs, whether it is a new one, and how its signals moved."""

from typing import Any

import pytest

from copilot.explain.model.situation import decide_depth, fingerprint, movement, signals_of_interest
from copilot.rules.model import BottleneckClassification, Evaluation, GateResult, ReportedState, Severity
from copilot.rules.signals.readings import LogPattern
from tests.evaluations import NOON, evaluation, issue, signals

BASE = evaluation("critical")


def changed(**fields: Any) -> Evaluation:
    return BASE.model_copy(update=fields)


def with_verdict(**fields: Any) -> Evaluation:
    return changed(verdict=BASE.verdict.model_copy(update=fields))


def with_logs(*logs: LogPattern) -> Evaluation:
    return changed(signals=BASE.signals.model_copy(update={"logs": logs}))


def pattern(text: str = "no poller", **fields: Any) -> LogPattern:
    return LogPattern(**({"pattern": text, "count": 3, "service": "matching", "last_seen": NOON} | fields))


TWO = (*BASE.findings, issue("slots_exhausted"))
ERROR = pattern("lease lost", mined=True, level="error")


@pytest.mark.parametrize(
    ("judged", "depth"),
    [
        (evaluation("happy"), None),
        (evaluation("unknown"), None),
        (with_verdict(stale=True), None),
        (evaluation("happy", findings=(issue("load_burst"),)), "quick"),
        (BASE, "quick"),
        (with_logs(pattern(level="error")), "quick"),
        (with_logs(ERROR), "deep"),
        (changed(bottleneck=BottleneckClassification.MIXED), "deep"),
        (changed(findings=()), "deep"),
        (changed(findings=TWO), "deep"),
    ],
)
def test_rules_decide_how_much_explanation_is_needed(judged: Evaluation, depth: str | None) -> None:
    assert decide_depth(judged) == depth


GATE = GateResult(name="backlog_age", severity=Severity.WARNING, fired=True, labels={"task_queue": "orders"})
SAME: dict[str, Evaluation] = {
    "another tick": changed(time=NOON.add(seconds=30)),
    "other numbers": changed(signals=signals(matching__backlog_count=9e9)),
    "a mined template": with_logs(pattern(mined=True)),
    "a confidence": with_verdict(confidence=0.1),
}
OTHER: dict[str, Evaluation] = {
    "a state": with_verdict(health_state=ReportedState.STRESSED),
    "a new episode": with_verdict(since=NOON),
    "staleness": with_verdict(stale=True),
    "a gate": with_verdict(gates=(*BASE.verdict.gates, GATE)),
    "a finding": changed(findings=TWO),
    "a subject": changed(findings=(issue(subject="billing"),)),
    "a bottleneck": changed(bottleneck=BottleneckClassification.MIXED),
    "a log pattern": with_logs(pattern()),
    "another log pattern": with_logs(pattern("context canceled")),
    "a mined error": with_logs(ERROR),
}


@pytest.mark.parametrize("judged", SAME.values(), ids=SAME)
def test_this_is_nothing_new(judged: Evaluation) -> None:
    assert fingerprint(judged) == fingerprint(BASE)


def test_all_of_these_are_new() -> None:
    assert len({fingerprint(BASE), *map(fingerprint, OTHER.values())}) == 1 + len(OTHER)
    assert fingerprint(changed(findings=TWO)) == fingerprint(changed(findings=TWO[::-1]))
    assert fingerprint(with_logs(pattern(count=1))) == fingerprint(with_logs(pattern(count=900)))


@pytest.mark.parametrize(
    ("values", "how"),
    [
        ([1, 2, 3, 4, 5, 6], "rises"),
        ([6, 5, 4, 3, 2, 1], "falls"),
        ([10, 11, 10, 12, 11, 10], "is steady"),
        ([0.0] * 9, "is steady"),
        ([0, 0, 0, 0, 0, 7.0], "rises"),
        ([-1, -1, -1, -2, -2, -2], "falls"),
        ([None, 1, None, 2, 3, 4, 5, 6], "rises"),
        ([1, 2, 3, 4, 5], ""),
        ([None] * 20, ""),
    ],
)
def test_a_signal_rises_falls_or_is_steady(values: list[float | None], how: str) -> None:
    assert movement(values) == how


def test_the_signals_of_gates_and_findings_are_of_interest_if_they_were_read() -> None:
    of_gates = [name for gate in BASE.verdict.gates if gate.fired for name in gate.evidence]
    interesting = signals_of_interest(BASE, 99)
    assert interesting[0] == of_gates[0]
    assert set(interesting) == {
        n for n in (*of_gates, *BASE.findings[0].related_signals) if BASE.signals.value(n) is not None
    }
    assert signals_of_interest(BASE, 1) == interesting[:1]
