"""What the operator says: copilot.toml and COPILOT_… environment variables. Values only; bootstrap.py builds clients.

Everything has a default but the clusters. All problems of a file are reported at once, each naming its place in it.
"""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as NotJson

from copilot import __version__
from copilot.errors import SettingsError
from copilot.metrics.dialects import DIALECTS
from copilot.metrics.promql import parse_matchers
from copilot.rules.thresholds import Thresholds
from copilot.settings.api import ApiSettings
from copilot.settings.models import KnowledgeSettings, ModelSettings
from copilot.settings.notify import NotifySettings
from copilot.settings.sources import HttpSourceSettings, HttpUrl, LogSettings, Section
from copilot.settings.store_address import store_address

CONFIG_FILE = "copilot.toml"


def _store_url(url: str) -> str:
    store_address(url)
    return url


LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["text", "json"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class TemporalSettings(Section):
    """How a Temporal frontend is reached. TLS and API keys come from TEMPORAL_* profiles (temporalio's envconfig)."""

    address: str = "127.0.0.1:7233"
    namespace: str = "default"
    profile: str | None = None


class WatchedTemporal(TemporalSettings):
    """The watched cluster's frontend. `namespaces` are those whose task queues are described; empty: all it lists but
    Temporal's own, or `namespace` where it may not list them. `task_queues` are described besides those discovered: in
    `namespace`, or in the first of `namespaces` if that is none of them."""

    namespaces: tuple[str, ...] = ()
    task_queues: tuple[str, ...] = ()


class MetricsEndpoint(Section):
    """A bare /metrics page and whose it is. `dialect` names its metrics' spelling where that is not to be detected."""

    url: HttpUrl
    role: Literal["server", "worker"]
    dialect: str | None = None

    @model_validator(mode="after")
    def _known_dialect(self) -> Self:
        if self.dialect is not None:
            _dialect_of(self.role, self.dialect)
        return self


def _dialect_of(role: str, name: str) -> None:
    known = [d.name for d in DIALECTS if d.role == role]
    if name not in known:
        raise ValueError(f"no {role} dialect is named {name!r}: there are {', '.join(known)}")


def _matchers(text: str) -> str:
    parse_matchers(text)
    return text


class SigV4(Section):
    """How requests to Amazon Managed Prometheus are signed. Credentials are found as the AWS tools find them."""

    region: Annotated[str, Field(min_length=1)]
    profile: str | None = None


class PrometheusSettings(HttpSourceSettings):
    """A server that speaks Prometheus' HTTP API: Prometheus, Mimir, VictoriaMetrics, Thanos, Amazon Managed Prometheus.

    `url` is what stands before `/api/v1/query`. `selector` are label matchers every query gets, as inside `{…}`.
    `dialect` names the spelling of metrics where it is not to be detected; `prefix` stands before every metric name."""

    section = "prometheus"
    ways = (*HttpSourceSettings.ways, "sigv4")

    sigv4: SigV4 | None = None
    selector: Annotated[str, AfterValidator(_matchers)] = ""
    dialect: dict[Literal["server", "worker"], str] = {}
    prefix: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_:]*$")] = ""
    max_samples: Annotated[int, Field(gt=0)] = 50_000_000

    @model_validator(mode="after")
    def _known_dialects(self) -> Self:
        for role, name in self.dialect.items():
            _dialect_of(role, name)
        return self


class ClusterSettings(Section):
    """One watched cluster: judged every `interval_sec`; its verdict is kept as an assessment when it changes, and
    `assess_every_sec` after the last assessment."""

    name: Name = "default"
    interval_sec: Annotated[float, Field(ge=2, le=600)] = 30.0
    assess_every_sec: Annotated[float, Field(ge=10, le=86_400)] = 300.0
    window_sec: Annotated[float, Field(ge=10, le=3600)] | None = None
    temporal: WatchedTemporal | None = None
    metrics: tuple[MetricsEndpoint, ...] = ()
    prometheus: PrometheusSettings | None = None
    logs: LogSettings | None = None
    ignore_task_queues: tuple[str, ...] = ()
    thresholds: Thresholds = Thresholds()

    @property
    def window(self) -> float:
        """The rate window W in seconds: twice the interval unless set, at least 30 s."""
        return self.window_sec if self.window_sec is not None else max(30.0, 2 * self.interval_sec)

    @property
    def scrape_interval(self) -> float:
        """Seconds between two reads of a bare endpoint: a sixth of the window, 2 to 15 s."""
        return min(15.0, max(2.0, self.window / 6))

    @model_validator(mode="after")
    def _something_to_read(self) -> Self:
        if not self.metrics and self.prometheus is None and self.temporal is None:
            raise ValueError(
                f"cluster {self.name!r} has neither metrics, a prometheus nor a temporal address: nothing to read"
            )
        if self.window < 2 * self.scrape_interval:
            raise ValueError(f"window_sec {self.window:g} of cluster {self.name!r} holds fewer than two scrapes")
        return self


class StoreSettings(Section):
    """The state store, at a postgresql:// or dsql:// address (settings/store_address.py says what may stand in it). Empty:
    the embedded PostgreSQL of `copilot up`."""

    url: Annotated[str, AfterValidator(_store_url)] | None = None
    retention_days: Annotated[float, Field(gt=0)] = 7.0


class WorkerSettings(Section):
    """Which release a worker is. With `deployment` workers are versioned: the loops run on the release that `copilot
    start` last made the current one, and are handed to another by starting that. Empty: any worker takes any loop.
    `build_id` is the release's name, by default the Copilot's version. `alive_file` is touched every few seconds, for
    `copilot alive worker` to look at: a container's health check. With `metrics_port` it serves its own metrics and
    those of Temporal's SDK for Prometheus, on `metrics_host`, to whoever asks."""

    deployment: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}$")] | None = None
    build_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,62}$")] = __version__
    alive_file: Path | None = None
    metrics_host: str = "127.0.0.1"
    metrics_port: Annotated[int, Field(gt=0, le=65535)] | None = None


class LoggingSettings(Section):
    """How the worker and the API log to stderr: a line of text an event, or a JSON object a line."""

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
    clusters: tuple[ClusterSettings, ...] = ()
    data_dir: Path | None = None
    redact_addresses: bool = False
    """IP addresses are replaced too in all that is read, kept, shown or told to a model."""
    log_level: LogLevel = "info"
    logging: LoggingSettings = LoggingSettings()

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [c.name for c in self.clusters]
        if doubled := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"two clusters are named {', '.join(doubled)}")
        channels = [n.name for n in self.notify]
        if doubled := sorted({n for n in channels if channels.count(n) > 1}):
            raise ValueError(f"two channels are named {', '.join(doubled)}")
        for each in self.notify:
            if unknown := sorted(set(each.clusters) - set(names)):
                raise ValueError(f"channel {each.name!r} there is no cluster {', '.join(unknown)}")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file (which comes in as init values)."""
        return env_settings, init_settings

    def cluster(self, name: str) -> ClusterSettings:
        """The cluster of that name; KeyError if there is none."""
        return {c.name: c for c in self.clusters}[name]


def load_settings(path: Path | None = None) -> Settings:
    """Read the settings from `path`, else from ./copilot.toml if it is there, and the environment.

    Raises SettingsError with every problem found."""
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
        raise SettingsError([f"the environment's {min(names, default=f'COPILOT_{section}')} is no JSON"]) from error
    except ValidationError as error:
        problems = [
            f"{'.'.join(str(p) for p in e['loc']) or chosen.name}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        ]
        raise SettingsError(problems) from error
