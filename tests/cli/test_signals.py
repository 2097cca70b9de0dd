"""`copilot signals`, and the document that is made of it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from copilot.cli.main import app
from copilot.cli.signals import markdown
from copilot.core.taxonomy import SPECS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "signals.md"


def test_the_document_is_fresh() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == markdown(), "run `make docs`"


def test_every_signal_is_in_the_document_once() -> None:
    rows = [line for line in markdown().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == list(SPECS)
    assert {len(row.replace("\\|", "").split("|")) for row in rows} == {8}


def test_json_holds_every_signal() -> None:
    shown = CliRunner().invoke(app, ["signals", "--json"])
    assert shown.exit_code == 0
    rows = {row["id"]: row for row in json.loads(shown.output)}
    assert list(rows) == list(SPECS)
    assert rows["frontend.latency_p99_ms"] == {
        "id": "frontend.latency_p99_ms",
        "kind": "primary",
        "unit": "ms",
        "worse": "up",
        "source": "metrics",
        "role": "server",
        "families": ["service_latency"],
        "meaning": "time an answer takes, without long polls",
        "hint": SPECS["frontend.latency_p99_ms"].hint,
    }
    assert rows["demand.starts_per_sec"]["worse"] is None
    assert rows["history.backlog_age_sec"]["families"] == []


def test_the_table_names_every_signal_and_shows_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    shown = CliRunner().invoke(app, ["signals"])
    assert [i for i in SPECS if i not in shown.output] == []
    assert "[[clusters]]" in shown.output
    assert "\x1b" not in shown.output
