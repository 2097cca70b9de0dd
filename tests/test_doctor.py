"""Doctor at a cluster whose answers are chosen, over real sockets, and at a real one."""

import asyncio
import re
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from whenever import Instant

from copilot.diagnosis import (
    Check,
    CheckStatus,
    ClusterDiagnosis,
    Diagnosis,
    SignalStatus,
    diagnose_signal,
    upgrade_adds,
)
from copilot.doctor import _processes, _read_after_all, diagnose, record_cluster
from copilot.embedded.ports import free_ports
from copilot.errors import SourceError, StartError
from copilot.frontend_checks import twice
from copilot.loops.starter import start_loops
from copilot.rules.signals.readings import Missing, MissingCode, ServerFacts, Signals
from copilot.rules.signals.taxonomy import SPECS
from copilot.rules.state_machine import coverage
from copilot.settings.clusters import (
    ClusterSettings,
    MetricsEndpoint,
    PrometheusSettings,
    TemporalSettings,
    WatchedTemporal,
)
from copilot.settings.load import Settings, StoreSettings
from copilot.sources.checks import ServerProcesses
from copilot.sources.recorded import read_recording
from tests.scraped import recorded
from tests.sources.metrics_server import MetricsServer
from tests.sources.prometheus_server import prometheus
from tests.sources.prometheus_standin import StandIn
from tests.sources.test_temporal_api import watched
from tests.sources.watched_frontend import dev_server


@pytest.fixture
async def server() -> AsyncIterator[MetricsServer]:
    async with MetricsServer.start(recorded("server")) as started:
        yield started


async def diagnosis(
    url: str, *, role: str = "server", settings: Settings | None = None, temporal: WatchedTemporal | None = None
) -> Diagnosis:
    endpoint = MetricsEndpoint.model_validate({"url": url, "role": role})
    cluster = ClusterSettings(interval_sec=15, window_sec=30, metrics=(endpoint,), temporal=temporal)
    return await diagnose(settings or Settings(), [cluster], quick=True)


async def of_cluster(url: str, **said: str) -> ClusterDiagnosis:
    return (await diagnosis(url, **said)).clusters[0]  # type: ignore[arg-type]


async def trusted(settings: Settings, *clusters: ClusterSettings) -> Diagnosis:
    """The first diagnosis whose readings are enough: a busy machine may need several."""
    async with asyncio.timeout(300):
        while True:
            found = await diagnose(settings, clusters, quick=True)
            if not any(cluster.distrust for cluster in found.clusters):
                return found


def of_page(url: str) -> ClusterSettings:
    endpoint = MetricsEndpoint(url=url, role="server")
    return ClusterSettings(interval_sec=15, window_sec=30, metrics=(endpoint,))


def check(checks: tuple[Check, ...], start: str) -> Check:
    (found,) = (c for c in checks if c.name.startswith(start))
    return found


async def test_a_page_alone_is_enough_for_a_verdict(server: MetricsServer) -> None:
    found = await trusted(Settings(), of_page(server.url))
    assert found.fine
    (cluster,) = found.clusters
    assert check(cluster.checks, "server metrics").status is CheckStatus.OK
    services = check(cluster.checks, "server processes")
    assert (services.status, services.found) == (CheckStatus.OK, "frontend × 1, history × 1, matching × 1, worker × 1")
    assert check(cluster.checks, "Temporal frontend").status is CheckStatus.SKIPPED
    assert {c.status for c in found.own} == {CheckStatus.SKIPPED}
    assert cluster.coverage.primary > 0.9
    assert cluster.coverage.worker is None
    rows = {row.id: row for row in cluster.signals}
    assert rows["state_transitions.throughput_per_sec"].value == 0.0
    assert rows["frontend.latency_p99_ms"].status is SignalStatus.NO_TRAFFIC
    assert rows["worker_cache.sticky_size"].why == "no worker metrics are configured"
    assert rows["connection_pool.utilization_pct"].status is SignalStatus.MISSING


UNUSABLE = [
    ("403 Forbidden", "text/plain", b"", "HTTP 403 Forbidden", "credentials"),
    ("404 Not Found", "text/plain", b"", "HTTP 404 Not Found", "/metrics"),
    ("503 Busy", "text/plain", b"", "HTTP 503 Busy", "is it running"),
    ("429 Later", "text/plain", b"", "HTTP 429 Later", "allow more requests"),
    ("200 OK", "text/html", b"<p>", "HTML instead of metrics", "metrics port"),
    ("200 OK", "text/plain", b"", "an empty page", "listener"),
    ("200 OK", "text/plain", b"up 1\n", "nothing of a Temporal server", "metrics port"),
    ("200 OK", "text/plain", recorded("worker"), "a worker's page", 'set role = "worker" for it'),
]


