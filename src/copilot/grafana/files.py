"""Everything for Grafana as files: `python -m copilot.grafana.files FOLDER` writes what is committed."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from copilot.grafana.alerts import grafana_rules, prometheus_rules
from copilot.grafana.copilot_dashboard import copilot_dashboard
from copilot.grafana.own_dashboard import own_dashboard
from copilot.grafana.panels import Json
from copilot.grafana.provisioning import dashboard_folders, data_sources
from copilot.grafana.signal_dashboards import signal_dashboards

OPENTELEMETRY = ("server opentelemetry", "sdk opentelemetry")


def dashboards(dialects: Sequence[str] = ()) -> dict[str, Json]:
    """All dashboards by uid, their PromQL in these dialects (at most one for each role; the default ones if empty)."""
    own = [copilot_dashboard(), own_dashboard()]
    return {**{d["uid"]: d for d in own}, **signal_dashboards(dialects)}


def files(dialects: Sequence[str] = ()) -> dict[str, str]:
    """Everything, by path."""
    found = {
        "provisioning/datasources/copilot.yaml": data_sources(),
        "provisioning/dashboards/copilot.yaml": dashboard_folders(),
        "provisioning/alerting/copilot.yaml": grafana_rules(),
        "prometheus-rules.yaml": prometheus_rules(),
    }
    return found | {f"dashboards/{uid}.json": _text(d) for uid, d in dashboards(dialects).items()}


def committed() -> dict[str, str]:
    """What is committed under deploy/grafana: for metrics scraped from the servers and workers themselves, and the
    dashboards of signals again for metrics that come through an OpenTelemetry collector."""
    behind_collector = signal_dashboards(OPENTELEMETRY)
    return files() | {f"dashboards-opentelemetry/{uid}.json": _text(d) for uid, d in behind_collector.items()}


def write(folder: Path, contents: dict[str, str]) -> list[Path]:
    """Write files below a folder; the paths written."""
    for path, text in contents.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return [folder / path for path in contents]


def _text(dashboard: Json) -> str:
    return json.dumps(dashboard, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write(Path(sys.argv[1]), committed())
