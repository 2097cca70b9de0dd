"""Addresses that are not one process each, and clocks that differ from ours."""

import asyncio
import gzip
from collections.abc import Callable, Mapping, Sequence
from email.utils import formatdate
from pathlib import Path

import pytest
from whenever import Instant

from copilot.metrics.continuity import ANOTHER_PROCESS, DELTAS
from copilot.metrics.promql import TAG
from copilot.rules.signals.readings import Signals
from copilot.settings.clusters import ClusterSettings, MetricsEndpoint, PrometheusSettings
from copilot.sources.checks import check_page
from copilot.sources.prometheus.queries import RoleQueries
from copilot.sources.scrape.pages import same_process
from copilot.sources.scrape.source import ScrapeSource
from lab.cases import prometheus
from tests.core.test_another_process import FAILED_POLLS, deltas, pods
from tests.scraped import recorded
from tests.sources.metrics_server import MetricsServer
from tests.sources.prometheus_server import live
from tests.sources.prometheus_standin import StandIn, form, source

STARTS = ',service_name="frontend",operation="StartWorkflowExecution"'
BEGAN, EVERY_SEC, SAMPLES = 1_790_000_000, 15, 8
PODS: dict[str, Callable[[int], float]] = {
    "restarts": lambda n: 10_000 + 50 * n if n < 5 else 50 * (n - 4),
    "service": lambda n: (10_000, 7_000)[n % 2] + 50 * n,
    "steady": lambda n: 500 + 50 * n,
}


def history() -> str:
    """What a Prometheus scraped of targets of these names: `service` is a service before two pods."""
    targets = [(n, name, count(n)) for n in range(SAMPLES) for name, count in PODS.items()]
    series = [
        (f'{metric}{{job="temporal",instance="{name}"{labels}}} {value:g}', BEGAN + EVERY_SEC * n)
        for metric, labels in (
            ("service_requests", ',service_name="frontend",operation="StartWorkflowExecution"'),
            ("up", ""),
        )
        for n, name, counted in targets
        for value in [counted if metric == "service_requests" else 1]
    ]
    return "".join(f"{text} {time}\n" for text, time in series) + "# EOF\n"


async def test_of_a_service_before_several_pods_a_prometheus_gives_no_rates(tmp_path: Path) -> None:
    (text := tmp_path / "pods.om.gz").write_bytes(gzip.compress(history().encode()))
    with prometheus([text]) as url:

        async def of(instance: str) -> Signals:
            settings = PrometheusSettings.model_validate({"url": url, "selector": f'instance=~"{instance}"'})
            cluster = ClusterSettings(prometheus=settings, window_sec=60)
            (signals,) = await live(cluster, [1000 * (BEGAN + EVERY_SEC * (SAMPLES - 1))])
            return signals

        service, restarts, both = [await of(instance) for instance in ("service", "restarts", "service|steady")]
    why = service.why_missing("frontend.request_rate_per_sec")
    assert why is not None
    assert "service of job temporal: its counters jump back and forth" in why.detail
    assert restarts.value("frontend.request_rate_per_sec") == pytest.approx(50 / 15, rel=0.3)
    assert both.value("frontend.request_rate_per_sec") == pytest.approx(50 / 15, rel=0.01)


def of_workers(pages: Mapping[str, Sequence[list[str]]]) -> str:
    """What a Prometheus scraped of workers: by instance, the samples of each scrape."""
    there = [
        (name, sample, BEGAN + EVERY_SEC * n)
        for name, scrapes in pages.items()
        for n, samples in enumerate(scrapes)
        for sample in (*samples, "up{} 1", "temporal_num_pollers{} 4")
    ]
    lines = [(s.replace("{", f'{{job="w",instance="{name}",').replace(",}", "}"), at) for name, s, at in there]
    return "".join(f"{text} {at}\n" for text, at in sorted(lines, key=lambda line: line[1])) + "# EOF\n"


def calls(counts: Sequence[tuple[float, ...]], *started: float) -> list[list[str]]:
    """Scrapes of these counts of calls; when the process started, in turn, where that is known."""
    return [
        [f'temporal_request{{operation="{i}"}} {count:g}' for i, count in enumerate(of)]
        + [f"process_start_time_seconds{{}} {started[n % len(started)]}" for _ in started[:1]]
        for n, of in enumerate(counts)
    ]


