"""The Copilot watched: does it see, does it evaluate, does it fall behind. From its own metrics."""

from copilot.grafana.panels import COLOURS, Json, dashboard, laid_out, lines, panel
from copilot.grafana.signal_dashboards import SOURCE
from copilot.grafana.variables import PROMETHEUS

UID = "temporal-copilot-itself"
_TOKENS = "sum by (direction) (rate(copilot_model_tokens_total[$__rate_interval]))"
_EVALUATIONS = "sum by (cluster, state) (rate(copilot_evaluations_total[$__rate_interval])) * 60"
_FAILED = """sum by (cluster, source) (rate(copilot_failed_fetches_total[$__rate_interval]))
/ sum by (cluster, source) (rate(copilot_fetches_total[$__rate_interval]))"""


def own_dashboard() -> Json:
    """State, age, coverage and confidence per cluster; how long a cycle takes and what fails in it (of workers with
    `metrics_port`); what models and processes cost."""
    rows = [
        (6, [(24, _states())]),
        (7, [(8, _line("Age of the newest evaluation", "copilot_evaluation_age_seconds", "s")),
             (8, _line("Evidence read", 'copilot_coverage_ratio{kind="primary"}', "ratio")),
             (8, _line("Confidence", "copilot_confidence_ratio", "ratio"))]),
        (7, [(8, _line("Stale", "copilot_stale", "bool")),
             (8, _line("Degraded", "copilot_degraded", "bool")),
             (8, _line("Gates that fire", "sum by (cluster, gate) (copilot_gate_fired) > 0", "count",
                       "{{cluster}} {{gate}}"))]),
        (7, [(8, _cycles()),
             (8, _line("Reads of a source that fail", _FAILED, "ratio", "{{cluster}} {{source}}")),
             (8, _line("Snapshots that wait to be stored", "sum by (cluster) (copilot_pending_writes)", "count"))]),
        (7, [(8, _line("Evaluations", _EVALUATIONS, "1/min", "{{cluster}} {{state}}")),
             (8, _money()),
             (8, _line("Tokens of models", _TOKENS, "1/s", "{{direction}}"))]),
        (7, [(12, _line("Memory of its processes", 'process_resident_memory_bytes{job=~".*copilot.*"}', "bytes",
                        "{{job}}")),
             (12, _line("CPU of its processes", 'rate(process_cpu_seconds_total{job=~".*copilot.*"}[$__rate_interval])',
                        "ratio", "{{job}}"))]),
    ]  # fmt: skip
    return dashboard(
        UID, "Temporal SRE Copilot itself", laid_out(rows), [PROMETHEUS],
        description="Who watches the watcher: the Copilot's own metrics.",
    )  # fmt: skip


def _states() -> Json:
    numbers = {"happy": 0, "stressed": 1, "unknown": 2, "critical": 3}
    each = (f'{n} * sum by (cluster) (copilot_health_state{{state="{s}"}})' for s, n in numbers.items() if n)
    mappings = [{"type": "value", "options": {str(n): {"text": s, "color": COLOURS[s], "index": n}
                                              for s, n in numbers.items()}}]  # fmt: skip
    target = {"expr": " + ".join(each), "legendFormat": "{{cluster}}", "range": True}
    return panel(
        "state-timeline", "Verdicts", SOURCE, [target],
        options={"mergeValues": True, "showValue": "never", "legend": {"showLegend": False}},
        fieldConfig={"defaults": {"mappings": mappings, "custom": {"fillOpacity": 90}}, "overrides": []},
    )  # fmt: skip


def _cycles() -> Json:
    buckets = "sum by (cluster, le) (rate(copilot_worker_cycle_seconds_bucket[$__rate_interval]))"
    targets = [
        {"expr": "copilot_cycle_duration_seconds", "legendFormat": "{{cluster}} newest", "range": True},
        {"expr": f"histogram_quantile(0.95, {buckets})", "legendFormat": "{{cluster}} p95", "range": True},
    ]
    return lines("Duration of a cycle", SOURCE, targets, "s")


def _money() -> Json:
    targets = [
        {"expr": "max(copilot_model_cost_usd_total)", "legendFormat": "spent since midnight UTC", "range": True},
        {"expr": "max(copilot_model_daily_cap_usd)", "legendFormat": "the most a day may cost", "range": True},
    ]
    return lines("US$ for models", SOURCE, targets, "count")


def _line(title: str, expr: str, unit: str, legend: str = "{{cluster}}") -> Json:
    return lines(title, SOURCE, [{"expr": expr, "legendFormat": legend, "range": True}], unit)
