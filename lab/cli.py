"""How the incident lab shows itself on a terminal or in a log."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from copilot.cli.options import JsonOption
from lab.cli_score import score
from lab.labels import Label
from lab.recorded_run import Took
from lab.run import Show
from lab.scenarios import Scenario

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


app = typer.Typer(
    help="The incident lab: scenarios that really happen to a real server, and what the verdict should be.",
    no_args_is_help=True,
)
app.command()(score)


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """Say which scenarios there are, what happens in each, and what is expected of the verdict.

    Example: copilot lab list"""
    from lab.labels import label_of
    from lab.scenarios import SCENARIOS

    rows = [(each, label_of(each.name)) for each in SCENARIOS.values()]
    if as_json:
        for each, label in rows:
            print(json.dumps({"name": each.name, "what": each.what, **label.model_dump(mode="json")}))
    else:
        print_scenarios(rows)


@app.command()
def run(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME…", help="Which scenarios.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the recordings go; those there are replaced.")] = Path(
        "lab-recordings"
    ),
    at_once: Annotated[int, typer.Option(min=1, metavar="N", help="So many at once.")] = 1,
    page: Annotated[
        bool, typer.Option("--page", help="Have a whole Copilot watch too, and judge what its page shows.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run scenarios on real servers of their own, judge them live and record them; about ten minutes each. Exit 1 when
    a verdict is not as labelled. Ctrl-C leaves nothing behind.

    Example: copilot lab run workers-down server-frozen --out recordings"""
    from copilot.demo.run import until_told_to_end
    from copilot.errors import CopilotError, SettingsError, StartError
    from lab.run import run_scenario
    from lab.scenarios import SCENARIOS, Scenario, scenario_named

    if bool(names) == all_:
        raise SettingsError(["say which scenarios, or --all: `copilot lab list` names them"])
    chosen = list(SCENARIOS.values()) if all_ else [scenario_named(name) for name in dict.fromkeys(names or ())]
    view, wrong = RunView(as_json=as_json, several=at_once > 1), dict[str, list[str]]()
    failed: dict[str, str] = {}

    async def one(scenario: Scenario, turn: asyncio.Semaphore) -> None:
        async with turn:
            try:
                wrong[scenario.name] = await run_scenario(scenario, out, view, page=page)
            except CopilotError as error:
                failed[scenario.name] = str(error)
                view.event(scenario.name, f"could not be run: {error}")

    async def each(scenarios: Sequence[Scenario]) -> None:
        turn = asyncio.Semaphore(at_once)
        await asyncio.gather(*(one(scenario, turn) for scenario in scenarios))

    until_told_to_end(each(chosen))
    if failed:
        raise StartError("; ".join(f"{name} could not be run: {why}" for name, why in failed.items()))
    if any(wrong.values()) or len(wrong) < len(chosen):
        raise typer.Exit(1)
