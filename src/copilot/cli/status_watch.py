"""`copilot status --watch`: the state of the clusters, kept up to date until Ctrl-C."""

import contextlib
import json
import signal
import sys
import time
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text
from whenever import SYSTEM_TZ, Instant

from copilot.cli.asking import Asking
from copilot.cli.status_view import COLOURS, status_lines
from copilot.core.errors import SourceError

EVERY_SEC = 2.0


def watch_status(asking: Asking, cluster: str | None, *, as_json: bool) -> None:
    """Ask every two seconds until interrupted. On a terminal the screen shows what is so now; elsewhere, and with
    `as_json`, a line is printed whenever something else is said. The first question must be answered (SourceError); an
    API that goes away later is said, and asked again."""
    out = Console(highlight=False)
    for ending in (signal.SIGINT, signal.SIGTERM):  # Also where a shell had SIGINT ignored in the background.
        signal.signal(ending, signal.default_int_handler)
    with contextlib.closing(asking), contextlib.suppress(KeyboardInterrupt):
        first = asking.statuses(cluster)
        if as_json or not out.is_terminal:
            _lines(asking, cluster, first, as_json=as_json)
        else:
            _screen(asking, cluster, first, out)


def _screen(asking: Asking, cluster: str | None, answers: list[dict[str, Any]], out: Console) -> None:
    problem, heard = None, Instant.now()
    with Live(console=out, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            live.update(view(answers, problem, heard, Instant.now()), refresh=True)
            time.sleep(EVERY_SEC)
            try:
                answers, problem, heard = asking.statuses(cluster), None, Instant.now()
            except SourceError as error:
                problem = str(error)


def view(answers: list[dict[str, Any]], problem: str | None, heard: Instant, now: Instant) -> RenderableType:
    """The screen: what was answered at `heard`, and why nothing was answered since, if so."""
    clock = now.to_tz(SYSTEM_TZ).format("HH:mm:ss")
    parts: list[RenderableType] = [Text(f"Temporal SRE Copilot  {clock}  Ctrl-C ends", style="dim")]
    if problem is not None:
        silent = (now - heard).total("seconds")
        parts.append(
            Text(f" CONNECTION LOST for {silent:.0f} s: what you see is old. {problem} ", style="bold reverse")
        )
    if len(answers) > 1:
        parts.append(_counted(answers))
    for answer in answers:
        parts += [Text(""), *status_lines(answer)]
    return Group(*parts)


def _counted(answers: list[dict[str, Any]]) -> Text:
    states = [str(answer["health_state"]) for answer in answers]
    pieces = [(f"{states.count(state)} {state}", COLOURS.get(state, "")) for state in dict.fromkeys(states)]
    return Text("  ").join(Text(text, style=style) for text, style in pieces)


def _lines(asking: Asking, cluster: str | None, answers: list[dict[str, Any]], *, as_json: bool) -> None:
    told: dict[str, tuple[Any, ...]] = {}
    lost = False
    while True:
        for answer in answers:
            said = tuple(answer.get(k) for k in ("health_state", "stale", "bottleneck", "top_factor"))
            if told.get(answer["cluster"]) != said:
                told[answer["cluster"]] = said
                print(json.dumps(answer) if as_json else _line(answer), flush=True)
        time.sleep(EVERY_SEC)
        try:
            answers, lost = asking.statuses(cluster), False
        except SourceError as error:
            if not lost:
                print(f"copilot: {error}", file=sys.stderr, flush=True)
            lost = True


def _line(answer: dict[str, Any]) -> str:
    stale = ", stale" if answer.get("stale") else ""
    summary = " ".join(str(answer.get("summary") or "").split())
    return f"{answer.get('timestamp') or '–'}  {answer['cluster']}  {answer['health_state']}{stale}  {summary}"
