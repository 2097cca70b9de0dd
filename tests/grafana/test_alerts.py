"""The alert rules, judged by Prometheus' own tool."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from copilot.grafana.files import committed

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
          description: "The Copilot's verdict is critical. Its page says why, and what to do first."}}]
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
RULES = committed()["prometheus-rules.yaml"]


def promtool(folder: Path, tests: str) -> "subprocess.CompletedProcess[str]":
    (folder / "rules.yaml").write_text(RULES, encoding="utf-8")
    (folder / "tests.yaml").write_text(tests, encoding="utf-8")
    words = ["promtool", "test", "rules", "tests.yaml"]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.needs_debian("prometheus")
def test_the_rules_fire_when_they_should_and_not_before(tmp_path: Path) -> None:
    ran = promtool(tmp_path, TESTS)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.needs_debian("prometheus")
def test_each_rule_that_waits_fires_at_last(tmp_path: Path) -> None:
    document = yaml.safe_load(TESTS)
    none_expected = [{"eval_time": at, "alertname": alert} for alert, at in FIRES_AT_LAST.items()]
    document["tests"] = [document["tests"][0] | {"alert_rule_test": none_expected}]
    ran = promtool(tmp_path, yaml.safe_dump(document))
    assert ran.returncode == 1
    failed = re.findall(r"alertname: (\w+), time: ", ran.stdout + ran.stderr)
    assert sorted(failed) == sorted(FIRES_AT_LAST)


def test_grafana_has_the_same_rules_on_the_prometheus_that_is_provisioned() -> None:
    rules = yaml.safe_load(committed()["provisioning/alerting/copilot.yaml"])["groups"][0]["rules"]
    sources = yaml.safe_load(committed()["provisioning/datasources/copilot.yaml"])["datasources"]
    assert [r["title"] for r in rules] == [r["alert"] for r in yaml.safe_load(RULES)["groups"][0]["rules"]]
    assert {r["data"][0]["datasourceUid"] for r in rules} <= {s["uid"] for s in sources}
    assert len({r["uid"] for r in rules}) == len(rules)
