"""Static alert rules (static_alerts.yaml) over the public cases and the lab's recordings, by a real Prometheus.

`python -m benchmarks static_alerts` measures and writes static_alerts.json, which docs/benchmark.md shows beside our
own verdicts. It needs `prometheus` and `promtool` on the path, and the public cases: COPILOT_PUBLIC_CASES names their
folder.
"""

import gzip
import hashlib
import json
import os
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import yaml
from pydantic import BaseModel
from whenever import Instant

from benchmarks import Row
from copilot.rules.signals.readings import Signals
from lab.cases import cases_of, prometheus
from lab.recorded_run import RECORDINGS, RecordedRun, find_runs, load_run

PROTOCOL = """\
- Each rule's expression is evaluated every 15 s, from the first moment of a case to its last. A label set fires once it
  has been there without a gap for the rule's `for`, as in Prometheus' own rule manager.
- The series of the public cases are loaded as they are. They hold what the Copilot reads and little else: a rule over
  another family is silent there, on healthy clusters too.
- The lab's recordings hold readings. Gauges are written as they are; a rate becomes a counter that grows by it, so
  that a change shows up to a rate window (30 s) late; of a p95, each tick adds 94 observations at its half and 6 at
  itself. The first tick is repeated for five minutes before the recording, so that every range is filled.
- An alert is on time when its condition began after the incident did and it fired before the incident was over. An
  alert whose condition began earlier, or that fires where only happy is right, is false.
- All alerts are kept (benchmarks/static_alerts.json), and with them the moment when the condition became true: the
  lab's faults last five minutes at most, so a rule with `for: 5m` can hardly fire within them.
"""
"""Written before the first run."""
HERE = Path(__file__).parent
RULES, RESULTS = HERE / "static_alerts.yaml", HERE / "static_alerts.json"
PUBLIC = Path(os.environ.get("COPILOT_PUBLIC_CASES", HERE.parents[1] / "shared" / "data" / "public"))
STEP_SEC, PAST_SEC, APART_SEC = 15.0, 300.0, 7200.0
LAB_FROM = Instant.from_utc(2026, 2, 1)
BOUNDS_SEC = (0.01, 0.05, 0.1, 0.15, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0, 1800.0, 3600.0)
EXHAUSTED, TASK, ACTIVITY = "service_errors_resource_exhausted", "temporal_workflow_task", "temporal_activity"
GAUGES = {
    "workers.workflow_pollers": 'temporal_num_pollers{poller_type="workflow_task"',
    "workers.activity_pollers": 'temporal_num_pollers{poller_type="activity_task"',
    "workers.workflow_slots_available": 'temporal_worker_task_slots_available{worker_type="WorkflowWorker"',
    "workers.activity_slots_available": 'temporal_worker_task_slots_available{worker_type="ActivityWorker"',
    "matching.backlog_count": 'approximate_backlog_count{namespace="default"',
}
COUNTERS = {
    "frontend.request_rate_per_sec": 'service_requests{service_name="frontend"',
    "frontend.error_rate_per_sec": 'service_errors{service_name="frontend"',
    "persistence.request_rate_per_sec": 'persistence_requests{service_name="history"',
    "persistence.error_rate_per_sec": 'persistence_errors{service_name="history"',
    "throttling.admission_rejects_per_sec": f'{EXHAUSTED}{{resource_exhausted_cause="SystemOverloaded"',
    "matching.tasks_dispatched_per_sec": 'poll_success{service_name="matching"',
    "worker_tasks.workflow_task_failures_per_sec": f'{TASK}_execution_failed{{failure_reason="WorkflowError"',
    "worker_tasks.activity_failures_per_sec": f'{ACTIVITY}_execution_failed{{namespace="default"',
}
TIMERS = {
    "frontend.latency_p95_ms": 'service_latency_bucket{service_name="frontend",operation="StartWorkflowExecution"',
    "workers.wft_schedule_to_start_p95_ms": f'{TASK}_schedule_to_start_latency_bucket{{namespace="default"',
    "workers.activity_schedule_to_start_p95_ms": f'{ACTIVITY}_schedule_to_start_latency_bucket{{namespace="default"',
    "workers.wft_execution_p95_ms": f'{TASK}_execution_latency_bucket{{namespace="default"',
}
"""What a recording has of the families that the rules read."""


