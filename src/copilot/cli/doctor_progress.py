"""How doctor shows that it is at work: on stderr, so that what it prints can be piped."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from copilot.core.signals import Signals


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
