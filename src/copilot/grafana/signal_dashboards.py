"""Server Health, Persistence and Workers: every signal of the taxonomy that metrics give, as PromQL in a dialect, over
the rate interval of the panel, with lines where a gate fires or pressure is graded. What all of them share is in
signal-templates.json (Grafana's JSON, schema 1): a dashboard that is refreshed every 30 s, with links to the others
that keep time and variables, and a panel."""

import copy
import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from itertools import groupby
from typing import Any

from copilot.metrics.promql import duration, signal_promql
from copilot.rules.signals.expressions import Matcher
from copilot.rules.signals.spec import SignalSpec
from copilot.rules.signals.taxonomy import SPECS
from copilot.rules.thresholds import GRADES, Grade, Thresholds

Json = dict[str, Any]

_TEMPLATES: Json = json.loads((files("copilot.grafana") / "signal-templates.json").read_text(encoding="utf-8"))
WINDOW_SEC = 60.0
WINDOW, INTERVAL = f"[{duration(WINDOW_SEC)}]", "[$__rate_interval]"
CHOSEN_JOBS = (Matcher("job", "=~", "$job"),)
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
LIMITS = {
    "matching.workflow_backlog_age_sec": ("backlog_age_sec", "falling_behind_age_sec"),
    "matching.activity_backlog_age_sec": ("backlog_age_sec", "falling_behind_age_sec"),
    "frontend.latency_p99_ms": ("frontend_latency_p99_ms",),
    "persistence.latency_p99_ms": ("persistence_latency_p99_ms",),
    "history.task_queue_latency_p99_sec": ("history_latency_p99_sec",),
    "history.shard_churn_rate_per_sec": ("shard_churn_per_sec",),
    "workflow_tasks.attempts_p99": ("workflow_task_attempts_p99",),
    "workflow_completion.completion_rate": ("completion_rate",),
    "workers.wft_schedule_to_start_p95_ms": ("schedule_to_start_ms",),
    "workers.activity_schedule_to_start_p95_ms": ("schedule_to_start_ms",),
}
"""The fields of `Thresholds` that a panel shows as lines: where it is stressed, and where it can be critical."""
LESS_IS_WORSE = {"workflow_completion.completion_rate"}


def signal_dashboards(dialects: Sequence[str] = ()) -> dict[str, Json]:
    """The three dashboards by uid. SettingsError: a dialect is unknown, or a role has two."""
    promql = signal_promql(SPECS.values(), dialects, WINDOW_SEC, CHOSEN_JOBS)
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
    shown = panel["fieldConfig"]["defaults"]
    shown["unit"] = UNITS[spec.unit]
    if steps := _steps(spec.id):
        shown["thresholds"]["steps"] = steps
        shown["custom"]["thresholdsStyle"]["mode"] = "dashed"
    return panel | {"description": f"{spec.id}: {spec.meaning}"}


def _steps(signal_id: str) -> list[Json]:
    """Grafana's steps, lowest first: the default limits of gates, else the default grades of pressure."""
    if limits := LIMITS.get(signal_id):
        values = [getattr(Thresholds(), name) for name in limits]
        colors = ["green", "orange", "red"]
        if signal_id in LESS_IS_WORSE:
            colors = ["orange", "green"]
    elif grade := GRADES.get(signal_id):
        values, colors = _graded(grade)
    else:
        return []
    return [{"value": v, "color": c} for v, c in zip([None, *values], colors, strict=False)]


def _graded(grade: Grade) -> tuple[list[float], list[str]]:
    if grade.less_is_worse:
        return [grade.high, grade.moderate], ["red", "orange", "green"]
    return [grade.moderate, grade.high], ["green", "orange", "red"]
