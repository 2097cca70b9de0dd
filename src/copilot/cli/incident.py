"""`copilot incident`: the incidents of a cluster, from the running API."""

import contextlib
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text
from whenever import Instant

from copilot.cli.options import ApiOption, ClusterOption, ConfigOption, JsonOption
from copilot.cli.options import duration as seconds_of
from copilot.cli.output import STATE_STYLES, plain_console, print_lines, say
from copilot.cli.status import client_of
from copilot.errors import SettingsError
from copilot.explain.numbers import duration

app = typer.Typer(help="Incidents: from leaving happy to happy again.", no_args_is_help=True)
LONGEST_SEC = 10 * 365 * 86_400.0
"""Far longer than verdicts are kept."""
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As `copilot incident list` and notifications show it.")]


@app.command("list")
def list_incidents(
    cluster: ClusterOption = None,
    since: Annotated[str, typer.Option(metavar="DURATION", help="How far to look back: 12h, 7d.")] = "7d",
    api: ApiOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the incidents of a cluster, the newest first. Exit 1 when one is open.

    Example: copilot incident list --since 12h"""
    start = Instant.now().subtract(seconds=min(seconds_of("--since", since), LONGEST_SEC))
    with contextlib.closing(client_of(api, config)) as client:
        answer = client.get("/incidents", start=start.format_iso(), **({"cluster": cluster} if cluster else {}))
    found = answer["incidents"]
    if as_json:
        print(json.dumps(answer))
    elif not found:
        say(f"no incident of {answer['cluster']} in the last {since}")
    else:
        print_lines(plain_console(), [line(incident) for incident in found])
    if any(incident["ended"] is None for incident in found):
        raise typer.Exit(1)


@app.command("show")
def show(
    incident_id: IdArgument, api: ApiOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Print one incident: states, causes, what was found at its worst, similar ones before it.

    Example: copilot incident show production:1795348620"""
    with contextlib.closing(client_of(api, config)) as client:
        answer = client.get(f"/incidents/{incident_id}")
    print(json.dumps(answer)) if as_json else print_lines(plain_console(), answer["markdown"].splitlines())


@app.command("export")
def export(
    incident_id: IdArgument,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")],
    api: ApiOption = None,
    config: ConfigOption = None,
) -> None:
    """Write the first half of a post-mortem as Markdown. An existing file is not overwritten.

    Example: copilot incident export production:1795348620 --output incident.md"""
    with contextlib.closing(client_of(api, config)) as client:
        answer = client.get(f"/incidents/{incident_id}")
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(answer["markdown"])
    except OSError as error:
        raise SettingsError([f"{output} cannot be written: {error.strerror}"]) from None
    say(f"wrote {output}")


@app.command()
def note(
    incident_id: IdArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The note, in one line.")],
    api: ApiOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a note to an incident, open or over. The API's token, if it needs one, is read from COPILOT_TOKEN.

    Example: copilot incident note production:1795348620 "the autoscaler had removed the workers" """
    with contextlib.closing(client_of(api, config)) as client:
        made = client.post(f"/incidents/{incident_id}/notes", {"text": text})
    print(json.dumps(made)) if as_json else say(f"noted by {made['who']}: {made['text']}")


def line(incident: dict[str, Any]) -> Text:
    """An incident of the API in a line."""
    began = Instant.parse_iso(incident["began"])
    ended = Instant.parse_iso(incident["ended"]) if incident["ended"] else None
    lasted = "open" if ended is None else duration((ended - began).total("seconds"))
    return Text.assemble(
        f"{incident['began'][:19].replace('T', ' ')}  {lasted:>12}  ",
        (f"{incident['worst']:8}", STATE_STYLES.get(incident["worst"], "")),
        f"  {incident['cause'] or '–'}  {incident['id']}",
    )
