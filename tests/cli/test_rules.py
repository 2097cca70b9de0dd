"""docs/rules.md is what the rules say of themselves."""

from pathlib import Path

from copilot.rules.findings.registry import FINDINGS
from copilot.rules.gates.registry import CRITICAL, GATES
from copilot.rules.model import Severity
from tests.cluster_signals import healthy, play
from tools.docs.rules import markdown

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "rules.md"


def test_the_document_is_fresh() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == markdown(), "run: make docs"


def test_every_gate_and_finding_says_what_it_means_and_what_to_do() -> None:
    assert all(gate.judge.__doc__ for gate in GATES)
    assert all(finding.meaning and finding.actions for finding in FINDINGS)


def test_the_gates_named_critical_are_those_that_say_so() -> None:
    gates = play([healthy()])[0][0].verdict.gates
    assert {g.name for g in gates if g.severity is Severity.CRITICAL} == CRITICAL
