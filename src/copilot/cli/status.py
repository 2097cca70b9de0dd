"""`copilot status`: what the API says now."""

import asyncio
import contextlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from copilot.cli.asking import Asking
from copilot.cli.options import ConfigOption, JsonOption
from copilot.cli.up_found import settings_here
from copilot.core.errors import SettingsError

if TYPE_CHECKING:
    from copilot.settings import Settings

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
    from copilot.settings import load_settings

    settings = settings_here(config) if api is None or loops else load_settings(config)
    if loops:
        _loops(settings, cluster, as_json=as_json)
        return
    base = api or f"{settings.api.scheme}://{settings.api.host_here}:{settings.api.port}"
    asking = Asking(base.rstrip("/"), settings.api.cert_file)
    if watch:
        from copilot.cli.status_watch import watch_status

        watch_status(asking, cluster, as_json=as_json)
        return
    with contextlib.closing(asking):
        answers = asking.statuses(cluster)
        models = {} if as_json else asking.models()
    if as_json:
        for answer in answers:
            print(json.dumps(answer))
    else:
        from copilot.cli.status_view import print_models, print_status

        for answer in answers:
            print_status(answer)
        print_models(models)
    if any(answer["health_state"] in BAD_NEWS for answer in answers):
        raise typer.Exit(1)


def _loops(settings: "Settings", cluster: str | None, *, as_json: bool) -> None:
    from copilot.cli.status_view import print_loops
    from copilot.loops import seen

    found = asyncio.run(seen(settings, cluster))
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
