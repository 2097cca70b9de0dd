"""Alert rules on the Copilot's own metrics: once for Prometheus, once as provisioned by Grafana. The verdict has its
own anti-flap; these wait only where a person need not be woken at once."""

from dataclasses import dataclass
from typing import Any

import yaml

from copilot.grafana.panels import Json

GROUP = "temporal-sre-copilot"
SOURCE_UID = "copilot-prometheus"


@dataclass(frozen=True)
class Alert:
    """One rule. `expr` has a result while the alert holds; `wait`: for so long before it fires."""

    name: str
    expr: str
    wait: str
    severity: str
    summary: str
    description: str


ALERTS = (
    Alert(
        "TemporalClusterCritical",
        'copilot_health_state{state="critical"} == 1',
        "0m",
        "critical",
        "Temporal cluster {{ $labels.cluster }} makes no progress",
        "The Copilot says critical. Its page says why and what to do first.",
    ),
    Alert(
        "TemporalClusterStressed",
        'copilot_health_state{state="stressed"} == 1',
        "15m",
        "warning",
        "Temporal cluster {{ $labels.cluster }} has been stressed for 15 minutes",
        "Work goes on, but something is in its way. The Copilot's page says what.",
    ),
    Alert(
        "TemporalClusterUnknown",
        'copilot_health_state{state="unknown"} == 1',
        "5m",
        "warning",
        "The Copilot cannot see Temporal cluster {{ $labels.cluster }}",
        "No verdict for want of evidence. `copilot doctor` says which connection fails.",
    ),
    Alert(
        "CopilotGone",
        "absent(copilot_health_state)",
        "5m",
        "critical",
        "Nobody watches the Temporal clusters",
        "The Copilot's API gives no metrics: it is down, or not scraped. A quiet Copilot is no healthy cluster.",
    ),
    Alert(
        "CopilotStuck",
        "copilot_evaluation_age_seconds > 300",
        "2m",
        "critical",
        "The Copilot has not evaluated {{ $labels.cluster }} for five minutes",
        "Its worker or its own Temporal is down. `copilot status --loops` says whether the loop runs.",
    ),
    Alert(
        "CopilotDegraded",
        "copilot_degraded == 1",
        "15m",
        "warning",
        "The Copilot is degraded on {{ $labels.cluster }}",
        "The verdict is live, but the loop or the state store cannot be reached: history is not written or not shown.",
    ),
    Alert(
        "CopilotSourceFails",
        "sum by (cluster, source) (rate(copilot_failed_fetches_total[5m])) "
        "/ sum by (cluster, source) (rate(copilot_fetches_total[5m])) > 0.5",
        "10m",
        "warning",
        "The Copilot cannot read {{ $labels.source }} of {{ $labels.cluster }}",
        "More than half of its reads gave nothing. The worker's log and `copilot doctor` say why.",
    ),
    Alert(
        "CopilotWritesWait",
        "sum by (cluster) (copilot_pending_writes) > 20",
        "10m",
        "warning",
        "The Copilot cannot store what it judges of {{ $labels.cluster }}",
        "Verdicts are live and wait to be stored. `copilot db check-connection` says what is wrong with the store.",
    ),
    Alert(
        "CopilotModelBudgetSpent",
        "max(copilot_model_cost_usd_total) >= 0.95 * max(copilot_model_daily_cap_usd) > 0",
        "0m",
        "info",
        "The Copilot's models have taken what a day may cost",
        "Until midnight UTC the rules' own words explain. Verdicts are not touched.",
    ),
    Alert(
        "CopilotBlindSpots",
        'copilot_coverage_ratio{kind="primary"} < 0.6',
        "15m",
        "warning",
        "The Copilot reads little of {{ $labels.cluster }}",
        "Less than 60 % of the primary signals are there, so no tick is usable. `copilot doctor` says what is missing.",
    ),
)


def prometheus_rules() -> str:
    """A rules file for Prometheus."""
    rules = [
        {
            "alert": a.name,
            "expr": a.expr,
            "for": a.wait,
            "labels": {"severity": a.severity},
            "annotations": {"summary": a.summary, "description": a.description},
        }
        for a in ALERTS
    ]
    return as_yaml({"groups": [{"name": GROUP, "rules": rules}]})


def grafana_rules() -> str:
    """A provisioning file for Grafana's alerting. No data is normal (the condition does not hold), but for the rule
    that waits for absence, which has data then."""
    rules = [_grafana_rule(a) for a in ALERTS]
    group = {"orgId": 1, "name": GROUP, "folder": "Temporal", "interval": "30s", "rules": rules}
    return as_yaml({"apiVersion": 1, "groups": [group]})


def _grafana_rule(alert: Alert) -> Json:
    uid = "".join(f"-{c.lower()}" if c.isupper() else c for c in alert.name).strip("-")
    everybody = {"from": 300, "to": 0}
    question = {"refId": "A", "datasourceUid": SOURCE_UID, "relativeTimeRange": everybody,
                "model": {"refId": "A", "expr": alert.expr, "instant": True, "range": False}}  # fmt: skip
    condition = {"refId": "B", "datasourceUid": "__expr__", "relativeTimeRange": everybody,
                 "model": {"refId": "B", "type": "math", "expression": "is_number($A)"}}  # fmt: skip
    return {
        "uid": uid,
        "title": alert.name,
        "condition": "B",
        "data": [question, condition],
        "for": alert.wait,
        "noDataState": "OK",
        "execErrState": "Error",
        "labels": {"severity": alert.severity},
        "annotations": {"summary": alert.summary, "description": alert.description},
    }


def as_yaml(document: Any) -> str:
    """A generated file's text."""
    text: str = yaml.safe_dump(document, sort_keys=False, width=120)
    return f"# Generated by `make docs`; do not edit.\n{text}"
