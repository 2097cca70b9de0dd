"""Options that several commands share, the one parser of durations and instants, and the settings in effect."""

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer
from whenever import Instant, TimeDelta

from copilot.errors import SettingsError, StartError

if TYPE_CHECKING:
    from copilot.settings.load import Settings

ConfigOption: TypeAlias = Annotated[
    Path | None, typer.Option("--config", metavar="PATH", help="Configuration file; by default ./copilot.toml.")
]
ApiOption: TypeAlias = Annotated[
    str | None, typer.Option("--api", metavar="URL", help="Address of the API; by default from the configuration.")
]
ClusterOption: TypeAlias = Annotated[
    str | None, typer.Option("--cluster", metavar="NAME", help="The cluster; may be left out if only one is watched.")
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)?")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


def duration(option: str, text: str) -> float:
    """The seconds of `90s`, `1.5m`, `2h`, `7d`, `500ms` or a bare number. SettingsError names the option otherwise."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise SettingsError([f"{option} {text[:60]!r} is not a duration: write 30s, 1.5m or 2h"])
    return float(match[1]) * _UNIT_SECONDS[match[2] or "s"]


def moment(option: str, text: str, now: Instant) -> Instant:
    """The instant of `now`, `-6h` (a duration before now), ISO 8601, a date, or epoch seconds or milliseconds.
    SettingsError names the option otherwise."""
    from copilot.api.parameters import parse_time

    text = text.strip()
    if text == "now":
        return now
    ago = _DURATION.fullmatch(text.removeprefix("-")) if text.startswith("-") else None
    try:
        if ago and ago[2]:
            return now - TimeDelta(seconds=float(ago[1]) * _UNIT_SECONDS[ago[2]])
        return parse_time(text)
    except (ValueError, OverflowError):
        raise SettingsError(
            [f"{option} {text[:60]!r} is not a time: write 2026-11-22T12:00:00Z, a date, epoch seconds, now, or -6h"]
        ) from None


def configuration(config: Path | None) -> "Settings":
    """The settings of the configuration file and the environment."""
    # Here, and in other commands: what takes long to import (Temporal's SDK a second) is not imported for --help.
    from copilot.settings.load import load_settings

    return load_settings(config)


def current_settings(config: Path | None) -> "Settings":
    """The configuration, completed with the services of a running `copilot up`; without a configuration, that of the
    running demo, if any."""
    from copilot.embedded.services import with_embedded_services

    settings = configuration(config)
    if is_unconfigured(settings, config):
        with contextlib.suppress(StartError):
            return demo_settings()
    return with_embedded_services(settings)


def demo_settings() -> "Settings":
    """The settings of the running demo; a line on stderr says so. StartError if no demo runs."""
    from copilot.embedded.data_folder import find_demo
    from copilot.settings.load import CONFIG_FILE

    demo = find_demo(None)
    typer.echo(f"no {CONFIG_FILE} here: using the demo at {demo.page}", err=True)
    return configuration(demo.config)


def is_unconfigured(settings: "Settings", config: Path | None) -> bool:
    """Whether neither a file nor the environment names a cluster."""
    from copilot.settings.load import CONFIG_FILE

    return not settings.clusters and config is None and not Path(CONFIG_FILE).exists()
