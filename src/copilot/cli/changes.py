"""`copilot change`: report a change of a watched cluster, and list changes, at the running API."""

import contextlib
import json
from typing import Annotated, Any

import typer
from rich.text import Text
from whenever import SYSTEM_TZ, Instant

from copilot.cli.options import ApiOption, ConfigOption, JsonOption, duration
from copilot.cli.output import plain_console, print_lines
from copilot.cli.status import client_of

app = typer.Typer(help="Changes of the watched clusters: deploys, restarts, settings.", no_args_is_help=True)
ClusterOption = Annotated[str | None, typer.Option(metavar="NAME", help="The cluster; optional where there is one.")]
TOUCHES = ("deployment", "build", "task_queue", "namespace", "service", "instance")


@app.command()
def add(
    text: Annotated[str, typer.Argument(help="What changed, in one line.")],
    kind: Annotated[str, typer.Option(help="deploy, config, restart, scaling or other.")] = "deploy",
    cluster: ClusterOption = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="When it was made; by default now.")] = None,
    who: Annotated[str, typer.Option(metavar="NAME", help="Who made it; by default the token's name.")] = "",
    link: Annotated[str, typer.Option(metavar="URL", help="A page about it.")] = "",
    namespace: Annotated[str, typer.Option(metavar="NAME", help="The namespace it touches.")] = "",
    task_queue: Annotated[str, typer.Option(metavar="NAME", help="The task queue it touches.")] = "",
    deployment: Annotated[str, typer.Option(metavar="NAME", help="The worker deployment it touches.")] = "",
    build: Annotated[str, typer.Option(metavar="ID", help="The build id it brings.")] = "",
    service: Annotated[str, typer.Option(metavar="NAME", help="The server's service it touches: history, …")] = "",
    instance: Annotated[str, typer.Option(metavar="NAME", help="The process it touches.")] = "",
    api: ApiOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Report a change. Name what it touches: a change of the queue in trouble is shown first. The token, if the API
    needs one, is read from COPILOT_TOKEN; create it with `copilot token new NAME --changes`.

    Example: copilot change add "checkout 1.4.2" --deployment checkout --build b42"""
    given = {"text": text, "kind": kind, "cluster": cluster, "at": at, "who": who, "link": link,
             "namespace": namespace, "task_queue": task_queue, "deployment": deployment, "build": build,
             "service": service, "instance": instance}  # fmt: skip
    with contextlib.closing(client_of(api, config)) as client:
        stored = client.report({name: value for name, value in given.items() if value})
    if as_json:
        print(json.dumps(stored))
    else:
        print_lines(plain_console(), [Text(f"Stored for {stored['cluster']}: {stored['text']}")])


@app.command("list")
def list_changes(
    cluster: ClusterOption = None,
    within: Annotated[str, typer.Option("--within", metavar="DURATION", help="How far back, 24h by default.")] = "24h",
    api: ApiOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the changes of each cluster, reported and observed, the newest first. The API's token, if it needs one, is
    read from COPILOT_TOKEN.

    Example: copilot change list --cluster production --within 6h"""
    start = Instant.now().subtract(seconds=duration("--within", within)).format_iso()
    with contextlib.closing(client_of(api, config)) as client:
        answers = client.changes(cluster, start)
    for answer in answers:
        print(json.dumps(answer)) if as_json else print_lines(plain_console(), map(Text, listed(answer)))


def listed(answer: dict[str, Any]) -> list[str]:
    """What /changes says of one cluster in lines, its name in the first."""
    if answer["degraded_because"]:
        return [f"{answer['cluster']}  Degraded: {answer['degraded_because']}"]
    if not answer["changes"]:
        return [f"{answer['cluster']}  no changes"]
    lines = [_line(change) for change in answer["changes"]]
    return [answer["cluster"], *lines, *(["  … and older ones"] if answer["truncated"] else [])]


def _line(change: dict[str, Any]) -> str:
    at = Instant.parse_iso(change["at"]).to_tz(SYSTEM_TZ).format("YYYY-MM-DD HH:mm:ss")
    touches = ", ".join(f"{name.replace('_', ' ')} {change[name]}" for name in TOUCHES if change[name])
    by = f" by {change['who']}" if change["who"] else ""
    return f"  {at}  {change['kind']:<14}  {change['text']}{by}{f' ({touches})' if touches else ''}"
