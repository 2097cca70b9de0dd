"""`copilot lab` as a person or a script runs it."""

import json
import subprocess

import pytest

from lab.scenarios import SCENARIOS
from tests.cli.forked import forked


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
        (("run",), "say which scenarios, or --all"),
        (("run", "idle", "--all"), "say which scenarios, or --all"),
        (("run", "earthquake"), "no scenario is called 'earthquake'"),
    ],
)
def test_what_cannot_be_run_is_one_line_and_exit_2(words: tuple[str, ...], why: str) -> None:
    done = lab(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert why in done.stderr
    assert len(done.stderr.splitlines()) == 1