async def test_deltas_in_a_prometheus_are_refused_with_their_cure_and_told_from_pods_and_restarts(
    tmp_path: Path,
) -> None:
    anew = [(10_000.0 + 50 * n, 900.0 + 9 * n) if n < 5 else (50.0 * (n - 4), 9.0 * (n - 4)) for n in range(SAMPLES)]
    pages = {
        "deltas": calls(deltas(SAMPLES, 50, 12)),
        "known": calls(deltas(SAMPLES, 4), 1.5),
        "pods": calls(pods("ABAABABA"), *(1.5, 7.5, 1.5, 1.5, 7.5, 1.5, 7.5, 1.5)),
        "restarts": [[*page, f"process_start_time_seconds{{}} {n > 4:d}"] for n, page in enumerate(calls(anew))],
    }
    (text := tmp_path / "workers.om.gz").write_bytes(gzip.compress(of_workers(pages).encode()))
    with prometheus([text]) as url:
        found = {}
        for name in pages:
            settings = PrometheusSettings.model_validate({"url": url, "selector": f'instance="{name}"'})
            at = 1000 * (BEGAN + EVERY_SEC * (SAMPLES - 1))
            (signals,) = await live(ClusterSettings(prometheus=settings, window_sec=60), [at])
            why = signals.why_missing(FAILED_POLLS)
            found[name] = why.detail.rpartition(f"{name} of job w: ")[2] if why else ""
    assert found == {"deltas": DELTAS, "known": DELTAS, "pods": ANOTHER_PROCESS, "restarts": ""}


@pytest.mark.parametrize("back", [False, True])
async def test_a_dialect_that_changes_in_a_prometheus_leaves_readings_right_or_missing(
    tmp_path: Path, back: bool
) -> None:
    """The counters go on under other names, as where a collector is set otherwise; each task takes 75 ms."""
    scrapes = []
    for n in range(2 * SAMPLES):
        total, timer, unit = ("_total", "_seconds", 1) if (n < SAMPLES) is back else ("", "_milliseconds", 1000)
        count = 900_000 + 30 * n
        scrapes.append([f"temporal_request{total}{{}} {count}", f"temporal_long_request_failure{total}{{}} {count}"])
        for family in ("temporal_request_latency", "temporal_workflow_task_execution_latency"):
            buckets = [(0.05 * unit, 0), (0.1 * unit, count), (5 * unit, count), ("+Inf", count)]
            scrapes[-1] += [f'{family}{timer}_bucket{{le="{le}"}} {counted}' for le, counted in buckets]
            scrapes[-1].append(f"{family}{timer}_count{{}} {count}")
    (text := tmp_path / "workers.om.gz").write_bytes(gzip.compress(of_workers({"w:1": scrapes}).encode()))
    with prometheus([text]) as url:
        cluster = ClusterSettings(prometheus=PrometheusSettings(url=url), window_sec=60)
        times = [1000 * (BEGAN + EVERY_SEC * n + 1) for n in range(SAMPLES - 2, 2 * SAMPLES)]
        found = await live(cluster, times)
    for signals in found:
        assert 1 < (signals.value(FAILED_POLLS) or 0) < 3
        assert 50 <= (signals.value("workers.wft_execution_p95_ms") or 0) <= 100
    for signals in (*found[:2], *found[-4:]):
        assert signals.value(FAILED_POLLS) == pytest.approx(2.0, rel=0.05)


def test_a_dialect_is_queried_until_a_window_after_it_was_last_there() -> None:
    queries, target = RoleQueries("worker", PrometheusSettings(url="http://there"), 60), {"job": "w", "instance": "w:1"}

    def dialects(at: float, *names: str) -> list[str]:
        here = [({"__name__": name, TAG: "names", **target}, 1.0) for name in ("temporal_num_pollers", *names)]
        queries.read_targets([*here, ({TAG: "samples", **target}, 4.0)], at)
        return [dialect.name for dialect in queries.dialects]

    assert dialects(0, "temporal_request", "temporal_request_latency_count") == ["sdk default"]
    suffixed = ("temporal_request_total", "temporal_request_latency_seconds_count")
    assert dialects(30, *suffixed) == dialects(60, *suffixed) == ["sdk suffixed", "sdk default"]
    assert dialects(61, *suffixed) == ["sdk suffixed"]


