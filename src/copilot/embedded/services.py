"""The Temporal and the store that a running `copilot up` started, for the other commands."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ValidationError

from copilot.embedded.data_folder import is_locked
from copilot.settings.load import Settings
from copilot.settings.sources import Section

LOCK = "up.lock"
SERVICES_FILE = "up.json"


class EmbeddedServices(Section):
    """Addresses of the Temporal and the store that a running `copilot up` started; None where the configuration names
    one."""

    temporal: str | None
    store: str | None


def default_folder() -> Path:
    """The data folder unless the settings name one: the user's own."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "temporal-sre-copilot"


def with_embedded_services(settings: Settings) -> Settings:
    """The settings, completed with the addresses of a `copilot up` that runs in their data folder."""
    folder = settings.data_dir or default_folder()
    if not is_locked(folder, LOCK):
        return settings
    try:
        services = EmbeddedServices.model_validate_json((folder / SERVICES_FILE).read_bytes())
    except (OSError, ValidationError):
        return settings
    update: dict[str, BaseModel] = {}
    if services.temporal and not settings.temporal.given:
        update["temporal"] = settings.temporal.model_copy(update={"address": services.temporal})
    if services.store and settings.store.url is None:
        update["store"] = settings.store.model_copy(update={"url": services.store})
    return settings.model_copy(update=update)


@contextlib.contextmanager
def published(folder: Path, services: EmbeddedServices) -> Iterator[None]:
    """Publish the addresses in the data folder while the context is open, to the owner alone: the store's URL contains
    a password."""
    file = folder / SERVICES_FILE
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(services.model_dump_json())
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
