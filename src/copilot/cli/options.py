"""Options that several commands take."""

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer
from whenever import Instant, TimeDelta

from copilot.api.parameters import parse_time
from copilot.errors import SettingsError, StartError

ConfigOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--config", metavar="PATH", help="The configuration; otherwise ./copilot.toml if it is there."),
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]


_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


def moment(option: str, text: str, now: Instant) -> Instant:
    """The instant that `now`, `-6h` (ms, s, m, h, d, w before now), ISO 8601, a date or epoch seconds or milliseconds
    mean. SettingsError naming the option otherwise."""
    text = text.strip()
    if text == "now":
        return now
    try:
        ago = _SPAN.fullmatch(text.removeprefix("-")) if text.startswith("-") else None
        if ago and ago[2]:
            return now - TimeDelta(seconds=float(ago[1]) * _SECONDS[ago[2]])
        return parse_time(text)
    except (ValueError, OverflowError):
        raise SettingsError(
            [f"{option} {text[:60]!r} is no time: write 2026-11-22T12:00:00Z, a date, epoch seconds, now, or -6h"]
        ) from None


def span(option: str, text: str) -> float:
    """The seconds of `30s`, `1m`, `500ms` or a bare number. SettingsError naming the option otherwise."""
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise SettingsError([f"{option} {text[:60]!r} is no time between two evaluations: write 30s or 1m"])
    return float(found[1]) * _SECONDS[found[2] or "s"]


if TYPE_CHECKING:
    from copilot.settings.load import Settings


def demo_settings() -> "Settings":
    """The settings of the demo that runs, which is said on stderr. StartError if there is none."""
    from copilot.embedded.data_folder import find_demo
    from copilot.settings.load import CONFIG_FILE, load_settings

    demo = find_demo(None)
    typer.echo(f"no {CONFIG_FILE} here: looking at the demo of {demo.page}", err=True)
    return load_settings(demo.config)


def told_nothing(settings: "Settings", config: Path | None) -> bool:
    """Whether neither a file nor the environment names a cluster."""
    from copilot.settings.load import CONFIG_FILE

    return not settings.clusters and config is None and not Path(CONFIG_FILE).exists()


if TYPE_CHECKING:
    from copilot.settings.load import Settings


def settings_here(config: Path | None) -> "Settings":
    """The configuration, with the Temporal and the store that a running `copilot up` brought where it names none; that
    of the demo that runs, where there is no configuration."""
    from copilot.embedded.up import with_brought
    from copilot.settings.load import load_settings

    settings = load_settings(config)
    if told_nothing(settings, config):
        with contextlib.suppress(StartError):
            return demo_settings()
    return with_brought(settings)
