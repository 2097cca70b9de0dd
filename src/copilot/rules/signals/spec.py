"""What a row of the signal table is: a signal, what gives it, and what turns it on."""

from dataclasses import dataclass
from typing import Literal

from copilot.rules.signals.expressions import Expression, Leaf, Role

SERVER_PAGE = (
    'a metrics endpoint with role "server" in [[clusters]], or [clusters.prometheus]: start every server process with a Prometheus '
    "listener (global.metrics.prometheus.listenAddress, or PROMETHEUS_ENDPOINT in the Docker image) and have each one scraped"
)
WORKER_PAGE = (
    'a metrics endpoint with role "worker" in [[clusters]], or [clusters.prometheus]: give the SDK a Prometheus reporter (Python: '
    "Runtime(telemetry=TelemetryConfig(metrics=PrometheusConfig(bind_address=…)))) and have every worker scraped"
)
API = (
    "[clusters.temporal] address (namespace, TLS and API key by a TEMPORAL_* profile), with permission to list workflows and "
    "describe task queues"
)
CLOUD = "cloud in its [[clusters]] section: Temporal Cloud alone tells it"
LOGS = "[clusters.logs] in its [[clusters]] section: the files of the server's log, or a Loki"
SETUPS = {
    "the server's metrics": SERVER_PAGE,
    "the workers' metrics": WORKER_PAGE,
    "Temporal's API": API,
    "the server's logs": LOGS,
    "Temporal Cloud": CLOUD,
}
"""What turns on all signals of a source, by the source's name."""

Kind = Literal["primary", "amplifier", "worker"]
Unit = Literal["1/s", "1/min", "ms", "s", "ratio", "percent", "count", "bytes", "bool"]
Direction = Literal["up", "down"]
Source = Literal["metrics", "api", "api or metrics", "metrics or api", "logs", "cloud", "none"]
Service = Literal["", "frontend", "history", "matching"]
Dashboard = Literal["server", "persistence", "workers"]
CardGroup = Literal["Demand", "Backlog", "Progress", "Latency", "Errors", "Workers"]


@dataclass(frozen=True, slots=True)
class Card:
    """The place of a key signal on the page: its group, its position there, and its label."""

    group: CardGroup
    position: int
    label: str


@dataclass(frozen=True, slots=True)
class Measure:
    """How metrics give a signal. `name`: what a substitute is called in the reading's origin; the other fields as in
    `SignalSpec`."""

    name: str
    expression: Expression
    breakdown: Leaf | None = None
    emitted_by: Service = ""


@dataclass(frozen=True, slots=True)
class SignalSpec:
    """One signal.

    `worse`: which direction is worse; None where neither is. `expression` and `breakdown`: how metrics give it, in one
    number and by labels. `source`: what measures it; of two, the one named first is preferred: the API for backlogs
    (stock servers refresh these gauges once a minute), metrics for rates (they have the window of all other rates, and
    the sticky queues) and for workers (heartbeats, which the API lists, are up to a minute old). `emitted_by`: the only
    server service whose pages hold its series; empty where there is no single one. `hint`: what turns it on besides the
    setup of its source; where nothing measures it, what that means.
    `substitute`: how servers that do not emit its families have it.
    `dashboard`: the Grafana dashboard that has its panel. `card`: its place on the page; None where it is no key signal.
    """

    id: str
    kind: Kind
    unit: Unit
    meaning: str
    worse: Direction | None
    expression: Expression | None = None
    breakdown: Leaf | None = None
    source: Source = "metrics"
    emitted_by: Service = ""
    hint: str = ""
    dashboard: Dashboard = "server"
    card: Card | None = None
    substitute: Measure | None = None

    @property
    def role(self) -> Role:
        """The role whose pages hold it."""
        return "worker" if self.kind == "worker" or self.id.startswith("worker.") else "server"

    @property
    def in_metrics(self) -> bool:
        """Whether metrics can give it."""
        return self.expression is not None

    @property
    def setup(self) -> str:
        """What turns on all signals of its (preferred) source; empty where nothing measures it."""
        if self.source == "none":
            return ""
        if self.source in ("logs", "cloud"):
            return LOGS if self.source == "logs" else CLOUD
        if self.source in ("api", "api or metrics"):
            return API
        return SERVER_PAGE if self.role == "server" else WORKER_PAGE

    @property
    def full_hint(self) -> str:
        """What turns it on where it is missing; where nothing measures it, what that means."""
        return "; ".join(filter(None, (self.setup, self.hint)))
