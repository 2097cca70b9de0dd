"""How the incident lab shows itself on a terminal or in a log."""

import json
from collections.abc import Iterable

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from copilot.lab.labels import Label
from copilot.lab.run import Show
from copilot.lab.scenarios import Scenario
from copilot.lab.taken import Took

COLOURS = {"happy": "green", "stressed": "yellow", "critical": "bold red", "unknown": "magenta"}


def print_scenarios(rows: Iterable[tuple[Scenario, Label]]) -> None:
    """Two lines a scenario: what is expected of the verdict, and what happens."""
    out = Console(highlight=False, markup=False)
    for scenario, label in rows:
        expected = " or ".join(state.value for state in label.states)
        cause = f": {' or '.join(label.cause)}" if label.cause else ""
        out.print(Text(f"{scenario.name:<30}", style="bold").append(expected + cause, style="not bold"))
        out.print(Padding(scenario.what, (0, 0, 0, 4)), style="dim")


class RunView(Show):
    """A line per evaluation, and one for the verdict of a run; `as_json`: those as JSON on stdout. What is done to the
    cluster goes to stderr. `several`: more than one scenario runs at a time, so each line says which."""

    def __init__(self, *, as_json: bool, several: bool) -> None:
        self._as_json = as_json
        self._several = several
        self._out = Console(highlight=False, markup=False, soft_wrap=True)
        self._log = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

    def event(self, scenario: str, text: str) -> None:
        """On stderr."""
        self._log.print(f"{scenario}  {text}", style="dim")

    def evaluation(self, took: Took) -> None:
        """Phase, seconds in it, state, first finding, fired gates."""
        evaluation = took.evaluation
        if self._as_json:
            line = {key: value for key, value in evaluation.replay_line().items() if key != "readings"}
            found = {"scenario": took.scenario, "phase": took.phase, "phase_sec": round(took.sec, 1), **line}
            print(json.dumps(found), flush=True)
            return
        verdict = evaluation.verdict
        state = verdict.health_state.value + ("*" if verdict.stale else "")
        who = f"{took.scenario:<28}" if self._several else ""
        self._out.print(
            f"{who}{took.phase:<6} {took.sec:4.0f} s  {state:<9} {evaluation.bottleneck.value:<14} "
            f"{evaluation.top_factor or '-':<24} {' '.join(verdict.fired())}",
            style=COLOURS.get(verdict.health_state.value),
        )

    def verdict(self, scenario: str, wrong: list[str]) -> None:
        """As labelled, or what is not."""
        if self._as_json:
            print(json.dumps({"scenario": scenario, "as_labelled": not wrong, "wrong": wrong}), flush=True)
        else:
            said = f"not as labelled: {'; '.join(wrong)}" if wrong else "as labelled"
            self._out.print(f"{scenario}: {said}", style="bold")
