"""Server Health, Persistence and Workers: every signal of the taxonomy that metrics give, as PromQL in a dialect, over
the rate interval of the panel. What all of them share is in signal-templates.json (Grafana's JSON, schema 1): a
dashboard that is refreshed every 30 s, with links to the others that keep time and variables, and a panel."""

import copy
import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from itertools import groupby
from typing import Any

from copilot.metrics.promql import signal_promql
from copilot.rules.signals.spec import SignalSpec
from copilot.rules.signals.taxonomy import SPECS

Json = dict[str, Any]

_TEMPLATES: Json = json.loads((files("copilot.grafana") / "signal-templates.json").read_text(encoding="utf-8"))
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
    shared: Json = _TEMPLATES["dashboard"]
    return {
        uid: {**shared, "uid": uid, "title": title, "panels": _panels(specs[uid], promql), "description": text}
        for uid, (title, text) in ABOUT.items()
    }


def _panels(specs: Iterable[SignalSpec], promql: dict[str, str]) -> list[Json]:
    """A row a group of signals, below it its panels, three abreast."""
    placed: list[Json] = []
    y = 0
    for group, members in groupby(specs, key=lambda spec: spec.id.split(".")[0]):
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
    panel: Json = copy.deepcopy(_TEMPLATES["panel"])
    panel["title"] = spec.id.split(".")[1].replace("_", " ")
    panel["targets"][0] |= {"expr": promql.replace(WINDOW, INTERVAL), "legendFormat": spec.id}
    panel["fieldConfig"]["defaults"]["unit"] = UNITS[spec.unit]
    return panel | {"description": f"{spec.id}: {spec.meaning}"}
