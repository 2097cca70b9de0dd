"""`copilot lab` as a person or a script runs it."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from copilot.errors import CopilotError
from lab.cli import score
from lab.recorded_run import RECORDINGS, find_runs
from lab.scenarios import SCENARIOS
from lab.score import score_lab
from tests.cli.forked import assert_refused, forked
from tests.lab.runs import RECORDED
from tools.docs.benchmark import document


def lab(*words: str) -> subprocess.CompletedProcess[str]:
    return forked("lab", *words)


def test_the_scenarios_are_listed_with_what_happens_and_what_is_expected() -> None:
    done = lab("list")
    lines = done.stdout.splitlines()
    (row,) = [n for n, line in enumerate(lines) if line.startswith("workers-down ")]
    assert "critical: no_pollers" in lines[row]
    assert "both workers are killed" in lines[row + 1]
    assert done.returncode == 0


def test_the_list_is_to_be_had_as_json_one_scenario_a_line() -> None:
    rows = [json.loads(line) for line in lab("list", "--json").stdout.splitlines()]
    assert [row["name"] for row in rows] == list(SCENARIOS)
    (row,) = [row for row in rows if row["name"] == "workers-down"]
    assert (row["states"], row["cause"], row["bottleneck"]) == (["critical"], ["no_pollers"], ["worker_limited"])


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("run",), "name scenarios, or use --all"),
        (("run", "idle", "--all"), "name scenarios, or use --all"),
        (("run", "earthquake"), "there is no scenario 'earthquake'"),
        (("run", "idle", "--cluster"), "--cluster needs --server-binary, the path of your temporal-server"),
        (("run", "idle", "--server-binary", "/bin/true"), "--cluster needs --server-binary"),
        (("run", "idle", "--cluster", "--server-binary", "/bin/true"), "choose one of cluster-healthy, "),
        (("run", "kill-history", "--cluster", "--server-binary", "/nowhere"), "there is no server program /nowhere"),
    ],
)
def test_what_cannot_be_run_is_one_line_and_exit_2(words: tuple[str, ...], why: str) -> None:
    assert_refused(lab(*words), why)


app = typer.Typer()
app.command()(score)


def blamed(folder: Path) -> Path:
    """A folder in which the healthy recording passes as one of dead workers, so that the incident is missed."""
    name = "workers-down"
    source = RECORDED["healthy"]
    beside = source.with_name("marks.json") if source.name == "recording.jsonl.gz" else source.with_name("healthy.json")
    document = json.loads(beside.read_text(encoding="utf-8"))
    marks = document.get("marks", document)
    note = {"scenario": name, "marks": {"end": marks["after"], **marks}, "taken": "2026-11-22", "machine": {"cpus": 2}}
    shutil.copyfile(source, folder / f"{name}.jsonl.gz")
    (folder / f"{name}.json").write_text(json.dumps(note), encoding="utf-8")
    return folder


def test_the_table_names_the_scenarios_and_says_whether_the_goals_are_met(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    asked = ("healthy", "workers-down", "idle")
    shown = CliRunner().invoke(app, ["--recordings", str(RECORDINGS), *asked])
    assert shown.exit_code == 0, shown.output
    assert [name for name in RECORDED if f"\n{name} " in shown.output] == [n for n in RECORDED if n in asked]
    assert "goals are met" in shown.output
    assert "\x1b" not in shown.output


def test_a_missed_incident_is_named_and_exits_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    shown = CliRunner().invoke(app, ["--recordings", str(blamed(tmp_path)), "workers-down"])
    assert shown.exit_code == 1
    assert "the incident was missed; happy instead of" in shown.output
    assert "NOT MET" in shown.output


def test_json_holds_the_scores_and_only_the_scenarios_asked_for(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["--recordings", str(blamed(tmp_path)), "--json", "--variants"])
    assert shown.exit_code == 1
    document = json.loads(shown.output)
    assert [s["recorded"]["scenario"] for s in document["scenarios"]] == ["workers-down"]
    assert document["totals"]["missed"] == ["workers-down"]
    assert document["scenarios"][0]["taken"] == "2026-11-22"
    assert {goal["met"] for goal in document["goals"]} == {True, False}
    assert "no SDK metrics" in document["variants"]
    assert "healthy" in document["unrecorded"]


def test_the_document_says_when_and_where_the_recordings_were_taken(tmp_path: Path) -> None:
    assert "Recorded 2026-11-22 on a machine with cpus 2." in document(
        score_lab(find_runs(blamed(tmp_path)), with_variants=True), {}, {}
    )


def test_what_cannot_be_scored_is_an_error_that_names_it(tmp_path: Path) -> None:
    def why(*names: str) -> str:
        shown = CliRunner().invoke(app, ["--recordings", str(tmp_path), *names])
        assert isinstance(shown.exception, CopilotError)
        return str(shown.exception)

    assert "no recording to score" in why()
    assert "no recording of klingons; there is none" in why("klingons")
    (blamed(tmp_path) / "workers-down.json").write_text('{"scenario": "workers-down"}', encoding="utf-8")
    assert "workers-down.json does not describe a recording" in why()
    (tmp_path / "workers-down.json").unlink()
    assert "workers-down.json cannot be read" in why()
