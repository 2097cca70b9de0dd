"""`copilot ack`, `copilot silence` and `copilot maintenance`: what holds back notifications, at the running API."""

import contextlib
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text
from whenever import SYSTEM_TZ, Instant

from copilot.cli.options import ApiOption, ClusterOption, ConfigOption, JsonOption, duration, moment
from copilot.cli.output import plain_console, print_lines
from copilot.cli.status import client_of

app = typer.Typer(help="Silences: what is known notifies no one, for a while.", no_args_is_help=True)
planned = typer.Typer(help="Maintenance windows: planned silences, once or weekly.", no_args_is_help=True)

ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, in one line.")]
OwnerOption = Annotated[str, typer.Option("--owner", metavar="NAME", help="Who has it; by default the token's name.")]
FindingOption = Annotated[str, typer.Option("--finding", metavar="NAME", help="Only this finding: no_pollers, …")]
NamespaceOption = Annotated[str, typer.Option("--namespace", metavar="NAME", help="Only in this namespace.")]
QueueOption = Annotated[str, typer.Option("--queue", metavar="NAME", help="Only on this task queue.")]
ForOption = Annotated[str, typer.Option("--for", metavar="DURATION", help="How long: 30m, 2h, 7d; at most 30d.")]


def ack(
    incident: Annotated[str, typer.Argument(metavar="[INCIDENT]", help="By default the open one.")] = "",
    lasting: ForOption = "4h",
    reason: ReasonOption = "acknowledged",
    owner: OwnerOption = "",
    cluster: ClusterOption = None,
    api: ApiOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Acknowledge what is wrong now: someone has it. No notifications until it gets worse, is resolved, or the time is
    over. The API's token, if it needs one, is read from COPILOT_TOKEN.

    Example: copilot ack --for 4h --reason "restarting the workers" """
    given = {"incident": incident, "end": _after(Instant.now(), lasting), "reason": reason, "owner": owner}
    _make("/acks", given | {"cluster": cluster}, api, config, as_json=as_json)


@app.command()
def add(
    lasting: ForOption,
    reason: ReasonOption,
    finding: FindingOption = "",
    cluster: ClusterOption = None,
    namespace: NamespaceOption = "",
    queue: QueueOption = "",
    keep_when_worse: Annotated[bool, typer.Option("--keep-when-worse", help="Stay silent when it gets worse.")] = False,
    keep_when_resolved: Annotated[bool, typer.Option("--keep-when-resolved", help="Stay when it is resolved.")] = False,
    owner: OwnerOption = "",
    api: ApiOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Silence a cluster, or a finding, namespace or queue of it. It ends early when the state gets worse, when there is
    a new finding, and when the cluster is happy. The API's token, if it needs one, is read from COPILOT_TOKEN.

    Example: copilot silence add --finding no_pollers --for 2h --reason "rollout of checkout" """
    given = {"finding": finding, "cluster": cluster, "namespace": namespace, "task_queue": queue, "reason": reason,
             "owner": owner, "end": _after(Instant.now(), lasting), "keep_when_worse": keep_when_worse,
             "keep_when_resolved": keep_when_resolved}  # fmt: skip
    _make("/silences", given, api, config, as_json=as_json)


@planned.command("add")
def plan(
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="2026-12-05T22:00:00Z, a date (UTC), or now.")],
    lasting: ForOption,
    reason: ReasonOption,
    weekly: Annotated[bool, typer.Option("--weekly", help="Again each week, at the same time of day.")] = False,
    until: Annotated[str, typer.Option(metavar="TIME", help="The last week; by default in 12 weeks.")] = "",
    zone: Annotated[str, typer.Option(metavar="ZONE", help="Time zone of a weekly window's time of day.")] = "UTC",
    finding: FindingOption = "",
    cluster: ClusterOption = None,
    namespace: NamespaceOption = "",
    queue: QueueOption = "",
    owner: OwnerOption = "",
    api: ApiOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Plan maintenance. The verdict does not change; when the window ends, what is firing is notified, and each
    channel gets a list of what was held back. The API's token, if it needs one, is read from COPILOT_TOKEN.

    Example: copilot maintenance add --from 2026-12-05T22:00:00Z --for 2h --weekly --reason "database upgrade" """
    begins, now = moment("--from", start, Instant.now()), Instant.now()
    given = {"kind": "maintenance", "finding": finding, "cluster": cluster, "namespace": namespace,
             "task_queue": queue, "reason": reason, "owner": owner, "start": begins.format_iso(),
             "end": _after(begins, lasting), "weekly": weekly, "zone": zone,
             "until": moment("--until", until, now).format_iso() if until else ""}  # fmt: skip
    _make("/silences", given, api, config, as_json=as_json)


@app.command("list")
def list_mutes(
    every: Annotated[bool, typer.Option("--all", help="Those that are over too.")] = False,
    cluster: ClusterOption = None,
    api: ApiOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what is muted, acknowledgements and maintenance too, and what each mute has held back, the newest first.
    The API's token, if it needs one, is read from COPILOT_TOKEN.

    Example: copilot silence list --all"""
    with contextlib.closing(client_of(api, config)) as client:
        answers = client.silences(cluster, **({"all": "true"} if every else {}))
    for answer in answers:
        print(json.dumps(answer)) if as_json else print_lines(plain_console(), map(Text, listed(answer)))


