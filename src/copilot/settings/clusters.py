"""`[[clusters]]` of copilot.toml: the watched clusters, and how their metrics and their Temporal are reached. Values
only."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote

import httpx
from pydantic import Field, SecretStr, model_validator

from copilot.metrics.dialects import DIALECTS
from copilot.metrics.promql import parse_matchers
from copilot.rules.thresholds import Thresholds
from copilot.settings.cloud import CloudSettings
from copilot.settings.discovery import Discover, PodPort, PodSelector, pod_selector
from copilot.settings.sources import HttpSourceSettings, HttpUrl, LogSettings, Name, Section, reject, valid


class TemporalSettings(Section):
    """A Temporal frontend. TLS and API keys come from TEMPORAL_* profiles (temporalio's envconfig)."""

    address: str = "127.0.0.1:7233"
    namespace: str = "default"
    profile: str | None = None

    @property
    def given(self) -> bool:
        """Whether settings or environment name the Temporal; else `copilot up` starts one for the Copilot."""
        named = "address" in self.model_fields_set or self.profile is not None
        return named or bool(os.environ.get("TEMPORAL_ADDRESS") or os.environ.get("TEMPORAL_PROFILE"))


class WatchedTemporal(TemporalSettings):
    """The watched cluster's frontend. `namespaces` are those whose task queues are read; empty: all that the frontend
    lists except Temporal's own, or `namespace` if listing is forbidden. `task_queues` are read in addition to those
    discovered: in `namespace`, or in the first of `namespaces` if that is not one of them. `ui_url` is the address of
    Temporal's web UI, for links; Temporal Cloud's is known. An API key, `api_key` or that in `api_key_file`, goes over
    TLS; without one, TLS and API key are the profile's."""

    namespaces: tuple[str, ...] = ()
    task_queues: tuple[str, ...] = ()
    ui_url: HttpUrl | None = None
    api_key: SecretStr | None = None
    api_key_file: Path | None = None

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        reject({"choose one of api_key and api_key_file": self.api_key is not None and self.api_key_file is not None})
        return self


class ExecutionsSettings(Section):
    """Executions in trouble. Workflow ids may be personal: with `hide_ids` none is stored or shown, and links lead to
    lists only. `open_longer_than`: seconds by workflow type; other types have a limit learned from closed ones."""

    hide_ids: bool = False
    open_longer_than: dict[str, Annotated[float, Field(gt=0)]] = {}


class MetricsEndpoint(Section):
    """A /metrics page of a server or a worker: its `url`, or what `discover` finds. `"dns:NAME:PORT"` is one page per
    address of a name (a headless service of Kubernetes), `"dns:NAME"` one per address and port of its SRV records.
    `"kubernetes:NAMESPACE/SELECTOR"` is one page per running pod of a namespace with these labels, found with the
    service account of the Copilot's own pod, which needs a Role with list on pods there; `port` is the number of its
    port, or the name that its containers give it. `dialect` names how its metrics are named; unset, it is detected."""

    url: HttpUrl
    discover: Discover | None = None
    port: PodPort | None = None
    role: Literal["server", "worker"]
    dialect: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _url_of_a_name(cls, given: Any) -> Any:
        """The page that would be read if the name were one host; of pods, an address that no page has."""
        if not isinstance(given, dict):
            return given
        what = str(given.get("discover") or "")
        of_pods = what.startswith("kubernetes:")
        reject({
            "a metrics page has a url, or discover: choose one": what and "url" in given,
            'pods need a port: add port = "metrics", for example, or its number': of_pods and given.get("port") is None,
            "port goes with discover = \"kubernetes:…\"; elsewhere it is part of the address": not of_pods
            and given.get("port") is not None,
        })  # fmt: skip
        if of_pods:
            return given | {"url": f"http://kubernetes/{quote(what)}:{given['port']}"}
        return given | {"url": f"http://{what.removeprefix('dns:')}/metrics"} if what else given

    @property
    def name(self) -> str:
        """What it is called where it is shown: its address, without a user and password."""
        if self.pods is not None:
            return f"{self.discover} port {self.port}"
        url = httpx.URL(self.url)
        return str(url.copy_with(username="", password="")) if url.userinfo else self.url

    @property
    def pods(self) -> PodSelector | None:
        """The pods whose pages are meant; None: it is no discovery by Kubernetes' API."""
        return pod_selector(self.discover) if self.discover is not None else None

    @model_validator(mode="after")
    def _known_dialect(self) -> Self:
        _dialect_of(self.role, self.dialect)
        return self


def _dialect_of(role: str, name: str | None) -> None:
    known = [d.name for d in DIALECTS if d.role == role]
    if name is not None and name not in known:
        raise ValueError(f"there is no {role} dialect {name!r}: choose one of {', '.join(known)}")


class SigV4(Section):
    """Signatures of requests to Amazon Managed Prometheus. Credentials come from where the AWS tools find them."""

    region: Annotated[str, Field(min_length=1)]
    profile: str | None = None


class PrometheusSettings(HttpSourceSettings):
    """A server with Prometheus' HTTP API: Prometheus, Mimir, VictoriaMetrics, Thanos, Amazon Managed Prometheus.

    `url` is the part before `/api/v1/query`. `selector` is added to every query: label matchers, as inside `{…}`.
    `dialect` names how metrics are named, by role; unset, it is detected. `prefix` precedes every metric name."""

    section = "prometheus"
    ways = (*HttpSourceSettings.ways, "sigv4")

    sigv4: SigV4 | None = None
    selector: Annotated[str, valid(parse_matchers)] = ""
    dialect: dict[Literal["server", "worker"], str] = {}
    prefix: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_:]*$")] = ""
    max_samples: Annotated[int, Field(gt=0)] = 50_000_000

    @model_validator(mode="after")
    def _known_dialects(self) -> Self:
        for role, name in self.dialect.items():
            _dialect_of(role, name)
        return self


