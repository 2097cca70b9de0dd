"""Server Health, Persistence and Workers: every signal of the taxonomy that metrics give, as PromQL in a dialect, over
the rate interval of the panel (Grafana's JSON, schema 1)."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from copilot.metrics.promql import signal_promql
from copilot.rules.signals.taxonomy import SPECS, SignalSpec

Json = dict[str, Any]

SOURCE: Json = {"type": "prometheus", "uid": "${prometheus}"}
WINDOW_SEC = 60.0
WINDOW, INTERVAL = "[1m]", "[$__rate_interval]"
WIDTH, HEIGHT, COLUMNS = 8, 7, 24
UNITS = {
    "1/s": "ops", "1/min": "opm", "ms": "ms", "s": "s", "ratio": "percentunit", "percent": "percent", "count": "short",
    "bytes": "bytes", "bool": "bool",
}  # fmt: skip
"""The taxonomy's units as Grafana names them."""
ABOUT = {
    "temporal-server": ("Temporal Server Health", "Requests, tasks and queues of the server's components."),
    "temporal-persistence": (
        "Temporal Persistence",
        "The database as the server sees it, SQL and Aurora DSQL alike. On DSQL, conflicts of optimistic concurrency "
        "are normal; judge latencies against 500 ms instead of 100 ms.",
    ),
    "temporal-workers": ("Temporal Workers", "What the workers report, and what the server reports about their tasks."),
}
"""Title and description, by uid."""


def signal_dashboards(dialects: Sequence[str] = ()) -> dict[str, Json]:
    """The three dashboards by uid. SettingsError: a dialect is unknown, or a role has two."""
    promql = signal_promql(SPECS.values(), dialects, WINDOW_SEC)
    specs: dict[str, list[SignalSpec]] = {uid: [] for uid in ABOUT}
    for spec in SPECS.values():
        if spec.id in promql:
            specs[f"temporal-{spec.dashboard}"].append(spec)
    return {uid: _dashboard(uid, *ABOUT[uid], _panels(chosen, promql)) for uid, chosen in specs.items()}


def _group(spec: SignalSpec) -> str:
    return spec.id.split(".")[0]


def _panels(specs: Iterable[SignalSpec], promql: dict[str, str]) -> list[Json]:
    """A row a group of signals, below it its panels, three abreast."""
    placed: list[Json] = []
    y = 0
    for group, members in groupby(specs, key=_group):
        title = group.replace("_", " ").capitalize()
        row = {"type": "row", "title": title, "collapsed": False, "panels": []}
        placed.append({**row, "id": len(placed) + 1, "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1}})
        y += 1
        for i, spec in enumerate(members):
            x = i * WIDTH % COLUMNS
            y += HEIGHT if i and x == 0 else 0
            position = {"x": x, "y": y, "w": WIDTH, "h": HEIGHT}
            placed.append({**_panel(spec, promql[spec.id]), "id": len(placed) + 1, "gridPos": position})
        y += HEIGHT
    return placed


def _panel(spec: SignalSpec, promql: str) -> Json:
    expr = promql.replace(WINDOW, INTERVAL)
    target = {"expr": expr, "legendFormat": spec.id, "range": True, "editorMode": "code", "refId": "A"}
    look = {"lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": False}
    return {
        "type": "timeseries",
        "title": spec.id.split(".")[1].replace("_", " "),
        "datasource": SOURCE,
        "pluginVersion": "12.0.0",
        "targets": [{"datasource": SOURCE, **target}],
        "transparent": False,
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "fieldConfig": {"defaults": {"unit": UNITS[spec.unit], "min": 0, "custom": look}, "overrides": []},
        "description": f"{spec.id}: {spec.meaning}",
    }


def _dashboard(uid: str, title: str, description: str, panels: list[Json]) -> Json:
    """A dashboard, refreshed every 30 s, with links to the others that keep time and variables."""
    return {
        "uid": uid,
        "title": title,
        "tags": ["temporal", "temporal-sre-copilot"],
        "schemaVersion": 41,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {"refresh_intervals": ["10s", "30s", "1m", "5m"]},
        "timezone": "utc",
        "links": [
            {"type": "dashboards", "title": "Temporal", "tags": ["temporal-sre-copilot"], "asDropdown": False,
             "includeVars": True, "keepTime": True, "targetBlank": False, "icon": "external link"},
        ],
        "templating": {"list": [
            {"name": "prometheus", "label": "Prometheus", "type": "datasource", "query": "prometheus", "refresh": 1,
             "regex": "", "multi": False, "includeAll": False, "hide": 0},
        ]},
        "annotations": {"list": []},
        "panels": panels,
        "description": description,
    }  # fmt: skip
