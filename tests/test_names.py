"""One record a rule: no module but its own names a gate or a finding by string."""

import ast

from copilot.rules.findings.registry import FINDINGS
from copilot.rules.gates.registry import GATES
from tests.test_tree import ROOT, tracked

RECORDS = ROOT / "src" / "copilot" / "rules"
FAMILIES = RECORDS / "signals" / "taxonomy.py"
"""Names Temporal's metric families, one of which is spelled like a gate."""
NAMES = {gate.name for gate in GATES} | {finding.name for finding in FINDINGS}


def test_nothing_else_in_src_names_a_gate_or_a_finding_by_string() -> None:
    elsewhere = {}
    for path in tracked("src/*.py", "src/**/*.py"):
        if path == FAMILIES or path.parent in (RECORDS / "gates", RECORDS / "findings"):
            continue
        texts = (n.value for n in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(n, ast.Constant))
        if named := NAMES & {text for text in texts if isinstance(text, str)}:
            elsewhere[str(path.relative_to(ROOT))] = named
    assert elsewhere == {}


def test_a_rule_is_named_in_one_module() -> None:
    files = {p: p.read_text("utf-8") for p in (RECORDS / "gates").glob("*.py")}
    for gate in GATES:
        assert len([p for p, text in files.items() if f'"{gate.name}"' in text]) == 1, gate.name