class Alert(NamedTuple):
    """When its condition became true, when it fired (None: never) and when it was last true: seconds since the
    incident began."""

    true: float
    fired: float | None
    last: float


class Results(BaseModel):
    """static_alerts.json: the alerts of each case by rule."""

    taken: str
    prometheus: str
    rules_sha256: str
    alerts: dict[str, dict[str, list[Alert]]]


class Rule(NamedTuple):
    """One alerting rule."""

    name: str
    expr: str
    hold_sec: float
    severity: str
    source: str


@cache
def rules() -> tuple[Rule, ...]:
    """The rules of static_alerts.yaml."""
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return tuple(
        Rule(r["alert"], r["expr"], 60.0 * int(r["for"][:-1]), r["labels"]["severity"], r["annotations"]["source"])
        for group in groups
        for r in group["rules"]
    )


def rules_digest() -> str:
    """Which rules results are of."""
    return hashlib.sha256(RULES.read_bytes()).hexdigest()


def alerts_of(times: Sequence[float], hold_sec: float, step_sec: float = STEP_SEC) -> Iterator[Alert]:
    """The alerts of one label set that an expression gave at these evaluations: a gap ends an alert."""
    began = last = times[0]
    for at in (*times[1:], float("inf")):
        if at - last > 1.5 * step_sec:
            fired = next((t for t in times if began + hold_sec <= t <= last), None)
            yield Alert(began, fired, last)
            began = at
        last = at


def evaluated(client: httpx.Client, zero: Instant, start: Instant, end: Instant) -> dict[str, list[Alert]]:
    """The alerts of all rules between two moments, earliest condition first."""
    found: dict[str, list[Alert]] = {}
    for rule in rules():
        asked: dict[str, str | float] = {
            "query": rule.expr, "start": start.timestamp(), "end": end.timestamp(), "step": STEP_SEC,
        }  # fmt: skip
        answer = client.get("/api/v1/query_range", params=asked).raise_for_status().json()
        alerts = {
            alert
            for series in answer["data"]["result"]
            for alert in alerts_of([float(at) - zero.timestamp() for at, _ in series["values"]], rule.hold_sec)
        }
        if alerts:
            found[rule.name] = sorted(alerts, key=lambda a: (a.true, a.last))
    return found


def series_of(run: RecordedRun, shift_sec: float) -> Iterator[str]:
    """A recording as OpenMetrics text, moved by so many seconds."""
    lines: defaultdict[str, list[str]] = defaultdict(list)
    totals: defaultdict[str, float] = defaultdict(float)
    first, interval = run.ticks[0], run.header.interval_sec
    past = [(first, first.time.add(seconds=-s * interval)) for s in range(int(PAST_SEC / interval), 0, -1)]
    most = {role: max(t.targets.get(role, 0) for t in run.ticks) for role in ("server", "worker")}
    for tick, time in (*past, *((t, t.time) for t in run.ticks)):
        at = f"{time.timestamp() + shift_sec:.3f}"
        for role, count in most.items():
            for number in range(count):
                up = int(number < tick.targets.get(role, 0))
                lines[f'up{{job="{role}",instance="{role}-{number}"}}'].append(f"{up} {at}")
        for series, value in _gauges(tick):
            lines[series].append(f"{value} {at}")
        for series, rate in _rates(tick, interval):
            totals[series] += rate * interval
            lines[series].append(f"{totals[series]:.6f} {at}")
    for series in sorted(lines):
        yield from (f"{series} {sample}\n" for sample in lines[series])
    yield "# EOF\n"


def _gauges(tick: Signals) -> Iterator[tuple[str, float]]:
    for signal_id, series in GAUGES.items():
        rows = {row.label("task_queue"): row.value for row in tick.rows(signal_id) if row.label("task_queue")}
        for queue, value in rows.items():
            yield f'{series},task_queue="{queue}"}}', value
        if not rows and (total := tick.value(signal_id)) is not None:
            yield f"{series}}}", total


