"""The alert rules, judged by Prometheus' own tool."""

import subprocess
from pathlib import Path

import pytest
import yaml

from copilot.grafana.alerts import ALERTS, grafana_rules, prometheus_rules
from copilot.grafana.provisioning import dashboard_folders, data_sources

TESTS = """\
rule_files: [rules.yaml]
evaluation_interval: 30s
tests:
  - interval: 30s
    input_series:
      - {series: 'copilot_health_state{cluster="prod", state="critical"}', values: '0 0 1x40'}
      - {series: 'copilot_health_state{cluster="slow", state="stressed"}', values: '1x60'}
      - {series: 'copilot_health_state{cluster="dark", state="unknown"}', values: '1x60'}
      - {series: 'copilot_health_state{cluster="fine", state="critical"}', values: '0x60'}
      - {series: 'copilot_evaluation_age_seconds{cluster="slow"}', values: '0+30x60'}
      - {series: 'copilot_degraded{cluster="slow"}', values: '1x60'}
      - {series: 'copilot_coverage_ratio{cluster="slow", kind="primary"}', values: '0.5x60'}
      - {series: 'copilot_coverage_ratio{cluster="fine", kind="primary"}', values: '0.9x60'}
      - {series: 'copilot_fetches_total{cluster="slow", source="api"}', values: '0+1x60'}
      - {series: 'copilot_failed_fetches_total{cluster="slow", source="api"}', values: '0+1x60'}
      - {series: 'copilot_fetches_total{cluster="fine", source="api"}', values: '0+1x60'}
      - {series: 'copilot_failed_fetches_total{cluster="fine", source="api"}', values: '0x60'}
      - {series: 'copilot_pending_writes{cluster="slow"}', values: '0+1x60'}
      - {series: 'copilot_model_cost_usd_total', values: '0+0.1x60'}
      - {series: 'copilot_model_daily_cap_usd', values: '2x60'}
    alert_rule_test:
      - {eval_time: 30s, alertname: TemporalClusterCritical, exp_alerts: []}
      - eval_time: 1m
        alertname: TemporalClusterCritical
        exp_alerts: [{exp_labels: {severity: critical, cluster: prod, state: critical}, exp_annotations: {
          summary: Temporal cluster prod makes no progress,
          description: The Copilot says critical. Its page says why and what to do first.}}]
      - {eval_time: 14m, alertname: TemporalClusterStressed, exp_alerts: []}
      - {eval_time: 1m, alertname: CopilotGone, exp_alerts: []}
      - {eval_time: 9m, alertname: CopilotModelBudgetSpent, exp_alerts: []}
      - {eval_time: 20m, alertname: CopilotWritesWait, exp_alerts: []}
  - interval: 30s
    input_series: [{series: 'up{job="other"}', values: '1x60'}]
    alert_rule_test:
      - {eval_time: 4m, alertname: CopilotGone, exp_alerts: []}
"""
FIRES_AT_LAST = {
    "TemporalClusterStressed": "16m",
    "TemporalClusterUnknown": "6m",
    "CopilotStuck": "8m",
    "CopilotDegraded": "16m",
    "CopilotBlindSpots": "16m",
    "CopilotSourceFails": "13m",
    "CopilotWritesWait": "22m",
    "CopilotModelBudgetSpent": "10m",
}


def promtool(folder: Path, *words: str) -> str:
    ran = subprocess.run(["promtool", *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.needs_debian("prometheus")
def test_the_rules_are_valid_and_fire_when_they_should(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(prometheus_rules(), encoding="utf-8")
    assert f"{len(ALERTS)} rules found" in promtool(tmp_path, "check", "rules", "rules.yaml")
    (tmp_path / "tests.yaml").write_text(TESTS, encoding="utf-8")
    promtool(tmp_path, "test", "rules", "tests.yaml")


@pytest.mark.needs_debian("prometheus")
@pytest.mark.parametrize(("alert", "at"), FIRES_AT_LAST.items())
def test_a_rule_that_waits_fires_at_last(tmp_path: Path, alert: str, at: str) -> None:
    document = yaml.safe_load(TESTS)
    document["tests"] = [document["tests"][0] | {"alert_rule_test": [{"eval_time": at, "alertname": alert}]}]
    (tmp_path / "rules.yaml").write_text(prometheus_rules(), encoding="utf-8")
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    ran = subprocess.run(["promtool", "test", "rules", "tests.yaml"], cwd=tmp_path, capture_output=True, text=True,
                         timeout=60, check=False)  # fmt: skip
    assert ran.returncode == 1
    assert alert in ran.stdout + ran.stderr


def test_grafana_has_the_same_rules_and_asks_the_provisioned_prometheus() -> None:
    rules = yaml.safe_load(grafana_rules())["groups"][0]["rules"]
    sources = {s["uid"] for s in yaml.safe_load(data_sources())["datasources"]}
    assert [r["title"] for r in rules] == [a.name for a in ALERTS]
    assert {r["data"][0]["datasourceUid"] for r in rules} <= sources
    assert len({r["uid"] for r in rules}) == len(rules)
    assert yaml.safe_load(dashboard_folders())["providers"][0]["type"] == "file"
