"""A Prometheus' past: at every step of a range what the live source would have read at that moment."""

import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import pytest
from whenever import Instant

from copilot.errors import SourceError
from copilot.metrics.dialects import dialect_by_name
from copilot.rules.signals.readings import Signals
from copilot.settings.clusters import ClusterSettings, PrometheusSettings
from copilot.sources.prometheus.instant import PrometheusSource
from copilot.sources.prometheus.range import PrometheusRange
from tests.scraped import recorded
from tests.sources.metrics_server import MetricsServer
from tests.sources.prometheus_server import PrometheusServer, prometheus, victoria_metrics
from tests.sources.test_prometheus_agrees import grown
from tests.sources.test_temporal_api import watched

WINDOW = 10.0
STEP_MS = 2_000


def cluster(url: str) -> ClusterSettings:
    return ClusterSettings(interval_sec=2, window_sec=WINDOW, prometheus=PrometheusSettings(url=url))


def instant(time: int) -> Instant:
    return Instant.from_timestamp(time, unit="millisecond")


async def live(of: ClusterSettings, times: Iterable[int]) -> list[Signals]:
    """What the live source reads when these moments are the present, one after the other."""
    assert of.prometheus is not None
    present = [instant(0)]
    source = PrometheusSource(of, of.prometheus, clock=lambda: present[0])
    read = []
    try:
        for time in times:
            present[0] = instant(time)
            read.append(await source.read(present[0]))
    finally:
        await source.aclose()
    return read


class Sparing(httpx.AsyncHTTPTransport):
    """Refuses more than so many steps at once, as a server with a small sample limit does; counts what was asked."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.asked = self.refused = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        form = parse_qs((await request.aread()).decode())
        start, end, step = (float(form[name][0]) for name in ("start", "end", "step"))
        if (end - start) / step >= self.most:
            self.refused += 1
            refusal = b'{"status": "error", "error": "query processing would load too many samples"}'
            return httpx.Response(422, stream=httpx.ByteStream(refusal))
        return await super().handle_async_request(request)


async def replayed(of: ClusterSettings, times: range, **more: object) -> list[Signals]:
    assert of.prometheus is not None
    source = PrometheusRange(of, of.prometheus, **more)  # type: ignore[arg-type]
    try:
        return [signals async for signals in source.ticks(times)]
    finally:
        await source.aclose()


def apart(ours: Signals, theirs: Signals) -> list[str]:
    """What differs between two readings of one moment, beyond rounding."""
    different = [
        f"{i} at {ours.time}: {a} and {b}"
        for i, a in ours.readings.items()
        if (b := theirs.readings[i]) != a and (a is None or b is None or a != pytest.approx(b, rel=1e-9))
    ]
    for what in ("time", "no_traffic", "missing", "targets"):
        if getattr(ours, what) != getattr(theirs, what):
            different.append(f"{what} at {ours.time}: {getattr(ours, what)} and {getattr(theirs, what)}")
    for i in {**ours.breakdowns, **theirs.breakdowns}:
        rows, others = ({tuple(r.labels.items()): r.value for r in s.rows(i)} for s in (ours, theirs))
        if rows != pytest.approx(others, rel=1e-9):
            different.append(f"rows of {i} at {ours.time}: {rows} and {others}")
    return different


@asynccontextmanager
async def an_eventful_minute(folder: Path) -> AsyncIterator[tuple[PrometheusServer, range]]:
    """A Prometheus that saw a small cluster begin to work, end a first workflow, lose its worker, freeze and
    go on; and the times of it."""
    async with watched(folder) as cluster:
        pages = {str(page.role): [page.url.split("/")[2]] for page in cluster.cluster.metrics}
        async with prometheus(folder, pages) as there:
            began = Instant.now()
            await there.until("sum(rate(workflow_success[10s])) > 1", patience_sec=60)
            await there.until("min(count_over_time(up[60s])) >= 12")
            stopped = await cluster.client.start_workflow("Nobody", id="nobody", task_queue="nobody-home")
            await stopped.terminate()
            await there.until("workflow_terminate")
            cluster.load.kill()
            await there.until('count_over_time((up{job="worker"} == 0)[60s:1s]) >= 8')
            cluster.server.send_signal(signal.SIGSTOP)
            await there.until('count_over_time((up{job="server"} == 0)[60s:1s]) >= 6')
            cluster.server.send_signal(signal.SIGCONT)
            await there.until('min_over_time(up{job="server"}[4s]) == 1')
            first, last = (moment.timestamp(unit="millisecond") for moment in (began, Instant.now()))
            yield there, range(first + 2 * STEP_MS, last, STEP_MS)


@pytest.mark.servers
@pytest.mark.needs_debian("prometheus")
async def test_a_range_gives_at_every_step_what_the_live_source_would_have_read_then(tmp_path: Path) -> None:
    async with an_eventful_minute(tmp_path) as (there, times):
        of = cluster(there.url)
        expected = await live(of, times)
        targets = [s.targets for s in expected]
        assert {"server": 1, "worker": 1} in targets
        assert {"server": 1, "worker": 0} in targets
        assert any(t.get("server") == 0 for t in targets)
        assert any((s.value("workflow_completion.terminated_per_sec") or 0) > 0 for s in expected)
        said: list[str] = []
        sparing = Sparing(50)
        for found in (
            await replayed(of, times, note=said.append),
            await replayed(of, times, steps=5),
            await replayed(of, range(times[0], times[0] + 600_000, STEP_MS), transport=sparing),
        ):
            assert [d for ours, theirs in zip(found, expected, strict=False) for d in apart(ours, theirs)] == []
            assert len(found) >= len(expected)
        assert said == []
        assert sparing.refused
        single = await replayed(of, range(times[-1], times[-1] + 1, STEP_MS))
        assert [s.readings.keys() for s in single] == [expected[-1].readings.keys()]
        with pytest.raises(SourceError, match="no target has service_requests nor temporal_worker"):
            await replayed(of, range(times[0] - 40_000_000, times[0] - 39_900_000, STEP_MS))


@pytest.mark.servers
@pytest.mark.needs_debian("victoria-metrics")
async def test_victoria_metrics_gives_the_same_in_a_range_as_at_each_moment(tmp_path: Path) -> None:
    """Its habit of repeating the last half minute's points is switched off: a test does not wait for it to pass."""
    async with MetricsServer.start(grown(recorded("server"), dialect_by_name("server"), 0)) as served:
        jobs = {"server": [served.url.split("/")[2]]}
        async with victoria_metrics(tmp_path, jobs, "-search.latencyOffset=0s") as there:
            began = Instant.now()
            for n in range(16):
                served.body = grown(recorded("server"), dialect_by_name("server"), n)
                await served.until_asked(1)
            first, last = (moment.timestamp(unit="millisecond") for moment in (began, Instant.now()))
            times = range(first + STEP_MS, last - STEP_MS, STEP_MS)
            expected = await live(cluster(there.url), times)
            found = await replayed(cluster(there.url), times)
    assert {s.targets["server"] for s in expected[2:]} == {1}
    assert (expected[-1].value("state_transitions.throughput_per_sec") or 0) > 0
    assert [d for ours, theirs in zip(found, expected, strict=True) for d in apart(ours, theirs)] == []
