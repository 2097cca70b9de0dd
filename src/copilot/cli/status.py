"""`copilot status`: the state of the watched clusters from the running API, once or continuously, and of the loops."""

import asyncio
import contextlib
import json
import os
import signal
import ssl
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text
from whenever import SYSTEM_TZ, Instant

from copilot.cli.options import ApiOption, ConfigOption, JsonOption, configuration, current_settings
from copilot.cli.output import STATE_STYLES, plain_console, say
from copilot.errors import SettingsError, SourceError
from copilot.explain.numbers import quantity
from copilot.rules.signals.readings import MissingCode

if TYPE_CHECKING:
    from copilot.loops.live import LoopReport
    from copilot.settings.load import Settings

Status = dict[str, Any]
"""The body of GET /status."""

TIMEOUT_SEC = 5.0
WATCH_INTERVAL_SEC = 2.0
BAD_NEWS = ("stressed", "critical", "unknown")


def status(
    cluster: Annotated[str | None, typer.Option(metavar="NAME", help="Only this cluster.")] = None,
    api: ApiOption = None,
    config: ConfigOption = None,
    loops: Annotated[
        bool, typer.Option("--loops", help="Show the Copilot's own loops (from its Temporal server).")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep running until Ctrl-C; print one line per change when not a terminal.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print the state of the watched clusters, since when, why, and what to do. Exit 1 when one is not happy; with
    --loops, when a loop does not run or has no worker. The API's token, if it needs one, is read from COPILOT_TOKEN.
    Without a configuration it shows the running demo.

    Example: copilot status --cluster production

    Example: copilot status --watch"""
    settings = current_settings(config) if api is None or loops else configuration(config)
    if loops:
        from copilot.loops.live import loop_reports

        reports = asyncio.run(loop_reports(settings, cluster))
        if not reports:
            raise SettingsError([f"no cluster is named {cluster!r}" if cluster else "no cluster is configured"])
        if as_json:
            print(*(json.dumps(asdict(report)) for report in reports), sep="\n")
        else:
            print_loops(reports, plain_console())
        if not all(report.well for report in reports):
            raise typer.Exit(1)
        return
    client = api_client(settings, api)
    if watch:
        _watch(client, cluster, as_json=as_json)
        return
    with contextlib.closing(client):
        statuses = client.statuses(cluster)
        models = {} if as_json else client.models()
    out = plain_console()
    for each in statuses:
        print(json.dumps(each)) if as_json else print_status(each, out)
    print_models(models, out)
    if any(each["health_state"] in BAD_NEWS for each in statuses):
        raise typer.Exit(1)


def client_of(api: str | None, config: Path | None) -> "ApiClient":
    """A client of the API at this address, else of the one that the configuration or what runs here names."""
    return api_client(current_settings(config) if api is None else configuration(config), api)


def api_client(settings: "Settings", api: str | None) -> "ApiClient":
    """A client of the API at this address, else at the configured one."""
    return ApiClient((api or settings.api.url_here).rstrip("/"), settings.api.cert_file)


class ApiClient:
    """A client of the API at `base`, with the token in COPILOT_TOKEN, if any. `cert_file`: the API's own certificate,
    which is trusted too. SettingsError if the address or the token is invalid."""

    def __init__(self, base: str, cert_file: Path | None = None) -> None:
        import httpx

        token = os.environ.get("COPILOT_TOKEN", "").strip()
        if not token.isascii():
            raise SettingsError(["COPILOT_TOKEN is not a token: create one with `copilot token new NAME`"])
        trusted = httpx.create_ssl_context()
        if cert_file is not None and base.startswith("https:"):
            with contextlib.suppress(OSError):  # The user may be unable to read it, and need not be able to.
                trusted.load_verify_locations(cert_file)
                trusted.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self.base = base
        try:
            self._client: httpx.Client = httpx.Client(
                base_url=base, timeout=TIMEOUT_SEC, trust_env=False, headers=headers, verify=trusted
            )
        except httpx.InvalidURL as error:
            raise SettingsError([f"--api {base} is not a valid URL: write http://127.0.0.1:8765"]) from error

    def statuses(self, cluster: str | None = None) -> list[Status]:
        """/status of one cluster, or of all, the worst first. SourceError if there is no response or no such cluster,
        SettingsError if the token is wrong."""
        return self._of_each("/status", cluster)

    def targets(self, cluster: str | None = None) -> list[dict[str, Any]]:
        """/targets of one cluster, or of all, the worst first. Raises as `statuses` does."""
        return self._of_each("/targets", cluster)

    def changes(self, cluster: str | None, start: str) -> list[dict[str, Any]]:
        """/changes of one cluster, or of all. Raises as `statuses` does."""
        return self._of_each("/changes", cluster, "changes", start=start)

    def silences(self, cluster: str | None, **parameters: str) -> list[dict[str, Any]]:
        """/silences of one cluster, or of all. Raises as `statuses` does."""
        return self._of_each("/silences", cluster, "silences", **parameters)

    def report(self, change: dict[str, Any]) -> dict[str, Any]:
        """POST a change; returns it as it is stored. Raises as `statuses` does."""
        return self.post("/changes", change)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST an object; returns the answer's. Raises as `statuses` does."""
        return self._request("POST", path, json=body)

    def _of_each(
        self, path: str, cluster: str | None, key: str = "health_state", **parameters: str
    ) -> list[dict[str, Any]]:
        try:
            names = [cluster] if cluster else [c["cluster"] for c in self.get("/clusters")["clusters"]]
            answers = [self.get(path, cluster=name, **parameters) for name in names]
            return [each for each in answers if each[key] is not None]
        except (KeyError, TypeError) as error:
            raise self._not_ours(200) from error

    def models(self) -> dict[str, Any]:
        """Today's usage of models; empty where the API does not report it."""
        try:
            return self.get("/models")
        except SourceError:
            return {}

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, path: str, **parameters: str) -> dict[str, Any]:
        """The body of a GET. Raises as `statuses` does."""
        return self._request("GET", path, params=parameters)

    def _request(self, method: str, path: str, **given: Any) -> dict[str, Any]:
        import httpx

        try:
            response = self._client.request(method, path, **given)
            status, body = response.status_code, response.json()
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            problem = (
                f"no response from {self.base} ({reason}): does `copilot api` run there? Set the address with --api"
            )
            raise SourceError(MissingCode.TARGET_DOWN, problem) from error
        except ValueError as error:
            raise self._not_ours(response.status_code) from error
        match status, body:
            case 200 | 201, dict():
                return dict(body)
            case 401, dict():
                sent = "authorization" in self._client.headers
                raise SettingsError([f"{self.base} {'rejects the' if sent else 'needs a'} token in COPILOT_TOKEN"])
            case 403, {"error": {"message": message}}:
                raise SettingsError([f"COPILOT_TOKEN: {message}"])
            case _, {"error": {"message": message}}:
                raise SourceError(MissingCode.ABSENT, str(message))
        raise self._not_ours(status)

    def _not_ours(self, status: int) -> SourceError:
        return SourceError(MissingCode.PARSE, f"the server at {self.base} (HTTP {status}) is not the Copilot's API")


def print_status(status: Status, out: Console) -> None:
    """Print state, since when, summary, firing gates and actions."""
    for line in _status_lines(status):
        out.print(line)


def _status_lines(status: Status) -> list[RenderableType]:
    state = str(status["health_state"])
    line = Text.assemble((str(status["cluster"]), "bold"), "  ", (f"● {state.upper()}", STATE_STYLES.get(state, "")))
    if status.get("stale"):
        line.append("  stale", style="magenta")
    if since := status.get("since"):
        line.append(f"  since {Instant.parse_iso(since).to_tz(SYSTEM_TZ).format('YYYY-MM-DD HH:mm:ss')}")
    if (age := status.get("age_sec")) is not None:
        line.append(f", evaluated {age:.0f} s ago", style="dim")
    lines: list[RenderableType] = [line, Text(str(status.get("summary") or ""))]
    if muted := status.get("muted"):
        lines.append(Text(muted["sentence"], style="dim"))
    if late := status.get("freshness"):
        lines.append(Text(f"{late[0].upper()}{late[1:]}.", style="dim"))
    if why := status.get("degraded_because"):
        lines.append(Text(f"Degraded: {why}", style="magenta"))
    if firing := [gate for gate in status.get("gates", ()) if gate["fired"]]:
        lines.append(_gates(firing))
    lines += [Text(change["sentence"].replace("`", ""), style="dim") for change in status.get("changes", ())]
    for number, action in enumerate(status.get("recommended_actions", ()), start=1):
        lines.append(Text(f"{number}. {action['description']} ({action['action_type']}, risk {action['risk_level']})"))
    return lines


def _gates(firing: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("firing gate", "value", "threshold", ""):
        table.add_column(column, no_wrap=column != "", justify="right" if column in ("value", "threshold") else "left")
    for gate in firing:
        value, threshold = (quantity(gate[key], str(gate.get("unit") or "")) for key in ("value", "threshold"))
        style = "red" if gate["severity"] == "critical" else "yellow"
        table.add_row(Text(gate["name"], style=style), value, threshold, Text(gate.get("sentence") or ""))
    return table


def print_models(today: dict[str, Any], out: Console) -> None:
    """Print a line about today's usage of models, if there is any."""
    spent = today.get("spent")
    if not spent or not (spent["calls"] or today["daily_usd"]):
        return
    tokens = spent["input_tokens"] + spent["output_tokens"]
    cap = f" of ${today['daily_usd']:.2f}" if today["daily_usd"] else ""
    unserved = f", {spent['unserved']} without an answer" if spent["unserved"] else ""
    line = f"Models today: {spent['calls']} calls{unserved}, {tokens:,} tokens, ${spent['cost_usd']:.2f}{cap}"
    out.print(Text(line, style="dim"))


def _watch(client: ApiClient, cluster: str | None, *, as_json: bool) -> None:
    """Poll until interrupted. On a terminal the screen shows the current state; elsewhere, and with `as_json`, each
    change is a line. SourceError if the first request fails; later failures are shown and retried."""
    for ending in (signal.SIGINT, signal.SIGTERM):  # Also where a shell ignores SIGINT in the background.
        signal.signal(ending, signal.default_int_handler)
    with contextlib.closing(client), contextlib.suppress(KeyboardInterrupt):
        polls = _poll(client, cluster)
        out = plain_console()
        if as_json or not out.is_terminal:
            _watch_lines(polls, as_json=as_json)
            return
        received = Instant.now()
        with Live(console=out, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
            for statuses, problem in polls:
                received = Instant.now() if problem is None else received
                live.update(watch_view(statuses, problem, received, Instant.now()), refresh=True)


def _poll(client: ApiClient, cluster: str | None) -> Iterator[tuple[list[Status], str | None]]:
    """The newest statuses, and why there are no newer ones (None: they are new)."""
    statuses, problem = client.statuses(cluster), None
    while True:
        yield statuses, problem
        time.sleep(WATCH_INTERVAL_SEC)
        try:
            statuses, problem = client.statuses(cluster), None
        except SourceError as error:
            problem = str(error)


def _watch_lines(polls: Iterable[tuple[list[Status], str | None]], *, as_json: bool) -> None:
    printed: dict[str, tuple[Any, ...]] = {}
    lost = False
    for statuses, problem in polls:
        if problem is not None and not lost:
            say(f"copilot: {problem}", stderr=True)
        lost = problem is not None
        for each in statuses:
            verdict = tuple(each.get(k) for k in ("health_state", "stale", "bottleneck", "top_factor"))
            if printed.get(each["cluster"]) != verdict:
                printed[each["cluster"]] = verdict
                stale = ", stale" if each.get("stale") else ""
                summary = " ".join(str(each.get("summary") or "").split())
                line = f"{each.get('timestamp') or '–'}  {each['cluster']}  {each['health_state']}{stale}  {summary}"
                say(json.dumps(each) if as_json else line)


def watch_view(statuses: list[Status], problem: str | None, received: Instant, now: Instant) -> RenderableType:
    """The screen of --watch: the statuses received last, and why there are no newer ones (None: there are)."""
    clock = now.to_tz(SYSTEM_TZ).format("HH:mm:ss")
    parts: list[RenderableType] = [Text(f"Temporal SRE Copilot  {clock}  Ctrl-C ends", style="dim")]
    if problem is not None:
        lost = (now - received).total("seconds")
        parts.append(Text(f" CONNECTION LOST for {lost:.0f} s: this view is old. {problem} ", style="bold reverse"))
    if len(statuses) > 1:
        states = [str(each["health_state"]) for each in statuses]
        counts = [Text(f"{states.count(s)} {s}", style=STATE_STYLES.get(s, "")) for s in dict.fromkeys(states)]
        parts.append(Text("  ").join(counts))
    for each in statuses:
        parts += [Text(""), *_status_lines(each)]
    return Group(*parts)


def print_loops(loops: "Iterable[LoopReport]", out: Console) -> None:
    """Print a line per loop, and below it what is wrong."""
    for loop in loops:
        line = Text.assemble((loop.workflow_id, "bold"), "  ", (f"● {loop.state}", "green" if loop.well else "red"))
        details = [
            f"release {loop.release}" if loop.release else "",
            "" if loop.cycles is None else f"{loop.cycles} cycle{'' if loop.cycles == 1 else 's'}",
            f"{loop.pending} snapshot{'' if loop.pending == 1 else 's'} not stored yet" if loop.pending else "",
        ]
        if text := ", ".join(filter(None, details)):
            line.append(f"  {text}", style="dim")
        out.print(line)
        if loop.problem:
            out.print(Text(f"  {loop.problem}", style="magenta"))
