"""The Copilot's own view: state, why, what to do, and the past."""

from copilot.grafana.infinity import CLUSTER, RANGE, SOURCE, Columns, ask
from copilot.grafana.panels import (
    COLOURS,
    LEVELS,
    UNITS,
    Json,
    coloured,
    dashboard,
    laid_out,
    panel,
    row,
    stat,
    state_mappings,
    table,
    wrapped,
)
from copilot.grafana.variables import CLUSTER as CLUSTER_VARIABLE
from copilot.grafana.variables import COPILOT, PAGE, STATE
from copilot.rules.signals.taxonomy import SPECS

UID = "temporal-copilot"
SHOWN = (
    "frontend.reachable",
    "state_transitions.throughput_per_sec",
    "workflow_completion.success_per_sec",
    "demand.starts_per_sec",
    "matching.backlog_count",
    "matching.workflow_backlog_age_sec",
    "matching.activity_backlog_age_sec",
    "poller.poll_success_rate",
    "frontend.latency_p99_ms",
    "frontend.error_rate_per_sec",
    "persistence.latency_p99_ms",
    "persistence.error_rate_per_sec",
    "history.tasks_acked_per_sec",
    "workers.workflow_slots_available",
    "workers.activity_slots_available",
    "workers.wft_schedule_to_start_p95_ms",
)
"""Signals of the grid: is work done, does it wait, and what does it cost."""
GUIDE = {"title": "View runbook", "url": "${page}/runbooks/${__value.raw}/page", "targetBlank": True}
ROBOT = "'${page}/static/icons/' + state + '.svg'"
"""The state's picture, on the Copilot's page."""
IN_STATE = "health_state IN (${state:singlequote})"


def copilot_dashboard() -> Json:
    """The dashboard; one question to the API per panel."""
    rows = [
        (7, [(3, _robot()), (6, _state()), (15, _summary())]),
        (3, [(5, _fact("Since", "since")), (5, _fact("Last analysis", "timestamp")),
             (4, _share("Confidence", "confidence")), (5, _fact("Bottleneck", "bottleneck")),
             (5, _share("Evidence read", "coverage.primary"))]),
        (4, [(24, _worst())]),
        (10, [(12, _analysis()), (12, _remediations())]),
        (1, [(24, row("Signals"))]),
        *[(4, [(3, _signal(i)) for i in SHOWN[k : k + 8]]) for k in range(0, len(SHOWN), 8)],
        (1, [(24, row("Past"))]),
        (5, [(24, _timeline())]),
        (9, [(24, _moments())]),
        (1, [(24, row("Evidence"))]),
        (9, [(9, _services()), (15, _gates())]),
        (9, [(24, _logs())]),
    ]  # fmt: skip
    links = [{"type": "link", "title": "The Copilot's page", "url": "${page}/?cluster=${cluster}", "icon": "dashboard",
              "targetBlank": True}]  # fmt: skip
    return dashboard(
        UID, "Temporal SRE Copilot", laid_out(rows), [COPILOT, CLUSTER_VARIABLE, STATE, PAGE], links=links,
        description="Is the cluster making forward progress on the work it has? Every word and number here is the "
        "Copilot's; nothing is computed in Grafana.",
    )  # fmt: skip


def _status(columns: Columns) -> Json:
    return ask("/status", columns, given=CLUSTER)


def _robot() -> Json:
    picture = {"custom.cellOptions": {"type": "image", "title": "The Copilot", "alt": "the Copilot's robot"}}
    target = ask("/status", {"state": "health_state"}, made={"robot": ROBOT}, given=CLUSTER)
    found = table("", SOURCE, [target], {"robot": picture, "state": {"custom.hidden": True}}, header=False)
    found["options"]["cellHeight"] = "lg"
    return found


def _state() -> Json:
    return stat(
        "", SOURCE, _status({"state": "health_state"}), fields="/.*/", defaults={"mappings": state_mappings()},
        options={"colorMode": "background", "text": {"valueSize": 56}},
    )  # fmt: skip


def _summary() -> Json:
    columns = {"Summary": wrapped()}
    return table("What is going on", SOURCE, [_status({"Summary": "summary"})], columns, header=False)


def _fact(title: str, selector: str) -> Json:
    kind = "timestamp" if selector in ("since", "timestamp") else "string"
    unit = {"unit": "dateTimeFromNow"} if kind == "timestamp" else {}
    return stat(
        title, SOURCE, _status({title: (selector, kind)}), fields="/.*/",
        defaults=unit, options={"colorMode": "none", "text": {"valueSize": 22}},
    )  # fmt: skip


def _share(title: str, selector: str) -> Json:
    return stat(
        title, SOURCE, _status({title: (selector, "number")}), defaults={"unit": "percentunit", "min": 0, "max": 1},
        options={"colorMode": "none", "text": {"valueSize": 22}},
    )  # fmt: skip


def _worst() -> Json:
    columns: Columns = {
        "severity": "severity",
        "what": "title",
        "how it shows": "description",
        "likely cause": "likely_cause",
    }
    look = {
        "severity": coloured(110, state_mappings(LEVELS)), "what": wrapped(300), "how it shows": wrapped(),
        "likely cause": wrapped(),
    }  # fmt: skip
    target = ask("/status/issues", columns, root="issues", given={"limit": "1", **CLUSTER})
    return table("The worst issue", SOURCE, [target], look, header=False)


