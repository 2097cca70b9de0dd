"""The `copilot up` that runs, for commands that ask its Temporal or its store."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from copilot.settings import Settings


def settings_beside_up(config: Path | None) -> "Settings":
    """The configuration, with the Temporal and the store that `copilot up` brought where it names none."""
    from copilot.local.brought import with_brought
    from copilot.settings import load_settings

    return with_brought(load_settings(config))
