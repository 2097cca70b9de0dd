"""A diagnosis for people, and how doctor shows that it is at work (on stderr)."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from copilot.core.diagnosis import Check, ClusterDiagnosis, Diagnosis, SignalFound, SignalStatus
from copilot.core.taxonomy import Kind

if TYPE_CHECKING:
    from copilot.core.signals import Signals

STYLES = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}
TITLES: dict[Kind, str] = {"primary": "Primary signals", "amplifier": "Amplifiers", "worker": "Worker signals"}
UNITS = {"ratio": "", "count": "", "percent": "%"}


def print_diagnosis(diagnosis: Diagnosis, console: Console | None = None) -> None:
    """Checks, signals and coverage of every cluster, and last whether verdicts can be trusted."""
    out = console or Console(highlight=False, markup=False)
    out.print(_checks("The Copilot", diagnosis.own))
    for cluster in diagnosis.clusters:
        out.print()
        out.print(_checks(f"Cluster {cluster.cluster}", cluster.checks))
        shares = (cluster.coverage.primary, cluster.coverage.amplifiers, cluster.coverage.worker)
        for (kind, title), share in zip(TITLES.items(), shares, strict=True):
            out.print()
            out.print(_signals(title, share, [s for s in cluster.signals if s.kind == kind]))
    out.print()
    for cluster in diagnosis.clusters:
        out.print(_conclusion(cluster))


def _checks(title: str, checks: tuple[Check, ...]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="fold")
    table.add_column(ratio=1)
    for check in checks:
        said = Text(check.found)
        if check.fix:
            said.append(f"\n→ {check.fix}", style="dim")
        table.add_row(Text(check.status.value, style=STYLES[check.status.value]), check.name, said)
    return table


def _signals(title: str, share: float | None, signals: list[SignalFound]) -> Table:
    coverage = "none is expected" if share is None else f"{share:.0%} of those expected are read"
    heading = Text.assemble((title, "bold"), f": {coverage}")
    table = Table(title=heading, title_justify="left", title_style="", box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(ratio=1)
    hinted: set[str] = set()
    before: Text | None = None
    for signal in signals:
        why = _why(signal, with_hint=signal.hint not in hinted)
        lacks = signal.status not in (SignalStatus.VALUE, SignalStatus.NO_TRAFFIC)
        again = lacks and before is not None and _why(signal, with_hint=True).plain == before.plain
        table.add_row(signal.id, _value(signal), Text("as above", style="dim") if again else why)
        if lacks:
            hinted.add(signal.hint)
            before = _why(signal, with_hint=True)
    return table


def _value(signal: SignalFound) -> Text:
    match signal.status:
        case SignalStatus.VALUE if signal.unit == "bool":
            return Text("yes" if signal.value else "no")
        case SignalStatus.VALUE:
            return Text(f"{_number(signal.value or 0.0)} {UNITS.get(signal.unit, signal.unit)}".rstrip())
        case SignalStatus.NO_TRAFFIC:
            return Text("no traffic", style="dim")
        case SignalStatus.MISSING:
            return Text("missing", style="yellow")
        case SignalStatus.UNMEASURED:
            return Text("–", style="dim")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _why(signal: SignalFound, *, with_hint: bool) -> Text:
    match signal.status:
        case SignalStatus.VALUE | SignalStatus.NO_TRAFFIC:
            return Text(f"by {signal.source}" if signal.source else "", style="dim")
        case SignalStatus.UNMEASURED:
            return Text(signal.hint, style="dim")
        case SignalStatus.MISSING:
            return Text(signal.why).append(f"\n→ {signal.hint}" if with_hint else "", style="dim")


def _conclusion(cluster: ClusterDiagnosis) -> Text:
    if not cluster.distrust:
        return Text(f"{cluster.cluster}: a verdict can be trusted", style="green")
    return Text(f"{cluster.cluster}: a verdict could not be trusted: {'; '.join(cluster.distrust)}", style="bold red")


@contextmanager
def reading_shown() -> Iterator[Callable[[str, float, float], None]]:
    """Show how far the readings are: a bar per cluster on a terminal, else a line per cluster."""
    console = Console(stderr=True, highlight=False)
    tasks: dict[str, TaskID] = {}
    if not sys.stderr.isatty():

        def say(cluster: str, elapsed: float, total: float) -> None:
            if not elapsed:
                console.print(f"reading {cluster} for {total:.0f} s", soft_wrap=True)

        yield say
        return
    columns = (TextColumn("reading {task.description} for {task.total:.0f} s"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bars:

        def show(cluster: str, elapsed: float, total: float) -> None:
            if cluster not in tasks:
                tasks[cluster] = bars.add_task(cluster, total=total)
            bars.update(tasks[cluster], completed=elapsed)

        yield show


@contextmanager
def recording_shown(file: Path, for_sec: float) -> Iterator[Callable[[int, "Signals"], None]]:
    """Say on stderr what is being recorded, and at the end how much there is, however it ends."""
    console = Console(stderr=True, highlight=False)
    written = 0

    def show(number: int, tick: "Signals") -> None:
        nonlocal written
        if not written:
            console.print(
                f"recording to {file} for {for_sec:g} s; Ctrl-C ends it and keeps what was read", soft_wrap=True
            )
        written = number
        read = sum(tick.covered(i) for i in tick.readings)
        line = f"{tick.time.format_iso()[11:19]}  tick {number}: {read} of {len(tick.readings)} signals"
        console.print(line, soft_wrap=True, end="\r" if console.is_terminal else "\n")

    try:
        yield show
    finally:
        if written:
            console.print(
                f"{file} holds {written} ticks: copilot replay --recording {file} judges them", soft_wrap=True
            )
