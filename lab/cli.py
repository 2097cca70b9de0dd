"""`copilot lab`: list, run and score the scenarios."""

import asyncio
import json
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from copilot.cli.options import JsonOption
from copilot.cli.output import STATE_STYLES, plain_console, print_lines, prose_width, wrapped
from lab.servers import LOCKS, server_binary

if TYPE_CHECKING:
    from lab.run import LiveEvaluation, MakeCluster, Show
    from lab.score import LabScore

NARROW = {
    "scenario": "scenario", "worst state": "worst", "to stressed": "stressed", "to critical": "critical",
    "states right": "right", "cause first": "cause", "bottleneck": "limit",
}  # fmt: skip
"""The columns that fit on a terminal of 80 columns; mistakes are listed below the table."""
_RIGHT_ALIGNED = {"stressed", "critical", "false alarms", "flaps", "runs", "false criticals", "false happies"}

app = typer.Typer(help="The incident lab: scenarios on real servers, and the verdicts they should get.",
                  no_args_is_help=True)  # fmt: skip


ClusterOption = Annotated[
    bool, typer.Option("--cluster", help="Scenarios of six server processes on a database, instead of a dev server.")
]


@app.command("list")
def list_(cluster: ClusterOption = False, as_json: JsonOption = False) -> None:
    """List the scenarios: what happens in each, and the expected verdict.

    Example: copilot lab list --cluster"""
    from lab.cluster_scenarios import scenarios
    from lab.labels import label_of

    out = plain_console()
    for each in scenarios(cluster=cluster).values():
        label = label_of(each.name)
        if as_json:
            print(json.dumps({"name": each.name, "what": each.what, **label.model_dump(mode="json")}))
            continue
        cause = f": {' or '.join(label.cause)}" if label.cause else ""
        out.print(Text.assemble((f"{each.name:<30}", "bold"), " or ".join(label.states), cause))
        print_lines(out, wrapped(each.what, prose_width(out), "    ", "    ", "dim"))


@app.command()
def run(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME…", help="The scenarios to run.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Run all scenarios.")] = False,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the recordings; existing ones are replaced.")
    ] = Path("lab-recordings"),
    at_once: Annotated[int, typer.Option(min=1, metavar="N", help="Run N scenarios in parallel.")] = 1,
    server: Annotated[
        str | None, typer.Option(metavar="VERSION", help=f"A Temporal server of this version: {', '.join(LOCKS)}.")
    ] = None,
    cluster: ClusterOption = False,
    server_binary_: Annotated[
        Path | None, typer.Option("--server-binary", metavar="PATH", help="With --cluster: your temporal-server.")
    ] = None,
    sql_tool: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Its temporal-sql-tool, if not beside it or on PATH.")
    ] = None,
    fault_sec: Annotated[float, typer.Option(min=60.0, metavar="SEC", help="Length of the fault.")] = 300.0,
    as_json: JsonOption = False,
) -> None:
    """Run scenarios on real servers, judge them live and record them; each takes about ten minutes. Exit 1 when a
    verdict differs from its label. Ctrl-C leaves nothing behind.

    Example: copilot lab run workers-down server-frozen --server 1.29.1 --out recordings

    Example: copilot lab run kill-history --cluster --server-binary ./temporal-server"""
    from copilot.embedded.signals import run_until_signal
    from copilot.errors import CopilotError, SettingsError, StartError
    from lab.cluster_scenarios import scenarios
    from lab.run import Phases, run_scenario
    from lab.scenarios import Scenario, scenario_named

    if bool(names) == all_:
        raise SettingsError(["name scenarios, or use --all: `copilot lab list` lists them"])
    if cluster != (server_binary_ is not None) or (cluster and server):
        raise SettingsError(["--cluster needs --server-binary, the path of your temporal-server, and no --server"])
    known = scenarios(cluster=cluster)
    chosen = list(known.values()) if all_ else [scenario_named(name, known) for name in dict.fromkeys(names or ())]
    make, phases = _cluster(server, server_binary_, sql_tool), Phases(fault_sec=fault_sec)
    show, mistakes = _view(as_json=as_json, several=at_once > 1), dict[str, list[str]]()
    failed: dict[str, str] = {}

    async def run_one(scenario: Scenario, turn: asyncio.Semaphore) -> None:
        async with turn:
            try:
                mistakes[scenario.name] = await run_scenario(scenario, out, show, phases, make)
            except CopilotError as error:
                failed[scenario.name] = str(error)
                show.event(scenario.name, f"failed: {error}")

    async def run_each(scenarios: Sequence[Scenario]) -> None:
        turn = asyncio.Semaphore(at_once)
        await asyncio.gather(*(run_one(scenario, turn) for scenario in scenarios))

    run_until_signal(run_each(chosen))
    if failed:
        raise StartError("; ".join(f"{name} failed: {why}" for name, why in failed.items()))
    if any(mistakes.values()) or len(mistakes) < len(chosen):
        raise typer.Exit(1)


def _cluster(version: str | None, program: Path | None, sql_tool: Path | None) -> "MakeCluster":
    """What makes the cluster: one of processes of the user's program, or with the dev server of a version."""
    from copilot.demo.watched import WatchedCluster
    from lab.processes import ServerProcesses, find_sql_tool

    if program is not None:
        return partial(ServerProcesses, program=program, sql_tool=find_sql_tool(program, sql_tool))
    return partial(WatchedCluster, binary=server_binary(version) if version else None)


