"""What commands ask of the running API."""

import asyncio
import contextlib
import json
import os
import signal
import ssl
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text
from whenever import SYSTEM_TZ, Instant

from copilot.cli.options import ConfigOption, JsonOption, settings_here
from copilot.errors import SettingsError, SourceError
from copilot.rules.signals.readings import MissingCode

ANSWER_SEC = 5.0


class Asking:
    """Asks the API at `base`; the token, where it wants one, is COPILOT_TOKEN's. `cert_file`: the API's own
    certificate, which is trusted too."""

    def __init__(self, base: str, cert_file: Path | None = None) -> None:
        import httpx

        token = os.environ.get("COPILOT_TOKEN", "").strip()
        if not token.isascii():
            raise SettingsError(["COPILOT_TOKEN is no token: `copilot token new NAME` makes one"])
        trusted = httpx.create_ssl_context()
        if cert_file is not None and base.startswith("https:"):
            with contextlib.suppress(OSError):  # ours may not be readable to whoever asks, and need not be
                trusted.load_verify_locations(cert_file)
                trusted.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self.base = base
        try:
            self._client: httpx.Client = httpx.Client(
                base_url=base, timeout=ANSWER_SEC, trust_env=False, headers=headers, verify=trusted
            )
        except httpx.InvalidURL as error:
            raise SettingsError([f"--api {base} is no address: write http://127.0.0.1:8765, say"]) from error

    def statuses(self, cluster: str | None = None) -> list[dict[str, Any]]:
        """/status of one cluster, or of all, the worst first. SourceError when nobody answers or there is no such
        cluster, SettingsError when the token is wrong."""
        import httpx

        try:
            names = [cluster] if cluster else [c["cluster"] for c in self._answer("/clusters", {})["clusters"]]
            answers = [self._answer("/status", {"cluster": name}) for name in names]
            return [answer for answer in answers if answer["health_state"]]
        except (KeyError, TypeError) as error:
            raise self._stranger(200) from error
        except httpx.HTTPError as error:
            raise SourceError(
                MissingCode.TARGET_DOWN,
                f"no answer from {self.base} ({str(error) or type(error).__name__}): does `copilot api` run there? "
                "--api says where it is",
            ) from error

    def models(self) -> dict[str, Any]:
        """What models took today; nothing where the API does not say."""
        import httpx

        try:
            return self._answer("/models", {})
        except (httpx.HTTPError, SourceError):
            return {}

    def close(self) -> None:
        """Give back the connections."""
        self._client.close()

    def _answer(self, path: str, parameters: dict[str, str]) -> dict[str, Any]:
        answer = self._client.get(path, params=parameters)
        try:
            body = answer.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise self._stranger(answer.status_code)
        if answer.status_code == 401:
            shown = "authorization" in self._client.headers
            why = (
                "does not know the token in COPILOT_TOKEN" if shown else "wants a token, which COPILOT_TOKEN is to hold"
            )
            raise SettingsError([f"{self.base} {why}"])
        if answer.status_code != 200:
            error = body.get("error")
            if not isinstance(error, dict) or "message" not in error:
                raise self._stranger(answer.status_code)
            raise SourceError(MissingCode.ABSENT, str(error["message"]))
        return body

    def _stranger(self, status: int) -> SourceError:
        return SourceError(MissingCode.PARSE, f"what answers at {self.base} (HTTP {status}) is not the Copilot's API")


if TYPE_CHECKING:
    from copilot.loops.live import LoopReport

COLOURS = {"happy": "green", "stressed": "yellow", "critical": "bold red", "unknown": "magenta"}


def print_status(status: dict[str, Any], console: Console | None = None) -> None:
    """State, since when, summary, fired gates and advice."""
    out = console or Console(highlight=False)
    for line in status_lines(status):
        out.print(line)


