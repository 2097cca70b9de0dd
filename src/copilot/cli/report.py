"""`copilot report`: what a shift hands over, from the running API."""

import contextlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text
from whenever import Instant

from copilot.cli import changes, incident, mutes
from copilot.cli.options import ApiOption, ClusterOption, ConfigOption, JsonOption, duration
from copilot.cli.output import plain_console, print_lines
from copilot.cli.status import client_of

if TYPE_CHECKING:
    from copilot.cli.status import ApiClient


def report(
    since: Annotated[str, typer.Option(metavar="DURATION", help="The shift: how far to look back.")] = "12h",
    cluster: ClusterOption = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a ticket or a chat.")] = False,
    api: ApiOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what a shift hands over, cluster by cluster: the state, incidents, what is muted and what that has held
    back, what is near a limit, and what changed. All of it is by rules. The API's token, if it needs one, is read from
    COPILOT_TOKEN. Exit code 1: a cluster is not happy.

    Example: copilot report --since 12h

    Example: copilot report --since 7d --markdown > handover.md"""
    start = Instant.now().subtract(seconds=min(duration("--since", since), incident.LONGEST_SEC)).format_iso()
    with contextlib.closing(client_of(api, config)) as client:
        found = [_of(client, status, start) for status in client.statuses(cluster)]
    if as_json:
        print(json.dumps({"start": start, "clusters": found}))
    else:
        for each in found:
            print_lines(plain_console(), map(Text, _lines(each, since, markdown=markdown)))
    if any(each["status"]["health_state"] != "happy" for each in found):
        raise typer.Exit(1)


def _of(client: "ApiClient", status: dict[str, Any], start: str) -> dict[str, Any]:
    from copilot.rules.findings.limits import NEAR_LIMIT
    from copilot.rules.findings.workers import HISTORY_TOO_LONG

    name, limits = status["cluster"], (NEAR_LIMIT.name, HISTORY_TOO_LONG.name)
    issues = client.get("/status/issues", cluster=name)["issues"]
    return {
        "status": {key: status[key] for key in ("cluster", "health_state", "since", "summary", "degraded_because")},
        "incidents": client.get("/incidents", cluster=name, start=start)["incidents"],
        "muted": client.silences(name)[0],
        "limits": [i for i in issues if i["finding"] in limits],
        "changes": client.changes(name, start)[0],
    }


def _lines(of: dict[str, Any], since: str, *, markdown: bool) -> Iterator[str]:
    status = of["status"]
    yield f"{'# ' * markdown}{status['cluster']}: {status['health_state']} since {status['since'] or 'unknown'}"
    yield from filter(None, (status["summary"], status["degraded_because"]))
    sections = {
        f"Incidents of the last {since}": [line.plain for line in map(incident.line, of["incidents"])],
        "Muted now": mutes.listed(of["muted"])[1:],
        "Near a limit": [i["title"] for i in of["limits"]],
        "Changes": changes.listed(of["changes"])[1:],
    }
    for title, lines in sections.items():
        yield ""
        yield f"{'## ' * markdown}{title}{'' if lines or markdown else ': none'}"
        if markdown:
            yield ""
            yield from (f"- {line.strip()}" for line in lines or ["none"])
        else:
            yield from (f"  {line.strip()}" for line in lines)
    yield ""
