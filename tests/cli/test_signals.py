"""`copilot signals`, and the document that is made of it."""

import json

import promql_parser
import pytest
from typer.testing import CliRunner

from copilot.cli.main import app
from copilot.errors import SettingsError
from copilot.metrics.dialects import DIALECTS
from copilot.metrics.promql import signal_promql
from copilot.rules.signals.taxonomy import SPECS
from tools.docs.signals import markdown


def test_every_signal_and_every_long_hint_is_in_the_document_once() -> None:
    rows = [line for line in markdown().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == list(SPECS)
    document = markdown().casefold()
    shared = [text for text in {text for s in SPECS.values() for text in (s.setup, s.hint)} if len(text) > 60]
    assert [text for text in shared if document.count(text.casefold()) != 1] == []
    assert {len(row.replace("\\|", "").split("|")) for row in rows} == {9}


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
        "emitted_by": "frontend",
        "meaning": "time the frontend takes to answer, without long polls",
        "hint": SPECS["frontend.latency_p99_ms"].full_hint,
    }
    assert rows["demand.starts_per_sec"]["worse"] is None
    assert rows["history.backlog_age_sec"]["families"] == []


def test_the_table_names_every_signal_with_its_source_and_shows_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(app, ["signals"])
    assert [i for i in SPECS if i not in shown.output] == []
    assert "[[clusters]]" in shown.output
    assert "\x1b" not in shown.output
    lines = shown.output.splitlines()
    assert [line for line in lines if len(line) > 80 and " " in line.strip()] == []
    assert [line for line in lines if line != line.rstrip()] == []
    monkeypatch.setenv("COLUMNS", "120")
    shown = CliRunner().invoke(app, ["signals"])
    assert sum(line.startswith("      from ") for line in shown.output.splitlines()) == len(SPECS)
    assert "from Temporal's API, else the server's metrics approximate_backlog_count\n" in shown.output
    assert "from the workers' metrics temporal_sticky_cache_size, else Temporal's API\n" in shown.output
    assert "from Temporal's API\n" in shown.output
    assert "from nowhere: server 1.32 counts no retries" in shown.output


def test_promql_is_printed_for_what_metrics_can_give() -> None:
    shown = CliRunner().invoke(app, ["signals", "--promql", "--json", "--window", "2m"])
    assert shown.exit_code == 0
    found = json.loads(shown.output)
    assert set(found) == {i for i, spec in SPECS.items() if spec.expression is not None}
    assert found["runtime.goroutines"] == "max (num_goroutines)"
    assert found["persistence.latency_p99_ms"] == (
        "histogram_quantile(0.99, sum by (le) (rate(persistence_latency_bucket[120s]))) * 1000"
    )
    assert found["workers.wft_execution_p95_ms"].endswith("[120s]))) / 1000) * 1000")


@pytest.mark.parametrize("dialect", [d.name for d in DIALECTS])
def test_all_promql_parses_in_every_dialect(dialect: str) -> None:
    for text in signal_promql(SPECS.values(), [dialect], 60.0).values():
        promql_parser.parse(text)


def test_a_dialect_chooses_the_spelling_and_only_what_is_so_spelled() -> None:
    found = signal_promql(SPECS.values(), ["server opentelemetry"], 60.0)
    assert "service_requests_total{" in found["frontend.request_rate_per_sec"]
    assert set(found) == {i for i, s in SPECS.items() if s.expression is not None and s.role == "server"}
    both = signal_promql(SPECS.values(), ["sdk suffixed", "server"], 60.0)
    assert "_total{" in both["worker_cache.sticky_miss_per_sec"]
    assert set(both) == set(signal_promql(SPECS.values(), [], 60.0))


def test_two_dialects_of_a_role_or_one_without_promql_are_refused() -> None:
    with pytest.raises(SettingsError, match="'sdk default' and 'sdk suffixed' are both dialects of the worker"):
        signal_promql(SPECS.values(), ["sdk default", "sdk suffixed"], 60.0)
    refused = CliRunner().invoke(app, ["signals", "--dialect", "server"])
    assert str(refused.exception) == "--dialect goes with --promql"


def test_an_unknown_dialect_is_said_with_those_there_are() -> None:
    with pytest.raises(SettingsError, match="no dialect is named 'klingon': there are server, "):
        signal_promql(SPECS.values(), ["klingon"], 60.0)
