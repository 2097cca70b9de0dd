"""Server Health, Persistence and Workers: every signal of the taxonomy that metrics can give, as the PromQL of a
dialect, over the rate interval of the panel."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from copilot.grafana.panels import Json, dashboard, laid_out, lines, row
from copilot.grafana.variables import PROMETHEUS
from copilot.metrics.promql import signal_promql
from copilot.rules.signals.taxonomy import SPECS, SignalSpec

SOURCE: Json = {"type": "prometheus", "uid": "${prometheus}"}
WINDOW_SEC = 60.0
WINDOW, INTERVAL = "[1m]", "[$__rate_interval]"
PERSISTENCE = ("persistence", "persistence_contention", "connection_pool")
WORKERS = ("workers", "worker", "worker_cache", "worker_poll", "worker_tasks", "activity_tasks", "workflow_tasks")
WIDTH, HEIGHT = 8, 7


def signal_dashboards(dialects: Sequence[str] = ()) -> dict[str, Json]:
    """The three dashboards by file name. SettingsError: a dialect is unknown, or a role has two."""
    promql = signal_promql(SPECS.values(), dialects, WINDOW_SEC)
    specs = [s for s in SPECS.values() if s.id in promql]
    groups = {s.id: s.id.split(".")[0] for s in specs}
    parts = {
        ("temporal-server", "Temporal Server Health", "What the server does, and what it costs."): [
            s for s in specs if groups[s.id] not in (*PERSISTENCE, *WORKERS)
        ],
        ("temporal-persistence", "Temporal Persistence", _PERSISTENCE_NOTE): [
            s for s in specs if groups[s.id] in PERSISTENCE
        ],
        (
            "temporal-workers",
            "Temporal Workers",
            "What the workers say of themselves, and the server of their tasks.",
        ): [s for s in specs if groups[s.id] in WORKERS],
    }
    return {
        uid: dashboard(uid, title, laid_out(_rows(chosen, promql)), [PROMETHEUS], description=about)
        for (uid, title, about), chosen in parts.items()
    }


_PERSISTENCE_NOTE = (
    "The database as the server sees it, SQL and Aurora DSQL alike. On DSQL conflicts of optimistic concurrency are "
    "part of life, and latencies are to be read against 500 ms instead of 100."
)


def _rows(specs: Iterable[SignalSpec], promql: dict[str, str]) -> Iterable[tuple[int, Sequence[tuple[int, Json]]]]:
    for group, members in groupby(specs, key=lambda s: s.id.split(".")[0]):
        yield 1, [(24, row(group.replace("_", " ").capitalize()))]
        panels = [(WIDTH, _panel(spec, promql[spec.id])) for spec in members]
        for i in range(0, len(panels), 3):
            yield HEIGHT, panels[i : i + 3]


def _panel(spec: SignalSpec, promql: str) -> Json:
    target = {"expr": promql.replace(WINDOW, INTERVAL), "legendFormat": spec.id, "range": True, "editorMode": "code"}
    title = spec.id.split(".")[1].replace("_", " ")
    return lines(title, SOURCE, [target], spec.unit, description=f"{spec.id}: {spec.meaning}")