async def test_an_unusable_page_has_a_reason_and_a_fix() -> None:
    async def checked(status: str, kind: str, body: bytes, what: str, fix: str) -> None:
        async with MetricsServer.start(body) as server:
            server.status, server.kind = status, kind
            found = await of_cluster(server.url)
        page = check(found.checks, "server metrics")
        assert page.status is CheckStatus.FAILED
        assert what in page.found
        assert fix in page.fix
        assert any("server metrics" in reason for reason in found.distrust)
        assert "0% of the primary signals were read, a verdict needs 60%" in found.distrust

    await asyncio.gather(*(checked(*case) for case in UNUSABLE))


async def test_a_service_without_a_page_is_a_warning(server: MetricsServer) -> None:
    lines = server.body.splitlines(keepends=True)
    server.body = b"".join(line for line in lines if b'service_name="history"' not in line)
    lacking = check((await of_cluster(server.url)).checks, "server processes")
    assert (lacking.status, lacking.found.partition("; ")[2]) == (CheckStatus.WARNING, "no history page is read")


def of_history(*shards: int, there: int) -> tuple[Check, ...]:
    found = [ServerProcesses(dict.fromkeys(("frontend", "matching", "worker"), 1))]
    found += [ServerProcesses({"history": 1}, (owned,)) for owned in shards]
    return _processes(found, ServerFacts(history_shards=there), listed=True)


@pytest.mark.parametrize(
    ("shards", "status", "words"),
    [
        ((270, 242), CheckStatus.OK, "history × 2 (242 + 270 of 512 shards), matching × 1, worker × 1"),
        ((242,), CheckStatus.WARNING, "a history process is not read, or shards move just now"),
        ((270, 242, 242), CheckStatus.WARNING, "some are read twice, or shards move just now"),
    ],
)
def test_the_shards_of_history_show_whether_a_process_is_lacking(
    shards: tuple[int, ...], status: CheckStatus, words: str
) -> None:
    (found,) = of_history(*shards, there=512)
    assert (found.status, found.found.endswith(words)) == (status, True)


async def test_a_call_that_timed_out_is_made_once_more_and_others_are_not() -> None:
    made: list[MissingCode] = []

    async def call(*answers: MissingCode | None) -> str:
        if (code := answers[len(made)]) is not None:
            made.append(code)
            raise SourceError(code, "no answer")
        return "answered"

    late, refused = MissingCode.TIMEOUT, MissingCode.FORBIDDEN
    assert await twice(partial(call, late, None)) == "answered"
    for answers in ([refused], [late, late], [late, refused]):
        made.clear()
        with pytest.raises(SourceError):
            await twice(partial(call, *answers))
        assert made == answers


def test_a_check_that_timed_out_beside_a_whole_reading_is_a_warning() -> None:
    def after(found: str) -> CheckStatus:
        return _read_after_all(Check(name="page", status=CheckStatus.FAILED, found=found)).status

    assert after("timed out after 5 s") is CheckStatus.WARNING
    assert after("HTTP 403 Forbidden") is CheckStatus.FAILED


async def test_a_page_without_a_version_is_a_warning_that_says_what_it_costs(server: MetricsServer) -> None:
    assert check((await of_cluster(server.url)).checks, "server version").found == "1.32"
    lines = server.body.splitlines(keepends=True)
    for said, found in ((b"nightly", "nightly: not a release that is known"), (b"", "unknown")):
        server.body = b"".join(line for line in lines if not line.startswith(b"build_information"))
        server.body += b'build_information{build_version="%s"} 1\n' % said if said else b""
        version = check((await of_cluster(server.url)).checks, "server version")
        assert (version.status, version.found) == (CheckStatus.WARNING, found)
        assert "never zero" in version.fix


def test_an_old_server_is_told_what_an_upgrade_adds_and_what_others_give_until_then() -> None:
    why = Missing(code=MissingCode.NO_SOURCE, detail="not emitted by server 1.28: activity_success is new in 1.29")
    here = Signals(
        time=Instant.now(),
        readings={"activity_tasks.completed_per_sec": None, "poller.pending_polls": 2.0, "demand.starts_per_sec": 1.0},
        missing={"activity_tasks.completed_per_sec": why},
    )
    directly = "measured directly from then on: poller.pending_polls"
    assert upgrade_adds((1, 28), here) == f"1.32 adds: activity_tasks.completed_per_sec; {directly}"
    assert upgrade_adds((1, 29), here) == f"1.32 adds no signal; {directly}"
    assert upgrade_adds((1, 32), here) == ""
    assert coverage(here).primary == 1.0
    spec = SPECS["activity_tasks.completed_per_sec"]
    assert diagnose_signal(spec, here).hint == "an upgrade of the server adds it"


