"""What runs here already, for commands that ask the Copilot's own Temporal or store."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from copilot.cli.demo_found import demo_settings, told_nothing
from copilot.core.errors import StartError

if TYPE_CHECKING:
    from copilot.settings import Settings


def settings_here(config: Path | None) -> "Settings":
    """The configuration, with the Temporal and the store that a running `copilot up` brought where it names none; that
    of the demo that runs, where there is no configuration."""
    from copilot.local.brought import with_brought
    from copilot.settings import load_settings

    settings = load_settings(config)
    if told_nothing(settings, config):
        with contextlib.suppress(StartError):
            return demo_settings()
    return with_brought(settings)
