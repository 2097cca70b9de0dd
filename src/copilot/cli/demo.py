"""How `copilot demo` shows itself: to a program, and to a person."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from copilot.demo.run import Screen
from copilot.embedded.data_folder import RunningDemo
from copilot.embedded.supervisor import Event

COLOURS = {"happy": "green", "stressed": "yellow", "critical": "bold red", "unknown": "magenta"}
EVENT_COLOURS = {"died": "red", "back": "green", "fault": "bold"}


class JsonScreen(Screen):
    """One JSON line per evaluation on stdout; everything else, in words, on stderr."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, soft_wrap=True, highlight=False)

    def event(self, event: Event) -> None:
        self._console.print(_event_text(event))

    def running(self, demo: RunningDemo) -> None:
        self._console.print(f"the page: {demo.page}")

    def evaluation(self, line: dict[str, Any]) -> None:
        print(json.dumps(line), flush=True)


class PersonScreen(Screen):
    """What was started, then events, with a live line of the verdict below (without a terminal: a line per change)."""

    def __init__(self, console: Console, live: Live | None) -> None:
        self._console = console
        self._live = live
        self._began: float | None = time.monotonic()
        self._last = ""

    def event(self, event: Event) -> None:
        self._console.print(_event_text(event), soft_wrap=True)

    def running(self, demo: RunningDemo) -> None:
        parts = Table(box=None, show_header=False, padding=(0, 2))
        parts.add_row("watched Temporal", demo.temporal)
        for name, url in demo.metrics.items():
            parts.add_row(f"metrics of {name}", url)
        parts.add_row("the Copilot's Temporal", demo.copilot_temporal)
        parts.add_row("PostgreSQL", demo.store)
        parts.add_row("data and logs", str(demo.data_dir))
        parts.add_row(Text("the page", style="bold"), Text(demo.page, style="bold"))
        self._console.print(parts, soft_wrap=True)
        self._console.print("Break it from a second terminal: copilot fault --list. Ctrl-C ends it all.")

    def evaluation(self, line: dict[str, Any]) -> None:
        if self._began is not None:
            state, took = line["health_state"], time.monotonic() - self._began
            self._console.print(f"first verdict after {took:.1f} s: {state}")
            self._began = None

    def status(self, status: dict[str, Any] | None) -> None:
        line = _status_line(status)
        if self._live is not None:
            self._live.update(line)
        elif status is not None and (said := f"{status.get('health_state')} {status.get('top_factor')}") != self._last:
            self._last = said
            self._console.print(line, soft_wrap=True)


@contextmanager
def person_screen() -> Iterator[PersonScreen]:
    """A screen for a person on stdout."""
    console = Console(highlight=False)
    if not sys.stdout.isatty():
        yield PersonScreen(console, None)
        return
    with Live(Text("starting"), console=console, refresh_per_second=4) as live:
        yield PersonScreen(console, live)


def _event_text(event: Event) -> Text:
    return Text(event.text, style=EVENT_COLOURS.get(event.kind, "dim"))


def _status_line(status: dict[str, Any] | None) -> Text:
    if status is None:
        return Text("no verdict yet", style="dim", no_wrap=True, overflow="ellipsis")
    state = str(status.get("health_state"))
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"● {state.upper()}", style=COLOURS.get(state, ""))
    if status.get("stale"):
        line.append(" (stale)", style="magenta")
    if since := status.get("since"):
        line.append(f" since {str(since)[11:19]}")
    for key in ("bottleneck", "top_factor"):
        if status.get(key):
            line.append(f" · {status[key]}")
    return line.append(f" · {status.get('summary') or ''}", style="dim")


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
    from copilot.demo.faults import planned_fault, seconds
    from copilot.demo.run import run_demo, until_told_to_end
    from copilot.demo.stack import DemoOptions

    plan = [planned_fault(text) for text in fault or []]
    for_sec = None if for_ is None else seconds(for_)
    options = DemoOptions(data_dir=data_dir, port=port, interval_sec=seconds(interval))
    if as_json:
        until_told_to_end(run_demo(options, plan, for_sec, JsonScreen()))
        return
    with person_screen() as screen:
        until_told_to_end(run_demo(options, plan, for_sec, screen))