def test_a_signal_that_is_not_on_metrics_that_are_read_is_not_told_to_turn_them_on() -> None:
    spec = SPECS["frontend.latency_p99_ms"]
    lacking = Signals(time=Instant.now(), readings={spec.id: None}, missing={spec.id: Missing(code=MissingCode.ABSENT)})
    assert "metric_relabel_configs" in diagnose_signal(spec, lacking.model_copy(update={"targets": {"server": 1}})).hint
    assert diagnose_signal(spec, lacking).hint.startswith('a metrics endpoint with role "server"')


async def test_a_refused_connection_is_the_reason_of_missing_signals() -> None:
    url = f"http://user:geheim@127.0.0.1:{free_ports(1)[0]}/metrics"
    found = await of_cluster(url)
    assert check(found.checks, "server metrics").found == "Connection refused"
    assert check(found.checks, "clocks").status is CheckStatus.SKIPPED
    rows = {row.id: row for row in found.signals}
    assert "Connection refused" in rows["demand.starts_per_sec"].why
    assert "checks" in rows["demand.starts_per_sec"].hint
    assert "geheim" not in found.model_dump_json()


async def test_a_worker_page_that_is_down_is_a_warning(server: MetricsServer) -> None:
    server.status = "503 Busy"
    found = await of_cluster(server.url, role="worker")
    assert check(found.checks, "worker metrics").status is CheckStatus.WARNING


async def test_a_clock_that_differs_is_a_warning() -> None:
    async def checked(seconds: int, words: str) -> None:
        async with MetricsServer.start(recorded("server")) as server:
            server.headers = (f"Date: {Instant.now().add(seconds=seconds).format_rfc2822()}",)
            (found,) = (await trusted(Settings(), of_page(server.url))).clusters
        clocks = check(found.checks, "clocks")
        assert clocks.status is CheckStatus.WARNING
        assert re.search(rf" 3[56]\d\d s {words} this machine", clocks.found)

    await asyncio.gather(checked(-3600, "behind"), checked(3600, "ahead of"))


async def test_refused_connections_fail_the_checks(server: MetricsServer) -> None:
    nobody = f"127.0.0.1:{free_ports(1)[0]}"
    settings = Settings(
        temporal=TemporalSettings(address=nobody), store=StoreSettings(url=f"postgresql://x:geheim@{nobody}/none")
    )
    found = await diagnosis(server.url, settings=settings, temporal=WatchedTemporal(address=nobody))
    assert not found.fine
    assert check(found.own, "the Copilot's Temporal").found == "connection refused"
    assert check(found.own, "the store").status is CheckStatus.FAILED
    assert check(found.clusters[0].checks, "Temporal frontend").status is CheckStatus.FAILED
    assert check(found.clusters[0].checks, "task queues").status is CheckStatus.SKIPPED
    assert "geheim" not in found.model_dump_json()


@pytest.mark.needs_debian("prometheus")
@pytest.mark.servers
async def test_a_prometheus_has_a_check_for_each_role(tmp_path: Path, server: MetricsServer) -> None:
    server.body += b'persistence_requests{operation="UpsertClusterMembership"} @asked@\n'
    async with MetricsServer.start(recorded("worker")) as worker:
        jobs = {"temporal": [server.url.split("/")[2]], "workers": [worker.url.split("/")[2]]}
        async with prometheus(tmp_path, jobs) as started:
            for seen in ("service_requests", "temporal_num_pollers"):
                await started.until(f"count_over_time({seen}[60s]) > 3")
            cluster = ClusterSettings(interval_sec=15, window_sec=60, prometheus=PrometheusSettings(url=started.url))
            selected = PrometheusSettings(url=started.url, selector='job="temporal"')
            other = cluster.model_copy(update={"prometheus": selected})
            found, half = (await trusted(Settings(), cluster, other)).clusters
    assert check(found.checks, "Prometheus http").found.startswith("version 2.")
    spelled = "counters bare, timers bare in"
    assert check(found.checks, "its server metrics").found == f"1 target; server: {spelled} seconds"
    assert check(found.checks, "its worker metrics").found == f"1 target; sdk default: {spelled} milliseconds"
    services = check(found.checks, "server processes")
    assert services.found == "frontend × 1, history × 1, matching × 1, worker × 1"
    assert check(found.checks, "server version").found == "1.32"
    assert check(found.checks, "clocks").status is CheckStatus.OK
    assert (found.coverage.primary, found.distrust) == (1.0, ())
    workers = check(half.checks, "its worker metrics")
    assert (workers.status, workers.found) == (CheckStatus.WARNING, "no target")


