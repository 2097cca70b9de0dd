"""`copilot fault`: inject a fault into the running demo, from a second terminal."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from copilot.cli.options import JsonOption
from copilot.errors import SettingsError, StartError


def fault(
    name: Annotated[str | None, typer.Argument(help="The fault; see --list.")] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Clear the fault; without a name, clear all.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the faults and mark the active ones.")] = False,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="PATH", help="The demo's folder; by default your newest demo's.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Inject a fault into the running demo, or clear it.

    Example: copilot fault workers-down, and then copilot fault workers-down --clear"""
    from copilot.demo.faults import FaultRequest, fault_named, send_request
    from copilot.embedded.data_folder import find_demo

    if list_:
        _list(data_dir, as_json=as_json)
        return
    if name is None and not clear:
        raise SettingsError(["name a fault: `copilot fault --list` lists them"])
    if name is not None:
        fault_named(name)
    reply = asyncio.run(send_request(find_demo(data_dir).socket, FaultRequest(fault=name, clear=clear)))
    if as_json:
        typer.echo(reply.model_dump_json())
    if not reply.done:
        raise StartError(reply.text)
    if not as_json:
        typer.echo(reply.text)


def _list(data_dir: Path | None, *, as_json: bool) -> None:
    from copilot.demo.faults import FAULTS, FaultRequest, send_request
    from copilot.embedded.data_folder import find_demo

    try:
        active = asyncio.run(send_request(find_demo(data_dir).socket, FaultRequest())).active
    except StartError:
        if data_dir is not None:
            raise
        active = []
    if as_json:
        rows = [{"name": each.name, "what": each.what, "active": each.name in active} for each in FAULTS.values()]
        typer.echo(json.dumps(rows))
        return
    for each in FAULTS.values():
        typer.echo(f"{each.name:<24}{each.what}{'  [active]' if each.name in active else ''}")
