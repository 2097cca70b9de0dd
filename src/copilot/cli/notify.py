"""`copilot notify`: the notification channels."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from whenever import Instant

from copilot.cli.options import ConfigOption, JsonOption, configuration
from copilot.cli.output import say
from copilot.errors import CopilotError, SettingsError
from copilot.rules.model import ReportedState

if TYPE_CHECKING:
    from copilot.notify.decide import Outcome
    from copilot.settings.load import Settings
    from copilot.settings.notify import NotifySettings

app = typer.Typer(help="The notification channels.", no_args_is_help=True)


@app.command("list")
def list_channels(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the configured channels and what each is notified of. Addresses and keys are not printed.

    Example: copilot notify list --config copilot.toml"""
    _, channels = _configured(config)
    for channel in channels:
        names = {"kind", "clusters", "states", "mute_time_intervals", "min_gap_sec", "repeat_interval_sec"}
        about = {"channel": channel.name, **channel.model_dump(mode="json", include=names)}
        say(json.dumps(about) if as_json else _line(about))


@app.command("test")
def send_tests(
    channel: Annotated[str | None, typer.Option(metavar="NAME", help="Only this channel.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a test notification to each channel, at any time of day, and print the result. Exit 1 if one fails.

    Example: copilot notify test --channel ops"""
    settings, channels = _configured(config, channel)
    outcomes = asyncio.run(_tested(settings, channels))
    for each, outcome in zip(channels, outcomes, strict=True):
        result = {"channel": each.name, "kind": each.kind, "delivered": outcome.delivered, "why": outcome.why}
        how = "delivered" if outcome.delivered else "not delivered"
        line = f"{each.name} ({each.kind}): {how}{f': {outcome.why}' if outcome.why else ''}"
        say(json.dumps(result) if as_json else line)
    if not all(outcome.delivered for outcome in outcomes):
        raise typer.Exit(1)


def _configured(config: Path | None, name: str | None = None) -> "tuple[Settings, list[NotifySettings]]":
    settings = configuration(config)
    names = ", ".join(c.name for c in settings.notify)
    if not names:
        raise SettingsError(["no channel is configured: add a [[notify]] section to copilot.toml"])
    chosen = [c for c in settings.notify if name in (None, c.name)]
    if not chosen:
        raise SettingsError([f"no channel is named {name}; there is {names}"])
    return settings, chosen


async def _tested(settings: "Settings", channels: "list[NotifySettings]") -> "list[Outcome]":
    from copilot.notify.channels import channel
    from copilot.notify.decide import ClusterState, Notification, Outcome
    from copilot.notify.messages import compose

    now = Instant.now().round("second", mode="floor")
    state = ClusterState(state=ReportedState.HAPPY, since=now, time=now)
    notification = Notification(kind="test", state=ReportedState.HAPPY, number=1, incident=now)

    async def one(each: "NotifySettings") -> "Outcome":
        cluster = next(iter((*each.clusters, *(c.name for c in settings.clusters))), "default")
        message = compose(cluster, notification, state, None, None, settings.api.public_url)
        words = "Sent by `copilot notify test`. No action is needed."
        try:
            return await channel(each)(message.model_copy(update={"summary": words}))
        except CopilotError as error:
            return Outcome(delivered=False, why=str(error))

    return await asyncio.gather(*(one(each) for each in channels))


def _line(about: dict[str, Any]) -> str:
    repeat = about["repeat_interval_sec"]
    parts = [
        f"{about['channel']} ({about['kind']}): {', '.join(about['states'])}",
        f"of {', '.join(about['clusters']) or 'all clusters'}",
    ]
    for muted in about["mute_time_intervals"]:
        exceptions = f" except {' and '.join(muted['except_states'])}" if muted["except_states"] else ""
        parts.append(f"muted from {muted['start_time']} to {muted['end_time']} {muted['location']}{exceptions}")
    return ", ".join([*parts, *([f"repeated every {repeat:g} s"] if repeat else [])])