def sums(n: int, *rare: float, lag: int = 0, started: float | None = None) -> list[str]:
    """A scrape of a busy worker whose rare calls took these times; `lag`: calls since its twin was scraped."""
    counts = [f'temporal_request{{operation="{i}"}} {100 * i + (30 * n + lag if i == 0 else 0)}' for i in range(7)]
    times = [
        f'temporal_request_latency_sum{{operation="{i}"}} {took}' for i, took in enumerate((9e5 + 30 * n + lag, *rare))
    ]
    return [*counts, *times, *([f"process_start_time_seconds{{}} {started}"] if started else [])]


async def test_two_instances_of_one_process_in_a_prometheus_count_once_and_two_alike_are_two(tmp_path: Path) -> None:
    rare = (6.0, 15.0, 48.0, 107.0, 83.0, 612.0)
    alike = (6.0, 15.0, 49.0, 109.0, 80.0, 610.0)
    more = tuple(sec + 1 for sec in rare)
    workers: dict[str, tuple[tuple[float, ...], int, float | None]] = {
        "one": (rare, 0, None), "one-again": (rare, 7, None), "alike": (alike, 0, None),
        "known": (alike, 0, 5.25), "known-again": (alike, 7, 5.25),
        "restarted": (alike, 0, 6.5), "known-alike": (more, 0, 5.25),
    }  # fmt: skip
    pages = {
        name: [sums(n, *took, lag=lag, started=started) for n in range(SAMPLES)]
        for name, (took, lag, started) in workers.items()
    }
    (text := tmp_path / "workers.om.gz").write_bytes(gzip.compress(of_workers(pages).encode()))
    with prometheus([text]) as url:
        cluster = ClusterSettings(prometheus=PrometheusSettings(url=url), window_sec=60)
        (signals,) = await live(cluster, [1000 * (BEGAN + EVERY_SEC * (SAMPLES - 1))])
    assert signals.targets["worker"] == 5
    assert signals.value("worker.poller_concurrency") == 5 * 4


async def test_two_addresses_of_one_process_count_once() -> None:
    body = recorded("worker")
    other = body.replace(b"_sum{", b'_sum{pod="2",')
    async with (
        MetricsServer.start(body) as one,
        MetricsServer.start(body) as again,
        MetricsServer.start(other) as apart,
    ):
        pages = [MetricsEndpoint(url=server.url, role="worker") for server in (one, again, apart)]
        scraping = ScrapeSource(ClusterSettings(interval_sec=2, window_sec=10, metrics=tuple(pages)))
        async with asyncio.timeout(60):
            while (signals := await scraping.read(Instant.now())).targets != {"worker": 2}:
                await one.until_asked(1)
        assert signals.value("workers.workflow_slots_available") == 2 * 50
        one.status = "500 Internal Server Error"
        await one.until_asked(2)
        async with asyncio.timeout(60):
            while (signals := await scraping.read(Instant.now())).value("workers.workflow_slots_available") != 2 * 50:
                await again.until_asked(1)
        await scraping.aclose()
        one.status = "200 OK"
        first, second, third = [(await check_page(page)).sums for page in pages]
    assert same_process(first, second)
    assert not same_process(first, third)


@pytest.mark.parametrize("ahead", [-20, 0, 20])
async def test_a_prometheus_is_asked_for_the_present_of_its_own_clock(ahead: int) -> None:
    standin = StandIn()
    now = Instant.now().timestamp()
    standin.headers = (*standin.headers, f"Date: {formatdate(now + ahead, usegmt=True)}")
    async with standin.run(), source(standin.url) as asking:
        signals = await asking.read(Instant.from_timestamp(now))
    assert signals.time == Instant.from_timestamp(now)
    assert float(form(standin.requests[-1])["time"]) - now == pytest.approx(ahead, abs=3)