class SlowlyScraped(StandIn):
    """Knows one target, read every minute."""

    def _targets(self, query: str) -> bytes:
        window = re.search(r"count_over_time\(.*?\[(\d+)s\]", query)
        assert window is not None
        self.counts = {"s:1": int(window[1]) // 60}
        return super()._targets(query)


async def test_a_window_too_short_for_the_scrapes_is_a_warning_with_a_longer_one() -> None:
    async with SlowlyScraped().run() as slow:
        cluster = ClusterSettings(prometheus=PrometheusSettings(url=slow.url))
        (found,) = (await diagnose(Settings(), [cluster], quick=True)).clusters
    told = check(found.checks, "its server metrics")
    assert (told.status, told.fix) == (CheckStatus.WARNING, "it is scraped every 60 s: set window_sec = 240")


@pytest.mark.parametrize(
    ("status", "what"), [("403 Forbidden", "HTTP 403 Forbidden"), ("200 OK", "HTML instead of JSON")]
)
async def test_a_server_that_is_no_prometheus_fails_its_check(server: MetricsServer, status: str, what: str) -> None:
    server.status, server.body, server.kind = status, b"<html></html>", "text/html"
    settings = PrometheusSettings(url=server.url.removesuffix("/metrics"))
    cluster = ClusterSettings(interval_sec=5, window_sec=10, prometheus=settings)
    (found,) = (await diagnose(Settings(), [cluster], quick=True)).clusters
    answers = check(found.checks, "Prometheus http")
    assert (answers.status, what in answers.found) == (CheckStatus.FAILED, True)
    assert "query" in answers.fix


@pytest.mark.servers
async def test_the_version_of_a_server_whose_page_hides_it_comes_from_its_api(tmp_path: Path) -> None:
    hidden = (b"build_information", b"tasks_added", b"pending_polls")
    body = b"".join(line for line in recorded("server").splitlines(keepends=True) if not line.startswith(hidden))
    async with dev_server(tmp_path) as real, MetricsServer.start(body) as page:
        alone = of_page(page.url)
        both = alone.model_copy(update={"name": "both", "temporal": WatchedTemporal(address=real.address)})
        found = await trusted(Settings(), alone, both)
    added = (row for cluster in found.clusters for row in cluster.signals if row.id == "demand.tasks_added_per_sec")
    assert [(row.value, row.source) for row in added] == [(0.0, "syncmatch_latency_count"), (0.0, "metrics")]
    assert check(found.clusters[1].checks, "server version").found == "1.32"


@pytest.mark.servers
async def test_a_real_cluster_has_every_signal_but_may_not_watch_itself(tmp_path: Path) -> None:
    async with watched(tmp_path) as real:
        await real.until(lambda s: bool(s.value("workflow_completion.success_per_sec")), 30)
        cluster = real.cluster.model_copy(update={"window_sec": 10.0})
        settings = Settings(temporal=TemporalSettings(address=real.address), clusters=(cluster,))
        told: list[float] = []
        found, _ = await asyncio.gather(
            diagnose(settings, [cluster], progress=lambda _name, elapsed, _total: told.append(elapsed)),
            record_cluster(cluster, tmp_path / "r.jsonl.gz", 4.5, lambda _number, _tick: None),
        )
        assert told[0] == 0.0
        assert told[-1] >= 10.0
        (diagnosed,) = found.clusters
        assert diagnosed.distrust == ()
        assert diagnosed.coverage.primary == 1.0
        assert check(found.own, "the Copilot's Temporal").found.startswith("server 1.")
        assert check(diagnosed.checks, "Temporal frontend").found.startswith("server 1.")
        assert check(diagnosed.checks, "task queues").found == "my-orders in use, with permission to describe them"
        assert check(diagnosed.checks, "clocks").status is CheckStatus.OK
        assert check(diagnosed.checks, "who watches").status is CheckStatus.WARNING
        rows = {row.id: row for row in diagnosed.signals}
        assert (rows["demand.starts_per_sec"].value or 0) > 0.5
        assert "PostgreSQL" in rows["connection_pool.utilization_pct"].hint

        with pytest.raises(StartError, match="--allow-self"):
            await start_loops(settings)
        assert [loop.outcome for loop in await start_loops(settings, allow_self=True)] == ["started"] * 4

        absent = WatchedTemporal(address=real.address, namespace="absent")
        other = cluster.model_copy(update={"temporal": absent, "metrics": ()})
        (without,) = (await diagnose(Settings(), [other], quick=True)).clusters
        assert check(without.checks, "namespace absent").status is CheckStatus.FAILED

        header, ticks = read_recording(tmp_path / "r.jsonl.gz")
        assert set(header.sources) == {"api", "metrics"}
        assert {t.value("frontend.reachable") for t in ticks} == {1.0}
