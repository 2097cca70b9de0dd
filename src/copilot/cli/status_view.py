"""A status for people."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from whenever import SYSTEM_TZ, Instant

if TYPE_CHECKING:
    from copilot.loops import LoopSeen

COLOURS = {"happy": "green", "stressed": "yellow", "critical": "bold red", "unknown": "magenta"}


def print_status(status: dict[str, Any], console: Console | None = None) -> None:
    """State, since when, summary, fired gates and advice."""
    out = console or Console(highlight=False)
    state = str(status["health_state"])
    line = Text.assemble((str(status["cluster"]), "bold"), "  ", (f"● {state.upper()}", COLOURS.get(state, "")))
    if status.get("stale"):
        line.append("  stale", style="magenta")
    if since := status.get("since"):
        line.append(f"  since {_time(since)}")
    if (age := status.get("age_sec")) is not None:
        line.append(f", evaluated {age:.0f} s ago", style="dim")
    out.print(line)
    out.print(Text(str(status.get("summary") or "")))
    if why := status.get("degraded_because"):
        out.print(Text(f"Degraded: {why}", style="magenta"))
    fired = [gate for gate in status.get("gates", ()) if gate["fired"]]
    if fired:
        out.print(_gates(fired))
    for number, action in enumerate(status.get("recommended_actions", ()), start=1):
        out.print(Text(f"{number}. {action['description']} ({action['action_type']}, risk {action['risk_level']})"))


def print_loops(loops: "Iterable[LoopSeen]", console: Console | None = None) -> None:
    """One line a loop, and under it what is wrong."""
    out = console or Console(highlight=False)
    for loop in loops:
        line = Text.assemble((loop.workflow_id, "bold"), "  ", (f"● {loop.state}", "green" if loop.well else "red"))
        said = [
            f"release {loop.release}" if loop.release else "",
            "" if loop.cycles is None else f"{loop.cycles} cycle{'' if loop.cycles == 1 else 's'}",
            f"{loop.pending} snapshot{' waits' if loop.pending == 1 else 's wait'} for the store"
            if loop.pending
            else "",
        ]
        if words := ", ".join(s for s in said if s):
            line.append(f"  {words}", style="dim")
        out.print(line)
        if loop.problem:
            out.print(Text(f"  {loop.problem}", style="magenta"))


def _gates(fired: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("fired gate", "value", "threshold", ""):
        table.add_column(column, no_wrap=column != "", justify="right" if column in ("value", "threshold") else "left")
    for gate in fired:
        unit = str(gate.get("unit") or "")
        style = "red" if gate["severity"] == "critical" else "yellow"
        name = Text(gate["name"], style=style)
        table.add_row(name, _number(gate["value"], unit), _number(gate["threshold"], unit), gate.get("sentence") or "")
    return table


def _number(value: float | None, unit: str) -> str:
    from copilot.core.figures import quantity

    return quantity(value, unit)


def _time(text: str) -> str:
    return Instant.parse_iso(text).to_tz(SYSTEM_TZ).format("YYYY-MM-DD HH:mm:ss")
