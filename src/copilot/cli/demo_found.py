"""The demo that runs, for commands that were told of no configuration."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from copilot.settings import Settings


def demo_settings() -> "Settings":
    """The settings of the demo that runs, which is said on stderr. StartError if there is none."""
    from copilot.local.data_folder import find_demo
    from copilot.settings import CONFIG_FILE, load_settings

    demo = find_demo(None)
    typer.echo(f"no {CONFIG_FILE} here: looking at the demo of {demo.page}", err=True)
    return load_settings(demo.config)


def told_nothing(settings: "Settings", config: Path | None) -> bool:
    """Whether neither a file nor the environment names a cluster."""
    from copilot.settings import CONFIG_FILE

    return not settings.clusters and config is None and not Path(CONFIG_FILE).exists()
