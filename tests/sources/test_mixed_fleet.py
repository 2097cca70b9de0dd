"""Half the workers report as the SDK does by default, half with suffixes and in seconds: read as bare pages and through
a Prometheus they are one fleet."""

import os
import sys
from pathlib import Path

import httpx
import pytest

from copilot.diagnosis import ClusterDiagnosis
from copilot.doctor import diagnose
from copilot.embedded.ports import free_ports
from copilot.rules.signals.taxonomy import SPECS
from copilot.settings.clusters import ClusterSettings, MetricsEndpoint, PrometheusSettings
from copilot.settings.load import Settings
from tests.sources.prometheus_server import prometheus
from tests.sources.test_temporal_api import LOAD, watched
from tests.sources.watched_frontend import process

pytestmark = [pytest.mark.servers, pytest.mark.needs_debian("prometheus")]

WORKER = [i for i, spec in SPECS.items() if spec.role == "worker" and spec.expression is not None]
ANSWERED = "workers.activity_execution_p95_ms"


def values(found: ClusterDiagnosis) -> dict[str, float | None]:
    return {row.id: row.value for row in found.signals}


def said(found: ClusterDiagnosis, start: str) -> list[str]:
    return [check.found for check in found.checks if check.name.startswith(start)]


async def test_workers_of_two_spellings_are_one_fleet_on_bare_pages_and_in_a_prometheus(tmp_path: Path) -> None:
    (other_port,) = free_ports(1)
    path = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    async with watched(tmp_path) as cluster:
        argv = (sys.executable, str(LOAD), cluster.address, str(other_port), "suffixed")
        async with process(*argv, env=path):
            server, default = cluster.cluster.metrics
            suffixed = MetricsEndpoint(url=f"http://127.0.0.1:{other_port}/metrics", role="worker")
            jobs = {
                "temporal": [httpx.URL(server.url).netloc.decode()],
                "workers": [httpx.URL(e.url).netloc.decode() for e in (default, suffixed)],
            }
            async with prometheus(tmp_path, jobs) as there:
                both = '{__name__=~"temporal_activity_execution_latency_count|temporal_activity_execution_latency_seconds_count"}'  # noqa: E501
                await there.until(f"count(count_over_time({both}[12s]) > 10) > 1", patience_sec=60)
                base = {"interval_sec": 2.0, "window_sec": 12.0}
                pages = ClusterSettings(metrics=(server, default, suffixed), **base)
                asked = ClusterSettings(prometheus=PrometheusSettings(url=there.url), **base)
                one = PrometheusSettings(url=there.url, dialect={"worker": "sdk suffixed"})
                chosen = ClusterSettings(prometheus=one, **base)
                named = pages.model_copy(
                    update={"metrics": (server, default, suffixed.model_copy(update={"dialect": "sdk default"}))}
                )
                bare, queried, half, misnamed = (await diagnose(Settings(), [pages, asked, chosen, named])).clusters

    assert [found.coverage.worker for found in (bare, queried)] == [1.0, 1.0]
    assert [found.distrust for found in (bare, queried)] == [(), ()]
    assert [text.rpartition("(")[2] for text in said(bare, "worker metrics")] == ["sdk default)", "sdk suffixed)"]
    assert said(queried, "its worker metrics") == ["2 targets (sdk default, sdk suffixed)"]
    assert said(half, "its worker metrics") == ["2 targets (sdk suffixed)"]
    read = values(bare), values(queried)
    pollers = [v["workers.workflow_pollers"] or 0.0 for v in read]  # a poll that got a task is none for a moment
    assert pollers[0] == pytest.approx(pollers[1], abs=3)
    assert min(pollers) > 5
    assert all((v["workers.activity_slots_available"] or 0) > 150 for v in read)
    latencies = [i for i in WORKER if i.endswith("_ms")]
    assert latencies
    for signal_id in latencies:
        first, second = (v[signal_id] or 0.0 for v in read)
        assert 0.1 < first < 20_000, signal_id
        assert 0.1 < second / first < 10, signal_id
    assert values(misnamed)[ANSWERED] is not None
    assert said(misnamed, "worker metrics")[1].endswith("(sdk default)")
    assert said(misnamed, "worker metrics")[1] != said(bare, "worker metrics")[1]
