"""The Temporal and the store that a running `copilot up` brought, for commands in other terminals."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from copilot.bootstrap import temporal_given
from copilot.local.data_folder import is_locked
from copilot.settings import Settings

LOCK = "up.lock"
BROUGHT = "up.json"


class Brought(BaseModel):
    """Their addresses; None: not brought, the configuration names one."""

    model_config = ConfigDict(frozen=True)

    temporal: str | None
    store: str | None


def default_folder() -> Path:
    """Where data are kept unless the settings say otherwise: the user's data folder."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "temporal-sre-copilot"


@contextlib.contextmanager
def described(folder: Path, brought: Brought) -> Iterator[None]:
    """Say it in the data folder as long as it runs, to its owner alone: the store's URL has a password in it."""
    file = folder / BROUGHT
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(brought.model_dump_json())
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def with_brought(settings: Settings) -> Settings:
    """The settings, with what a `copilot up` that runs in their data folder brought where they name none."""
    folder = settings.data_dir or default_folder()
    if not is_locked(folder, LOCK):
        return settings
    try:
        brought = Brought.model_validate_json((folder / BROUGHT).read_bytes())
    except (OSError, ValidationError):
        return settings
    update: dict[str, BaseModel] = {}
    if brought.temporal and not temporal_given(settings):
        update["temporal"] = settings.temporal.model_copy(update={"address": brought.temporal})
    if brought.store and settings.store.url is None:
        update["store"] = settings.store.model_copy(update={"url": brought.store})
    return settings.model_copy(update=update)