@app.command()
def end(
    mute_id: Annotated[str, typer.Argument(metavar="ID", help="As `copilot silence list` shows it.")],
    api: ApiOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a silence, an acknowledgement or maintenance now. What is firing is notified. The API's token, if it needs
    one, is read from COPILOT_TOKEN.

    Example: copilot silence end silence-3fa94c1b"""
    _make(f"/silences/{mute_id}/end", {}, api, config, as_json=as_json)


def _after(start: Instant, lasting: str) -> str:
    return start.add(seconds=duration("--for", lasting)).format_iso()


def _make(path: str, given: dict[str, Any], api: str | None, config: Path | None, *, as_json: bool) -> None:
    with contextlib.closing(client_of(api, config)) as client:
        made = client.post(path, {name: value for name, value in given.items() if value})
    print(json.dumps(made)) if as_json else print_lines(plain_console(), map(Text, _lines(made)))


def listed(answer: dict[str, Any]) -> list[str]:
    """What /silences says of one cluster in lines, its name in the first."""
    if answer["degraded_because"]:
        return [f"{answer['cluster']}  Degraded: {answer['degraded_because']}"]
    lines = [f"  {text}" for mute in answer["silences"] for text in _lines(mute)]
    lines += [f"  silenced at Alertmanager: {link}" for link in answer["alertmanager"]]
    return [answer["cluster"], *lines] if lines else [f"{answer['cluster']}  nothing is muted"]


def _lines(mute: dict[str, Any]) -> list[str]:
    matcher = mute["matcher"]
    about = ", ".join(filter(None, (matcher["finding"], matcher["task_queue"], matcher["namespace"]))) or "everything"
    when = (
        f"until {_clock(mute['end'])}"
        if mute["state"] == "active"
        else f"{_clock(mute['start'])} to {_clock(mute['end'])}"
    )
    when += f", weekly until {_clock(mute['until'])}" if mute["weekly"] else ""
    ended = f" (ended {_clock(mute['ended_at'])}: {mute['ended_because']})" if mute["ended_at"] else ""
    first = f"{mute['id']}  {mute['state']:<7}  {matcher['cluster']}: {about}, {when}{ended}"
    held = [
        f"  held back {_clock(h['at'])}: {h['kind']}, {h['health_state']}, {h['channel']}" for h in mute["held_back"]
    ]
    said = [f"  by {mute['owner']}: {mute['reason']}", *held, *([f"  {mute['note']}"] if mute["note"] else [])]
    return [first, *said]


def _clock(time: str) -> str:
    return Instant.parse_iso(time).to_tz(SYSTEM_TZ).format("YYYY-MM-DD HH:mm")
