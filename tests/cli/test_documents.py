"""The documents in docs/ that are made from the code are fresh, and their examples work."""

import re
import tomllib
from collections.abc import Callable

import pytest

from copilot.rules.findings.registry import FINDINGS
from copilot.rules.gates.registry import CRITICAL, GATES
from copilot.rules.model import Severity
from copilot.settings.load import Settings
from tests.cluster_signals import healthy, play
from tests.test_tree import ROOT
from tools.docs import explanations, rules, signals, telemetry
from tools.docs.configuration import markdown


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("configuration", markdown),
        ("explanations", explanations.document),
        ("rules", rules.markdown),
        ("signals", signals.markdown),
        ("telemetry", telemetry.markdown),
    ],
)
def test_a_document_is_fresh(name: str, write: Callable[[], str]) -> None:
    assert (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") == write(), "run: make docs"


def test_every_section_and_key_is_there() -> None:
    text = markdown()
    for heading in ("`[temporal]`", "`[[clusters]]`", "`[[clusters.metrics]]`", "`[clusters.prometheus.sigv4]`"):
        assert f"## {heading}\n" in text
    assert "| `interval_sec` | number, ≥ 2 and ≤ 600 | `30` |" in text
    assert "| `url` | text | required |" in text


def test_its_example_is_a_configuration() -> None:
    example = re.search(r"```toml\n(.*?)```", markdown(), re.DOTALL)
    assert example is not None
    settings = Settings(**tomllib.loads(example[1]))
    assert [c.name for c in settings.clusters] == ["production"]


def test_every_gate_and_finding_says_what_it_means_and_what_to_do() -> None:
    assert all(gate.judge.__doc__ for gate in GATES)
    assert all(finding.meaning and finding.actions for finding in FINDINGS)


def test_the_gates_named_critical_are_those_that_say_so() -> None:
    gates = play([healthy()])[0][0].verdict.gates
    assert {g.name for g in gates if g.severity is Severity.CRITICAL} == CRITICAL
