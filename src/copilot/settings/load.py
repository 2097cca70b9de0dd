"""The settings: copilot.toml and COPILOT_… environment variables, one model a section. Values only; bootstrap.py builds
clients. All errors are reported together, with file and key."""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as NotJson

from copilot import __version__
from copilot.errors import SettingsError
from copilot.settings.api import ApiSettings
from copilot.settings.clusters import ClusterSettings, TemporalSettings
from copilot.settings.models import KnowledgeSettings, ModelSettings
from copilot.settings.notify import HEARTBEAT, NotifySettings
from copilot.settings.sources import Section, reject_duplicates, valid
from copilot.settings.store_address import store_address

CONFIG_FILE = "copilot.toml"


LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]


class StoreSettings(Section):
    """The state store. `url` is a postgresql:// or dsql:// URL (settings/store_address.py describes both); unset, the
    embedded PostgreSQL of `copilot up`. Evaluations are kept for `retention_days`."""

    url: Annotated[str, valid(store_address)] | None = None
    retention_days: Annotated[float, Field(gt=0)] = 7.0


class WorkerSettings(Section):
    """The worker. With `deployment`, workers are versioned (Temporal's worker versioning): the loops run on the release
    that `copilot start` made current last; start another one to move them. Unset, any worker runs any loop. `build_id`
    names the release, by default the Copilot's version. With `start_loops`, the worker starts loops that do not run, as
    it does under `copilot up`. `alive_file` is touched every few seconds while clusters are evaluated; `copilot alive
    worker` checks it (a container's health check). With `metrics_port`, the worker serves its own metrics and those of
    Temporal's SDK for Prometheus on `metrics_host`, without authentication."""

    deployment: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}$")] | None = None
    build_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,62}$")] = __version__
    start_loops: bool = False
    alive_file: Path | None = None
    metrics_host: str = "127.0.0.1"
    metrics_port: Annotated[int, Field(gt=0, le=65535)] | None = None


class LoggingSettings(Section):
    """How the worker and the API log to stderr: one line of text per event, or one JSON object per line."""

    format: LogFormat = "text"


class Settings(BaseSettings):
    """All settings. `COPILOT_API__PORT=9000` overrides `[api] port`."""

    model_config = SettingsConfigDict(
        env_prefix="COPILOT_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    temporal: TemporalSettings = TemporalSettings()
    task_queue: str = "copilot"
    worker: WorkerSettings = WorkerSettings()
    store: StoreSettings = StoreSettings()
    api: ApiSettings = ApiSettings()
    knowledge: KnowledgeSettings = KnowledgeSettings()
    models: ModelSettings = ModelSettings()
    notify: tuple[NotifySettings, ...] = ()

    @property
    def channels(self) -> tuple[NotifySettings, ...]:
        """The channels that get notifications: all but the heartbeats."""
        return tuple(each for each in self.notify if each.kind != HEARTBEAT)

    clusters: tuple[ClusterSettings, ...] = ()
    data_dir: Path | None = None
    redact_addresses: bool = False
    """Replace IP addresses too in everything that is read, stored, shown or sent to a model."""
    log_level: LogLevel = "info"
    logging: LoggingSettings = LoggingSettings()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [c.name for c in self.clusters]
        reject_duplicates("clusters", names)
        reject_duplicates("channels", [c.name for c in self.notify])
        for each in self.notify:
            if unknown := sorted(set(each.clusters) - set(names)):
                raise ValueError(f"channel {each.name!r}: there is no cluster {', '.join(unknown)}")
        for name, token in self.api.tokens.items():
            if unknown := sorted(set(token.clusters) - set(names)):
                raise ValueError(f"api.tokens.{name}: there is no cluster {', '.join(unknown)}")
        return self

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource, *_: object, **__: object,
    ) -> tuple[PydanticBaseSettingsSource, ...]:  # fmt: skip
        """The environment overrides the file, whose values are the init values."""
        return env_settings, init_settings

    def cluster(self, name: str) -> ClusterSettings:
        """The cluster of that name; KeyError if there is none."""
        return {c.name: c for c in self.clusters}[name]


def load_settings(path: Path | None = None) -> Settings:
    """The settings from `path`, else from ./copilot.toml if it exists, and from the environment. SettingsError: every
    problem in them."""
    chosen = path if path is not None else Path(CONFIG_FILE)
    values: dict[str, Any] = {}
    if path is not None or chosen.exists():
        try:
            values = tomllib.loads(chosen.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError([f"{chosen} cannot be read: {error.strerror}"]) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise SettingsError([f"{chosen} is not valid TOML: {error}"]) from error
    try:
        return Settings(**values)
    except (NotJson, RecursionError) as error:
        section = str(error).partition('"')[2].partition('"')[0].upper()
        text = getattr(error.__cause__, "doc", None)
        names = [n for n, v in os.environ.items() if v == text and n.upper().startswith(f"COPILOT_{section}")]
        raise SettingsError(
            [f"environment variable {min(names, default=f'COPILOT_{section}')} is not valid JSON"]
        ) from error
    except ValidationError as error:
        problems = [
            f"{'.'.join(str(p) for p in e['loc']) or chosen.name}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        ]
        raise SettingsError(problems) from error