def _rates(tick: Signals, interval: float) -> Iterator[tuple[str, float]]:
    for signal_id, series in COUNTERS.items():
        if (rate := tick.value(signal_id)) is not None:
            yield f"{series}}}", rate
    dispatched = tick.value("matching.tasks_dispatched_per_sec")
    if dispatched is not None and (sync := tick.value("poller.sync_match_rate")) is not None:
        yield 'poll_success_sync{service_name="matching"}', dispatched * sync
    if dispatched is not None and (filled := tick.value("poller.poll_success_rate")):
        yield 'poll_timeouts{service_name="matching"}', dispatched * (1 / filled - 1)
    for signal_id, series in TIMERS.items():
        if (p95_ms := tick.value(signal_id)) is None:
            continue
        units = 1e3 if series.startswith("temporal") else 1.0
        for bound in (*BOUNDS_SEC, float("inf")):
            below = 94 * (p95_ms / 2e3 <= bound) + 6 * (p95_ms / 1e3 <= bound)
            le = "+Inf" if bound == float("inf") else f"{bound * units:g}"
            yield f'{series},le="{le}"}}', below / interval


def of_public_cases(folder: Path) -> Iterator[tuple[str, dict[str, list[Alert]]]]:
    """The alerts of each public case that has series."""
    known = {n: c for n, c in cases_of(folder / "expected.toml").items() if (folder / f"{n}.om.gz").exists()}
    with (
        prometheus([folder / f"{name}.om.gz" for name in known]) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        for name, case in known.items():
            if case.begin and case.start and case.end:
                yield f"public/{name}", evaluated(client, case.begin, case.start, case.end)


def of_lab(runs: Mapping[str, Path]) -> Iterator[tuple[str, dict[str, list[Alert]]]]:
    """The alerts of each of the lab's recordings."""
    with tempfile.TemporaryDirectory(prefix="copilot-static-alerts-") as name:
        moved: list[tuple[RecordedRun, Instant, Path]] = []
        for number, (scenario, path) in enumerate(runs.items()):
            run, start = load_run(scenario, path), LAB_FROM.add(seconds=number * APART_SEC)
            file = Path(name) / f"{scenario}.om.gz"
            shift = start.timestamp() - run.ticks[0].time.timestamp()
            file.write_bytes(gzip.compress("".join(series_of(run, shift)).encode(), 1))
            moved.append((run, start, file))
        with prometheus([f for *_, f in moved]) as url, httpx.Client(base_url=url, timeout=60) as client:
            for run, start, _ in moved:
                zero = start.add(seconds=(run.taken.marks.fault - run.ticks[0].time).total("seconds"))
                end = start.add(seconds=(run.ticks[-1].time - run.ticks[0].time).total("seconds"))
                yield f"lab/{run.name}", evaluated(client, zero, start, end)


def write(alerts: Mapping[str, Mapping[str, Iterable[Alert]]]) -> None:
    """static_alerts.json, a case a line."""
    version = subprocess.run(["prometheus", "--version"], capture_output=True, text=True, check=True)
    head: dict[str, Any] = {
        "taken": Instant.now().format_iso()[:10],
        "prometheus": (version.stdout + version.stderr).split()[2].rstrip(","),
        "rules_sha256": rules_digest(),
    }
    cases = ",\n".join(f"  {json.dumps(name)}: {json.dumps(found)}" for name, found in alerts.items())
    fields = "\n".join(f" {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items())
    RESULTS.write_text(f'{{\n{fields}\n "alerts": {{\n{cases}\n }}\n}}\n', "utf-8")


@cache
def results() -> Results:
    """The results as they were last measured."""
    return Results.model_validate_json(RESULTS.read_text("utf-8"))


def rows() -> Iterator[Row]:
    """Measures, writes the results, and says how many alerts there were."""
    alerts = dict((*of_public_cases(PUBLIC), *of_lab(find_runs(RECORDINGS))))
    write(alerts)
    for folder in ("public", "lab"):
        some = [found for name, found in alerts.items() if name.startswith(folder)]
        fired = sum(any(a.fired is not None for each in found.values() for a in each) for found in some)
        yield Row(
            f"static alerts: {folder} cases with an alert", fired, "cases", note=f"of {len(some)}, {RESULTS.name}"
        )
