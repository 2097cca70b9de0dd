"""The alert rules, judged by Prometheus' own tool."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml

from copilot.grafana.files import committed

FIRES_AT_LAST = {
    "TemporalClusterStressed": "16m",
    "TemporalClusterUnknown": "6m",
    "CopilotStuck": "8m",
    "CopilotDegraded": "16m",
    "CopilotBlindSpots": "16m",
    "CopilotLoopFails": "11m",
    "CopilotClocksDisagree": "11m",
    "CopilotSourceFails": "13m",
    "CopilotWritesWait": "22m",
    "CopilotModelBudgetSpent": "10m",
}
TESTS = Path(__file__).with_name("alerts.test.yaml").read_text(encoding="utf-8")
FILES = cache(committed)


def promtool(folder: Path, tests: str) -> "subprocess.CompletedProcess[str]":
    (folder / "rules.yaml").write_text(FILES()["prometheus-rules.yaml"], encoding="utf-8")
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
    rules = yaml.safe_load(FILES()["provisioning/alerting/copilot.yaml"])["groups"][0]["rules"]
    sources = yaml.safe_load(FILES()["provisioning/datasources/copilot.yaml"])["datasources"]
    assert [r["title"] for r in rules] == [
        r["alert"] for r in yaml.safe_load(FILES()["prometheus-rules.yaml"])["groups"][0]["rules"]
    ]
    assert {r["data"][0]["datasourceUid"] for r in rules} <= {s["uid"] for s in sources}
    assert len({r["uid"] for r in rules}) == len(rules)