def _analysis() -> Json:
    columns: Columns = {"severity": "severity", "what": "title", "likely cause": "likely_cause",
               "since": ("first_seen", "timestamp")}  # fmt: skip
    look = {"severity": coloured(90, state_mappings(LEVELS)), "what": wrapped(220), "likely cause": wrapped(),
            "since": {"custom.width": 120, "unit": "dateTimeFromNow"}}  # fmt: skip
    return table("Analysis", SOURCE, [ask("/status/issues", columns, root="issues", given=CLUSTER)], look)


def _remediations() -> Json:
    columns: Columns = {"do this": "description", "risk": "risk_level", "confidence": ("confidence", "number"),
               "guide": "runbook"}  # fmt: skip
    gauge = {"custom.cellOptions": {"type": "gauge", "mode": "basic"}, "unit": "percentunit", "min": 0, "max": 1,
             "custom.width": 120}  # fmt: skip
    look = {"do this": wrapped(), "risk": coloured(80, state_mappings(LEVELS)), "confidence": gauge,
            "guide": {"links": [GUIDE], "custom.width": 150}}  # fmt: skip
    target = ask("/status", columns, root="recommended_actions", given=CLUSTER)
    return table("Suggested remediations", SOURCE, [target], look)


def _signal(signal: str) -> Json:
    spec = SPECS[signal]
    target = ask(
        f"/signals/{signal}", {"time": ("time", "timestamp"), signal: ("value", "number")}, root="points",
        given={"max_points": "200", **CLUSTER, **RANGE},
    )  # fmt: skip
    title = signal.split(".")[1].replace("_", " ").removesuffix(" per sec").removesuffix(" ms").removesuffix(" sec")
    return stat(
        title, SOURCE, target, fields=f"/^{signal}$/", description=f"{signal}: {spec.meaning}",
        defaults={"unit": UNITS[spec.unit], "decimals": 1, "color": {"mode": "fixed", "fixedColor": "text"}},
        options={"graphMode": "area", "text": {"valueSize": 22}},
    )  # fmt: skip


def _timeline() -> Json:
    target = ask(
        "/status/timeline", {"time": ("timestamp", "timestamp"), "state": "health_state"}, root="timeline",
        keep=IN_STATE, given={"max_points": "1000", **CLUSTER, **RANGE},
    )  # fmt: skip
    return panel(
        "state-timeline", "State over time", SOURCE, [target],
        options={"mergeValues": True, "showValue": "auto", "rowHeight": 0.9, "legend": {"showLegend": False}},
        fieldConfig={"defaults": {"mappings": state_mappings(), "custom": {"fillOpacity": 90, "lineWidth": 0}},
                     "overrides": []},
    )  # fmt: skip


def _moments() -> Json:
    columns: Columns = {"time": ("timestamp", "timestamp"), "state": "health_state", "bottleneck": "bottleneck",
               "first factor": "top_factor"}  # fmt: skip
    target = ask(
        "/status/timeline", columns, root="timeline", keep=IN_STATE, given={"max_points": "200", **CLUSTER, **RANGE}
    )
    look = {"state": coloured(120, state_mappings()), "time": {"custom.width": 200},
            "first factor": {"links": [GUIDE]}}  # fmt: skip
    return table("Moments", SOURCE, [target], look)


def _services() -> Json:
    columns: Columns = {"service": "name", "forward progress": "forward_progress", "pressure": "pressure",
               "dominant signal": "dominant_signal"}  # fmt: skip
    words = state_mappings(LEVELS)
    look = {"forward progress": coloured(140, words), "pressure": coloured(110, words)}
    target = ask("/status/services", columns, root="services", given=CLUSTER)
    return table("Services", SOURCE, [target], look)


def _gates() -> Json:
    columns: Columns = {"gate": "name", "fires": "fired", "severity": "severity", "value": ("value", "number"),
               "threshold": ("threshold", "number"), "unit": "unit", "why": "sentence"}  # fmt: skip
    fires = [{"type": "value", "options": {"true": {"text": "fires", "color": COLOURS["critical"], "index": 0},
                                           "false": {"text": "does not", "color": "text", "index": 1}}}]  # fmt: skip
    look = {"fires": {"mappings": fires, "custom.cellOptions": {"type": "color-text"}, "custom.width": 90},
            "why": wrapped(), "gate": {"custom.width": 190}, "severity": {"custom.width": 90}}  # fmt: skip
    target = ask("/status", columns, root="gates", given=CLUSTER)
    return table("Why this state", SOURCE, [target], look)


def _logs() -> Json:
    columns: Columns = {"count": ("count", "number"), "pattern": "pattern", "service": "service",
               "last seen": ("last_seen", "timestamp")}  # fmt: skip
    look = {"count": {"custom.width": 90}, "service": {"custom.width": 140}, "last seen": {"custom.width": 200}}
    target = ask("/logs/patterns", columns, root="patterns", given=CLUSTER)
    return table("Log patterns", SOURCE, [target], look)
