"""`copilot lab`: the incident lab."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from copilot.cli.lab_score import score
from copilot.cli.options import JsonOption

app = typer.Typer(
    help="The incident lab: scenarios that really happen to a real server, and what the verdict should be.",
    no_args_is_help=True,
)
app.command()(score)


@app.command("list")
def list_(as_json: JsonOption = False) -> None:
    """Say which scenarios there are, what happens in each, and what is expected of the verdict.

    Example: copilot lab list"""
    from copilot.cli.lab_view import print_scenarios
    from copilot.lab.labels import label_of
    from copilot.lab.scenarios import SCENARIOS

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
    from copilot.cli.lab_view import RunView
    from copilot.core.errors import CopilotError, SettingsError, StartError
    from copilot.lab.run import run_scenario
    from copilot.lab.scenarios import SCENARIOS, Scenario, scenario_named
    from copilot.local.demo_run import until_told_to_end

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