@app.command()
def score(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]…", help="Score only these scenarios.")] = None,
    recordings: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Recordings to score; by default those of the repository.")
    ] = None,
    server: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Score the repository's recordings of this server.")
    ] = None,
    variants: Annotated[
        bool, typer.Option("--variants", help="Also score variants with dropped readings, other intervals and loads.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare the verdicts on the recorded incidents with their labels. Exit 1 when a goal is not met.

    Example: copilot lab score --server 1.31.2"""
    from copilot.errors import RecordingError
    from lab.recorded_run import RECORDINGS, find_runs
    from lab.score import score_lab

    found = find_runs(recordings or (RECORDINGS / server if server else RECORDINGS))
    if unknown := [name for name in names or () if name not in found]:
        raise RecordingError(f"no recording of {', '.join(unknown)}; there is {', '.join(found) or 'none'}")
    scored = score_lab({name: found[name] for name in names or ()} or found, with_variants=variants)
    if as_json:
        typer.echo(scored.model_dump_json())
    else:
        print_score(scored)
    if not scored.met:
        raise typer.Exit(1)


def print_score(score: "LabScore") -> None:
    """Print the tables, the mistakes, and whether all goals are met."""
    from lab.report import GOALS, SCENARIOS, VARIANTS, goal_rows, scenario_rows, variant_mistakes, variant_rows

    out = plain_console()

    def print_mistake(line: str) -> None:
        print_lines(out, wrapped(line, prose_width(out), "  ", "    ", "yellow"))

    rows = list(scenario_rows(score))
    picked = [SCENARIOS.index(column) for column in NARROW]
    out.print(_table("Scenarios", NARROW.values(), [[row[i] for i in picked] for row in rows], total=True))
    for name, *_, mistakes in rows:
        if mistakes:
            print_mistake(f"{name}: {mistakes}")
    if score.unrecorded:
        missing = f"Without a recording, so not counted: {', '.join(score.unrecorded)}"
        print_lines(out, wrapped(missing, prose_width(out), "", "  ", "dim"))
    if score.variants:
        out.print()
        out.print(_table("Variants of the recordings", VARIANTS, variant_rows(score)))
        for line in variant_mistakes(score):
            print_mistake(line)
    out.print()
    out.print(_table("Goals", GOALS, goal_rows(score)))
    out.print()
    unmet = sum(not goal.met for goal in score.goals)
    summary = f"{unmet} of {len(score.goals)} goals are NOT MET" if unmet else f"all {len(score.goals)} goals are met"
    out.print(Text(summary, style="bold red" if unmet else "green"))


def _table(title: str, columns: Iterable[str], rows: Iterable[Sequence[str]], *, total: bool = False) -> Table:
    """A table; `total`: the last row is a sum."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 1),
                  header_style="dim")  # fmt: skip
    for column in columns:
        right = "right" if column in _RIGHT_ALIGNED else "left"
        table.add_column(column, justify=right, ratio=1 if column == "missed" else None)  # type: ignore[arg-type]
    all_rows = list(rows)
    styles = {"NOT MET": "bold red", "met": "green"}
    for number, row in enumerate(all_rows):
        last = total and number == len(all_rows) - 1
        table.add_row(*(Text(cell, style=styles.get(cell, "")) for cell in row), style="bold" if last else "")
    return table


def _view(*, as_json: bool, several: bool) -> "Show":
    """A line per evaluation, and one for the verdict of a run; `as_json`: those as JSON on stdout. Events go to stderr.
    `several`: scenarios run in parallel, so each line names its scenario."""
    from lab.run import Show

    out = Console(highlight=False, markup=False, soft_wrap=True)
    log = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

    class View(Show):
        def event(self, scenario: str, text: str) -> None:
            log.print(f"{scenario}  {text}", style="dim")

        def evaluation(self, live: "LiveEvaluation") -> None:
            evaluation = live.evaluation
            if as_json:
                line = {key: value for key, value in evaluation.replay_line().items() if key != "readings"}
                where = {"scenario": live.scenario, "phase": live.phase, "phase_sec": round(live.sec, 1)}
                print(json.dumps({**where, **line}), flush=True)
                return
            verdict = evaluation.verdict
            state = verdict.health_state.value + ("*" if verdict.stale else "")
            scenario = f"{live.scenario:<28}" if several else ""
            out.print(
                f"{scenario}{live.phase:<6} {live.sec:4.0f} s  {state:<9} {evaluation.bottleneck.value:<14} "
                f"{evaluation.top_factor or '-':<24} {' '.join(verdict.fired())}",
                style=STATE_STYLES.get(verdict.health_state.value),
            )

        def verdict(self, scenario: str, mistakes: list[str]) -> None:
            if as_json:
                line = {"scenario": scenario, "as_labelled": not mistakes, "wrong": mistakes}
                print(json.dumps(line), flush=True)
                return
            verdict = f"not as labelled: {'; '.join(mistakes)}" if mistakes else "as labelled"
            out.print(f"{scenario}: {verdict}", style="bold")
            sys.stdout.flush()

    return View()
