"""`copilot demo`: a Temporal cluster with workers and load on this machine, and the Copilot watching it."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[@60s[-120s]]",
            help="Inject a fault so long after the first verdict, and clear it; may be given again.",
        ),
    ] = None,
    for_: Annotated[
        str | None, typer.Option("--for", metavar="190s", help="End so long after the first verdict.")
    ] = None,
    interval: Annotated[str, typer.Option(metavar="10s", help="Time between two evaluations.")] = "10s",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line per evaluation.")] = False,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where to keep the data; otherwise a temporary folder, removed at the end.")
    ] = None,
    port: Annotated[int, typer.Option(help="Port of the page and the API; 0: a free one.")] = 0,
) -> None:
    """Start a Temporal cluster with workers and load, and the Copilot watching it. Ctrl-C ends it all.

    Example: copilot demo --fault workers-down@60s --for 190s"""
    # Not at the top: they bring Temporal's SDK along, which other commands need not wait for.
    from copilot.cli.demo_screen import JsonScreen, person_screen
    from copilot.local.demo_run import run_demo, until_told_to_end
    from copilot.local.fault_plan import planned_fault, seconds
    from copilot.local.stack import DemoOptions

    plan = [planned_fault(text) for text in fault or []]
    for_sec = None if for_ is None else seconds(for_)
    options = DemoOptions(data_dir=data_dir, port=port, interval_sec=seconds(interval))
    if as_json:
        until_told_to_end(run_demo(options, plan, for_sec, JsonScreen()))
        return
    with person_screen() as screen:
        until_told_to_end(run_demo(options, plan, for_sec, screen))
