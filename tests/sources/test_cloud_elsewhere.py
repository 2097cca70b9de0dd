"""Temporal Cloud's metrics by other ways: what a real server counts, a real Prometheus, saved pages, doctor."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner
from whenever import Instant

from copilot import bootstrap
from copilot.cli.main import app
from copilot.cloud_checks import check_cloud
from copilot.metrics.cloud import CloudMinute, cloud_signals, sample
from copilot.settings.clusters import ClusterSettings
from tests.fakes.cloud import DELAY, CloudEndpoint, floor, limits, minute_of_pages
from tests.recorded_pages import played, roll
from tests.sources.metrics_server import MetricsServer
from tests.sources.prometheus_server import prometheus
from tests.sources.test_cloud import BUSY, SHOP, START, Clock, cluster, endpoint_at

SAME = (
    "demand.starts_per_sec", "workflow_completion.success_per_sec", "matching.tasks_dispatched_per_sec",
    "activity_tasks.completed_per_sec", "poller.sync_match_rate", "workflow_tasks.completed_per_sec",
)  # fmt: skip


def test_a_real_servers_minute_reads_as_its_own_page_does() -> None:
    server = roll("start", "server")
    last = server.reads[-1]
    first = next(r for r in server.reads if last.at - r.at <= 30.5)
    samples = minute_of_pages(first.body(server.types), last.body(server.types), last.at - first.at)
    minute = CloudMinute(START, tuple(sample(f, {"temporal_namespace": SHOP, **of}, v) for f, of, v in samples))
    ours, own = cloud_signals(minute, START), played("start")[-1]
    for signal_id in SAME:
        assert ours.value(signal_id) == pytest.approx(own.value(signal_id), rel=0.25), signal_id


@pytest.mark.servers
@pytest.mark.needs_debian("prometheus")
async def test_a_prometheus_that_scrapes_cloud_gives_its_newest_minute_and_nothing_that_ended(tmp_path: Path) -> None:
    at = floor(Instant.now() - DELAY)
    endpoint = CloudEndpoint(Instant.now, values=limits(action_limit=500))
    endpoint.minutes = {at: BUSY, at.add(minutes=1): BUSY[:1], at.add(minutes=2): BUSY[:1]}

    def page(minute: Instant) -> bytes:
        endpoint.clock = lambda: minute.add(seconds=130)
        lines, _ = endpoint._lines(endpoint.clock(), {})
        return "\n".join([*lines, ""]).encode()

    async with MetricsServer.start(page(at.subtract(minutes=1))) as served:
        address = served.url.split("/")[2]
        async with prometheus(tmp_path, {"cloud": [address]}) as server:
            for minute in (at, at.add(minutes=1)):
                served.body = page(minute)
                await server.until(f"timestamp(temporal_cloud_v1_action_limit) == {minute.timestamp()}")
            settings = {"namespaces": [SHOP], "metrics": "prometheus"}
            watching = ClusterSettings(cloud=settings, prometheus={"url": server.url})
            check = await check_cloud(watching)
            source = bootstrap.cloud_source(watching, bootstrap.CloudAccounts([watching]))
            signals = await source.read(Instant.now())
            await source.aclose()
    assert check.status == "ok"
    assert signals.metrics_at == at.add(minutes=1)
    assert signals.value("demand.starts_per_sec") == 5.0
    assert signals.value("matching.tasks_dispatched_per_sec") == 0.0, "Prometheus still shows it: it ended a minute ago"


async def test_doctor_reads_the_account_once_and_says_what_is_wrong() -> None:
    endpoint = endpoint_at(Clock())
    endpoint.clock = lambda: START
    async with endpoint.run():
        fine = await check_cloud(cluster(endpoint.url))
        assert fine.status == "ok"
        assert "12 series of 1 namespaces; readings of the API are live" in fine.found
        other = await check_cloud(cluster(endpoint.url, namespaces=["other.a1b2c"]))
        assert (other.status, "nothing of Temporal Cloud" in other.found) == ("failed", True)
        endpoint.keys = {"key": 403}
        refused = await check_cloud(cluster(endpoint.url))
        assert refused.fix == "set the API key of a service account with the role Metrics Read-Only"
    nothing = await check_cloud(ClusterSettings(cloud={"namespaces": [SHOP]}))
    assert "there is no API key" in nothing.found


def test_a_saved_page_is_read_as_one_of_cloud(tmp_path: Path) -> None:
    clock = Clock()
    lines, _ = endpoint_at(clock)._lines(START, {})
    (tmp_path / "cloud.txt").write_text("\n".join([*lines, "# EOF", ""]))
    said = json.loads(CliRunner().invoke(app, ["read", str(tmp_path / "cloud.txt"), "--json"]).stdout)
    assert said["dialect"] == {"server": "Temporal Cloud"}
    assert said["readings"]["demand.starts_per_sec"] == 5.0
    assert said["readings"]["limits.actions_used_share"] == 0.9