CLOUD_SEC = 60.0
"""Temporal Cloud's metrics are of whole minutes."""


class ClusterSettings(Section):
    """A watched cluster. It is evaluated every `interval_sec`; its verdict is stored as an assessment when it changes,
    and `assess_every_sec` after the last one. Rates are taken over `window_sec`, by default twice the interval and at
    least 30 s. Task queues in `ignore_task_queues` are left out. Of Temporal Cloud, whose metrics are of whole minutes,
    `interval_sec` and `window_sec` are 60 s by default, and no less."""

    name: Name = "default"
    interval_sec: Annotated[float, Field(ge=2, le=600)] = 30.0
    assess_every_sec: Annotated[float, Field(ge=10, le=86_400)] = 300.0
    window_sec: Annotated[float, Field(ge=10, le=3600)] | None = None
    temporal: WatchedTemporal | None = None
    cloud: CloudSettings | None = None
    metrics: tuple[MetricsEndpoint, ...] = ()
    prometheus: PrometheusSettings | None = None
    logs: LogSettings | None = None
    executions: ExecutionsSettings = ExecutionsSettings()
    ignore_task_queues: tuple[str, ...] = ()
    thresholds: Thresholds = Thresholds()

    @model_validator(mode="after")
    def _of_cloud(self) -> Self:
        if (cloud := self.cloud) is None:
            return self
        here, every = self.temporal, self.interval_sec if "interval_sec" in self.model_fields_set else CLOUD_SEC
        short = min(every, self.window_sec or CLOUD_SEC) < CLOUD_SEC
        unreachable, unscraped = here is None and cloud.address is None, self.prometheus is None
        reject(
            {
                "several namespaces need cloud.region, or [clusters.temporal] address": unreachable,
                'cloud has no server page: take role "server" out': any(m.role == "server" for m in self.metrics),
                'cloud.metrics is "prometheus": give [clusters.prometheus]': cloud.metrics == "prometheus"
                and unscraped,
                "interval_sec and window_sec must be 60 or more: Temporal Cloud counts by minutes": short,
            }
        )
        first = cloud.namespaces[0]
        if here is None:
            key = cloud.key
            secret, file = (None, key) if isinstance(key, Path) else (key, None)
            here = WatchedTemporal(address=cloud.address or "", namespace=first, api_key=secret, api_key_file=file)
        of_cloud = here.model_copy(update={"namespaces": here.namespaces or cloud.namespaces})
        # The model is frozen for its users; these are its defaults, which depend on `cloud`.
        object.__setattr__(self, "temporal", of_cloud)
        object.__setattr__(self, "interval_sec", every)
        if self.window_sec is None:
            object.__setattr__(self, "window_sec", CLOUD_SEC)
        return self

    @property
    def window(self) -> float:
        """The rate window in seconds."""
        return self.window_sec if self.window_sec is not None else max(30.0, 2 * self.interval_sec)

    @property
    def scrape_interval(self) -> float:
        """Seconds between two scrapes of a /metrics page: a sixth of the window, 2 to 15 s."""
        return min(15.0, max(2.0, self.window / 6))

    @model_validator(mode="after")
    def _something_to_read(self) -> Self:
        name, too_short = repr(self.name), self.window < 2 * self.scrape_interval
        nothing = not self.metrics and self.prometheus is None and self.temporal is None
        reject({
            f"cluster {name} has nothing to read: configure metrics, prometheus or temporal": nothing,
            f"window_sec {self.window:g} of cluster {name} covers fewer than two scrapes": too_short,
        })  # fmt: skip
        return self