def status_lines(status: dict[str, Any]) -> list[RenderableType]:
    """The same, to be put where it is wanted."""
    state = str(status["health_state"])
    line = Text.assemble((str(status["cluster"]), "bold"), "  ", (f"● {state.upper()}", COLOURS.get(state, "")))
    if status.get("stale"):
        line.append("  stale", style="magenta")
    if since := status.get("since"):
        line.append(f"  since {_time(since)}")
    if (age := status.get("age_sec")) is not None:
        line.append(f", evaluated {age:.0f} s ago", style="dim")
    lines: list[RenderableType] = [line, Text(str(status.get("summary") or ""))]
    if why := status.get("degraded_because"):
        lines.append(Text(f"Degraded: {why}", style="magenta"))
    fired = [gate for gate in status.get("gates", ()) if gate["fired"]]
    if fired:
        lines.append(_gates(fired))
    for number, action in enumerate(status.get("recommended_actions", ()), start=1):
        lines.append(Text(f"{number}. {action['description']} ({action['action_type']}, risk {action['risk_level']})"))
    return lines


def print_models(today: dict[str, Any], console: Console | None = None) -> None:
    """One line on what models took today, if there are any."""
    spent = today.get("spent")
    if not spent or not (spent["calls"] or today["daily_usd"]):
        return
    tokens = spent["input_tokens"] + spent["output_tokens"]
    cap = f" of ${today['daily_usd']:.2f}" if today["daily_usd"] else ""
    unserved = f", {spent['unserved']} not served" if spent["unserved"] else ""
    said = f"Models today: {spent['calls']} calls{unserved}, {tokens:,} tokens, ${spent['cost_usd']:.2f}{cap}"
    (console or Console(highlight=False)).print(Text(said, style="dim"))


def print_loops(loops: "Iterable[LoopReport]", console: Console | None = None) -> None:
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
    from copilot.explain.numbers import quantity

    return quantity(value, unit)


def _time(text: str) -> str:
    return Instant.parse_iso(text).to_tz(SYSTEM_TZ).format("YYYY-MM-DD HH:mm:ss")


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


if TYPE_CHECKING:
    from copilot.settings.load import Settings

BAD_NEWS = ("stressed", "critical", "unknown")


def status(
    cluster: Annotated[str | None, typer.Option(metavar="NAME", help="Only this cluster.")] = None,
    api: Annotated[str | None, typer.Option(metavar="URL", help="Where the API is; otherwise from the config.")] = None,
    config: ConfigOption = None,
    loops: Annotated[
        bool, typer.Option("--loops", help="How the Copilot's own loops do instead; asks its Temporal, not its API.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on until Ctrl-C; a line for each change where nobody looks on.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print the state of the watched clusters, since when, why, and what to do. Exit 1 when one is not happy; with
    --loops, when a loop does not run or no worker answers for it. The API's token, where it wants one, is read from
    COPILOT_TOKEN. With --watch the screen is kept up to date until Ctrl-C, the worst cluster first. Without a
    configuration it asks the demo that runs.

    Example: copilot status --cluster production

    Example: copilot status --watch"""
    from copilot.settings.load import load_settings

    settings = settings_here(config) if api is None or loops else load_settings(config)
    if loops:
        _loops(settings, cluster, as_json=as_json)
        return
    base = api or f"{settings.api.scheme}://{settings.api.host_here}:{settings.api.port}"
    asking = Asking(base.rstrip("/"), settings.api.cert_file)
    if watch:
        watch_status(asking, cluster, as_json=as_json)
        return
    with contextlib.closing(asking):
        answers = asking.statuses(cluster)
        models = {} if as_json else asking.models()
    if as_json:
        for answer in answers:
            print(json.dumps(answer))
    else:
        for answer in answers:
            print_status(answer)
        print_models(models)
    if any(answer["health_state"] in BAD_NEWS for answer in answers):
        raise typer.Exit(1)


def _loops(settings: "Settings", cluster: str | None, *, as_json: bool) -> None:
    from copilot.loops.live import loop_reports

    found = asyncio.run(loop_reports(settings, cluster))
    if not found:
        raise SettingsError(
            [f"the configuration has no cluster named {cluster!r}" if cluster else "no cluster is configured"]
        )
    if as_json:
        for loop in found:
            print(json.dumps(asdict(loop)))
    else:
        print_loops(found)
    if not all(loop.well for loop in found):
        raise typer.Exit(1)
