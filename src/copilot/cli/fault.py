"""`copilot fault`: break the running demo on purpose, from a second terminal."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from copilot.errors import SettingsError, StartError


def fault(
    name: Annotated[str | None, typer.Argument(help="Which fault; see --list.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Clear it; without a name, clear all.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Say which faults there are, and which are on.")] = False,
    data_dir: Annotated[
        Path | None, typer.Option(help="The demo's folder; otherwise the newest demo of yours.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Inject a fault into the running demo, or clear it.

    Example: copilot fault workers-down, and then copilot fault workers-down --clear"""
    # Not at the top: they bring Temporal's SDK along, which other commands need not wait for.
    from copilot.demo.faults import FAULTS, Answer, Wish, ask, fault_named
    from copilot.embedded.data_folder import find_demo

    if list_:
        _print_list({each.name: each.what for each in FAULTS.values()}, _active_faults(data_dir), as_json)
        return
    if name is None and not clear:
        raise SettingsError(["say which fault: `copilot fault --list` names them"])
    if name is not None:
        fault_named(name)
    answer: Answer = asyncio.run(ask(find_demo(data_dir).socket, Wish(fault=name, clear=clear)))
    if as_json:
        typer.echo(answer.model_dump_json())
    if not answer.done:
        raise StartError(answer.text)
    if not as_json:
        typer.echo(answer.text)


def _active_faults(data_dir: Path | None) -> list[str]:
    from copilot.demo.faults import Wish, ask
    from copilot.embedded.data_folder import find_demo

    try:
        return asyncio.run(ask(find_demo(data_dir).socket, Wish())).active
    except StartError:
        if data_dir is not None:
            raise
        return []


def _print_list(faults: dict[str, str], active: list[str], as_json: bool) -> None:
    if as_json:
        rows = [{"name": name, "what": what, "active": name in active} for name, what in faults.items()]
        typer.echo(json.dumps(rows))
        return
    for name, what in faults.items():
        typer.echo(f"{name:<24}{what}{'  [on]' if name in active else ''}")
