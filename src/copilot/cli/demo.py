"""`copilot demo`: a Temporal cluster with workers and load, and the Copilot watching it; `copilot fault` breaks it."""

import asyncio
import contextlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from copilot.cli.options import JsonOption, duration
from copilot.cli.output import STATE_STYLES, plain_console, print_result
from copilot.errors import SettingsError, StartError

if TYPE_CHECKING:
    from copilot.demo.faults import PlannedFault
    from copilot.embedded.data_folder import RunningDemo
    from copilot.embedded.supervisor import Event

EVENT_STYLES = {"died": "red", "back": "green", "fault": "bold"}


def demo(
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[@60s[-120s]]", help="Inject a fault at this offset from the first verdict, then "
                     "clear it. Repeatable."),
    ] = None,
    for_: Annotated[
        str | None, typer.Option("--for", metavar="190s", help="Stop this long after the first verdict.")
    ] = None,
    interval: Annotated[str, typer.Option(metavar="10s", help="Time between evaluations.")] = "10s",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line per evaluation.")] = False,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Folder for the data; by default temporary, removed at the end.")
    ] = None,
    port: Annotated[int, typer.Option(help="Port of the page and the API; 0: any free port.")] = 0,
) -> None:  # fmt: skip
    """Start a Temporal cluster with workers and load, and the Copilot watching it. Ctrl-C stops everything.

    Example: copilot demo --fault workers-down@60s --for 190s"""
    from copilot.demo.run import run_demo
    from copilot.demo.stack import DemoOptions
    from copilot.embedded.signals import run_until_signal

    plan = [planned_fault(text) for text in fault or []]
    for_sec = None if for_ is None else duration("--for", for_)
    options = DemoOptions(data_dir=data_dir, port=port, interval_sec=duration("--interval", interval))
    screen = _JsonScreen() if as_json else _PersonScreen()
    with screen:
        run_until_signal(run_demo(options, plan, for_sec, screen))


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
    from copilot.demo.faults import FAULTS, FaultRequest, fault_named, send_request
    from copilot.embedded.data_folder import find_demo

    active: list[str] = []
    if list_:
        with contextlib.suppress(*([] if data_dir else [StartError])):
            active = asyncio.run(send_request(find_demo(data_dir).socket, FaultRequest())).active
        rows = [{"name": each.name, "what": each.what, "active": each.name in active} for each in FAULTS.values()]
        lines = [f"{row['name']:<24}{row['what']}{'  [active]' if row['active'] else ''}" for row in rows]
        print_result(rows, lines, as_json=as_json)
        return
    if name is not None:
        fault_named(name)
    elif not clear:
        raise SettingsError(["name a fault: `copilot fault --list` lists them"])
    reply = asyncio.run(send_request(find_demo(data_dir).socket, FaultRequest(fault=name, clear=clear)))
    if reply.done or as_json:
        print_result(reply.model_dump(), [reply.text], as_json=as_json)
    if not reply.done:
        raise StartError(reply.text)


def planned_fault(text: str) -> "PlannedFault":
    """Parse NAME, NAME@60s or NAME@60s-120s. FaultError for an unknown name, SettingsError for a wrong time."""
    from copilot.demo.faults import PlannedFault, fault_named

    name, at, times = text.partition("@")
    fault = fault_named(name)
    if at and not times:
        raise SettingsError([f"--fault {text!r} has no time: write {name}@60s or {name}@60s-120s"])
    start, _, end = times.partition("-")
    at_sec = duration("--fault", start) if start else 0.0
    until_sec = duration("--fault", end) if end else None
    if until_sec is not None and until_sec <= at_sec:
        raise SettingsError([f"--fault {text!r} ends before it begins"])
    if until_sec is not None and fault.lasts_sec is not None:
        raise SettingsError([f"--fault {text!r}: {name} ends by itself, write {name}@{start}"])
    return PlannedFault(name, at_sec, until_sec)


class _JsonScreen(contextlib.nullcontext[None]):
    """One JSON line per evaluation on stdout; everything else as text on stderr."""

    def __init__(self) -> None:
        super().__init__()
        self.console = plain_console(stderr=True)

    def event(self, event: "Event") -> None:
        self.console.print(Text(event.text, style=EVENT_STYLES.get(event.kind, "dim")), soft_wrap=True)

    def running(self, demo: "RunningDemo") -> None:
        self.console.print(f"the page: {demo.page}", soft_wrap=True)

    def evaluation(self, line: dict[str, Any]) -> None:
        print(json.dumps(line), flush=True)

    def status(self, status: dict[str, Any] | None) -> None:
        pass


class _PersonScreen(_JsonScreen):
    """What was started, then events, with a live line of the verdict below; without a terminal, a line per change."""

    def __init__(self) -> None:
        super().__init__()
        self.console = plain_console()
        self._live = Live(Text("starting"), console=self.console, refresh_per_second=4)
        self._started: float | None = time.monotonic()
        self._last = ""

    def __enter__(self) -> None:
        if self.console.is_terminal:
            self._live.start()

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def running(self, demo: "RunningDemo") -> None:
        parts = Table(box=None, show_header=False, padding=(0, 2))
        parts.add_row("watched Temporal", demo.temporal)
        for name, url in demo.metrics.items():
            parts.add_row(f"metrics of {name}", url)
        parts.add_row("the Copilot's Temporal", demo.copilot_temporal)
        parts.add_row("PostgreSQL", demo.store)
        parts.add_row("data and logs", str(demo.data_dir))
        parts.add_row(Text("the page", style="bold"), Text(demo.page, style="bold"))
        self.console.print(parts, soft_wrap=True)
        self.console.print("Break it from a second terminal: copilot fault --list. Ctrl-C stops everything.")

    def evaluation(self, line: dict[str, Any]) -> None:
        if self._started is not None:
            took = time.monotonic() - self._started
            self.console.print(f"first verdict after {took:.1f} s: {line['health_state']}")
            self._started = None

    def status(self, status: dict[str, Any] | None) -> None:
        line = _status_line(status)
        if self._live.is_started:
            self._live.update(line)
        elif status is not None:
            verdict = f"{status.get('health_state')} {status.get('top_factor')}"
            if verdict != self._last:
                self._last = verdict
                self.console.print(line, soft_wrap=True)


def _status_line(status: dict[str, Any] | None) -> Text:
    if status is None:
        return Text("no verdict yet", style="dim", no_wrap=True, overflow="ellipsis")
    state = str(status.get("health_state"))
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"● {state.upper()}", style=STATE_STYLES.get(state, ""))
    if status.get("stale"):
        line.append(" (stale)", style="magenta")
    if since := status.get("since"):
        line.append(f" since {str(since)[11:19]}")
    for key in ("bottleneck", "top_factor"):
        if status.get(key):
            line.append(f" · {status[key]}")
    return line.append(f" · {status.get('summary') or ''}", style="dim")
