"""Property 17: PromQL evaluated by a real Prometheus and the direct computation agree on the same samples.

A Prometheus scrapes what the test serves each second. Its raw samples (`x[W]`) are handed to the direct computation, so
that both see the same; then its answers to the compiled expressions are compared."""

import asyncio
import math
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from whenever import Instant

from copilot.metrics import promql
from copilot.metrics.answers import DialectAnswer, by_group, merge_dialects
from copilot.metrics.dialects import Dialect, dialect_by_name, known_names, raw_name
from copilot.metrics.resolve import PRESENCE_METRIC, leaves_of, read_scrapes
from copilot.metrics.window import ScrapeWindow, TargetScrapes, Vector, compute, epoch_seconds
from copilot.rules.signals.expressions import Gauge, Leaf, Quantile, Rate, Role, rate, server
from copilot.rules.signals.taxonomy import SPECS
from copilot.settings.clusters import ClusterSettings, PrometheusSettings
from copilot.sources.prometheus.instant import PrometheusSource
from copilot.sources.prometheus.queries import ROLES
from tests.scraped import recorded
from tests.sources.metrics_server import MetricsServer
from tests.sources.prometheus_server import PrometheusServer, Samples, prometheus

pytestmark = [pytest.mark.servers, pytest.mark.needs_debian("prometheus")]

Case = tuple[str, Role, tuple[Leaf, ...], tuple[Dialect, ...]]
"""Job, role, leaves, dialects spoken."""
WINDOW = 8.0
STEPS = 11
TRUNCATED = 7
"""The odd page that breaks off in the middle of a line: nothing of it counts."""
TAXONOMY = leaves_of(SPECS.values())

ODD = (
    rate("odd_resets"),
    rate("odd_resets", "part=~a|b", by=("part",)),
    rate("odd_nan"),
    rate("odd_inf"),
    rate("odd_once"),
    rate("odd_gone"),
    rate("odd_born"),
    rate("odd_never"),
    rate("odd_twice", by=("part",)),
    rate("odd_again"),
    rate("odd_escapes", 'text=a"b\\c\nd', by=("text",)),
    rate("odd_escapes", "text!~ü.*", by=("text",)),
    Gauge(server("odd_gauge"), "sum"),
    Gauge(server("odd_gauge", "part!=b"), "max", ("part",)),
    Gauge(server("odd_gauge"), "min"),
    Gauge(server("odd_gone"), "sum"),
    Gauge(server("odd_nan_gauge"), "sum"),
    Gauge(server("odd_inf_gauge"), "max"),
    Gauge(server("odd_never"), "sum"),
    Quantile(0.5, server("odd_latency")),
    Quantile(0.99, server("odd_latency"), ("part",)),
    Quantile(0.95, server("odd_idle")),
    Quantile(0.95, server("odd_falling"), timer=False),
    Quantile(0.9, server("odd_without_inf"), timer=False),
)  # fmt: skip


def odd_page(n: int) -> bytes:
    """What goes wrong with counters, one page a step."""
    lines = [
        f"service_requests {n}",
        "# TYPE odd_resets counter",
        f'odd_resets{{part="a"}} {(n % 5) * 10}',
        f'odd_resets{{part="b"}} {n * n}',
        f"odd_nan {'NaN' if n == 6 else n}",
        f"odd_inf {'+Inf' if n > 8 else n}",
        *(["odd_once 5"] if n == STEPS - 1 else []),
        *([f"odd_gone {n}"] if n < STEPS - 3 else []),
        *([f"odd_born {n * 3}"] if n >= STEPS - 2 else []),
        f'odd_twice{{part="x"}} {n}',
        "# TYPE odd_gauge gauge",
        *(f'odd_gauge{{part="{part}",n="{i}"}} {(n * 7 + i * 3) % 11 - 5}' for i, part in enumerate("aabbc")),
        "# TYPE odd_twice counter",
        f'odd_twice{{part="y"}} {2 * n}',
        f'odd_escapes{{text="a\\"b\\\\c\\nd"}} {n}',
        f'odd_escapes{{text="ü }} , {{"}} {n * 2}',
        f"odd_again {n}",
        f"odd_again {90 * n}",
        "odd_nan_gauge NaN",
        "odd_inf_gauge -Inf",
    ]
    for part, speed in (("p", 3), ("q", 5)):
        for i, bound in enumerate(("0.001", "0.01", "0.1", "1", "+Inf")):
            lines.append(f'odd_latency_bucket{{part="{part}",le="{bound}"}} {n * speed * (i + 1)}')
    for bound, count in (("1", 4), ("+Inf", 4)):
        lines.append(f'odd_idle_bucket{{le="{bound}"}} {count}')
    for bound, count in (("1", 5 * n), ("10", 3 * n), ("100", 9 * n), ("+Inf", 8 * n)):
        lines.append(f'odd_falling_bucket{{le="{bound}"}} {count}')
    lines.extend(f'odd_without_inf_bucket{{le="{bound}"}} {n}' for bound in ("1", "10"))
    return "".join(line + "\n" for line in lines).encode()


def grown(body: bytes, dialect: Dialect, n: int) -> bytes:
    """A recorded page, the families the taxonomy reads: counters grown, each series at its own speed; at the seventh
    step a third of the families start anew."""
    counters = {raw_name(leaf, dialect) for leaf in TAXONOMY if not isinstance(leaf, Gauge)} | {
        PRESENCE_METRIC["server"]
    }
    gauges = {raw_name(leaf, dialect) for leaf in TAXONOMY if isinstance(leaf, Gauge)}
    anchors = {"service_latency_count", "temporal_request", "temporal_request_total"}
    anchors |= {"temporal_request_latency_count", "temporal_request_latency_seconds_count"}

    def line(text: str) -> Iterator[str]:
        name = text.split("{")[0]
        series, _, value = text.rpartition(" ")
        if name in counters:
            speed = zlib.crc32(series.split('le="')[0].encode()) % 7
            anew = n > 6 and zlib.crc32(name.encode()) % 3 == 0
            yield f"{series} {float(value) * (speed * 0.01 * (n - 6) if anew else 1 + speed * 0.01 * n):.10g}\n"
        elif name in gauges | anchors:
            yield text + "\n"

    return "".join(found for text in body.decode().splitlines() for found in line(text)).encode()


def series_of(samples: Samples, role: Role, leaves: Iterable[Leaf], end: float) -> list[TargetScrapes]:
    """Prometheus' samples as pages, one target an instance."""
    wanted = known_names(role, leaves, [PRESENCE_METRIC[role]])
    pages: dict[str, dict[float, list[tuple[str, dict[str, str], float]]]] = {}
    for key, values in samples.items():
        labels = dict(key)
        name, instance = labels.pop("__name__"), labels.pop("instance")
        labels.pop("job")
        for time, value in values:
            found = pages.setdefault(instance, {}).setdefault(time, [])
            if name in wanted:
                found.append((name, labels, float(value)))
    targets = []
    for instance, by_time in pages.items():
        target = TargetScrapes(role, instance, wanted, window_sec=10 * WINDOW)
        for time in sorted(t for t in by_time if t <= end):
            page = {target.intern(name, labels): value for name, labels, value in by_time[time]}
            target.record(Instant.from_timestamp(round(time * 1000), unit="millisecond"), page)
        targets.append(target)
    return targets


@asynccontextmanager
async def watched(folder: Path, **jobs: list[list[bytes]]) -> AsyncIterator[PrometheusServer]:
    """A Prometheus that has seen each target of each job go through its pages."""
    async with AsyncExitStack() as stack:
        addresses: dict[str, list[str]] = {}
        walks = []
        for job, targets in jobs.items():
            for pages in targets:
                served = await stack.enter_async_context(MetricsServer.start(pages[0]))
                addresses.setdefault(job, []).append(served.url.split("/")[2])
                walks.append((served, pages))
        watching = await stack.enter_async_context(prometheus(folder, addresses))

        async def walk(served: MetricsServer, pages: list[bytes]) -> None:
            for page in pages:
                served.body = page
                await served.until_asked(1)

        await asyncio.gather(*(walk(*w) for w in walks))
        await watching.until(f"min(count_over_time(up[60s])) >= {STEPS}")
        yield watching


def same(ours: Vector, theirs: Vector) -> bool:
    return ours.keys() == theirs.keys() and all(
        math.isnan(theirs[group]) if math.isnan(value) else value == pytest.approx(theirs[group], rel=1e-6, abs=1e-9)
        for group, value in ours.items()
    )


async def ask(watching: PrometheusServer, leaf: Leaf, dialects: Iterable[Dialect], at: float, matchers: str) -> Vector:
    """A leaf as the source asks it: questions per dialect, merged."""
    own = promql.parse_matchers(matchers)
    parts = []
    for dialect in {raw_name(leaf, d): d for d in dialects}.values():
        answer = await watching.query(promql.leaf_query(leaf, dialect, WINDOW, own), at)
        samples = [(entry["metric"], float(entry["value"][1])) for entry in answer]
        parts.append(DialectAnswer(dialect, by_group(leaf, dialect, samples), {}))
    vector = merge_dialects(leaf, parts)
    assert isinstance(vector, dict)
    return vector


async def written_out(watching: PrometheusServer, leaf: Quantile, dialect: Dialect, at: float, job: str) -> Vector:
    """A quantile as a person would write it, computed by Prometheus itself."""
    chosen = promql.series(leaf, dialect, promql.parse_matchers(job))
    bounds = [float(entry["metric"]["le"]) for entry in await watching.query(f"count by (le) ({chosen})", at)]
    text = promql.leaf_promql(
        leaf, dialect, WINDOW, promql.parse_matchers(job), lowest_bound=min(bounds, default=math.inf)
    )
    return {
        tuple(entry["metric"].get(label, "") for label in leaf.by): float(entry["value"][1])
        for entry in await watching.query(text, at)
    }


def any_moment_and_window(url: str, cases: Sequence[Case], end: float) -> None:
    """Whatever leaf, moment and window: over the samples Prometheus has in it, both say the same."""
    pairs = [(case, leaf) for case in cases for leaf in case[2] if len(case[3]) == 1]
    with httpx.Client(trust_env=False) as client:

        def query(text: str, at: float) -> list[dict[str, Any]]:
            answer = client.post(f"{url}/api/v1/query", data={"query": text, "time": f"{at:.3f}"}).json()
            found: list[dict[str, Any]] = answer["data"]["result"]
            return found

        @settings(max_examples=200, deadline=None, database=None)
        @given(st.sampled_from(pairs), st.integers(0, int(1000 * WINDOW)), st.integers(2000, int(1000 * WINDOW)))
        def agree(pair: tuple[Case, Leaf], ago: int, window: int) -> None:
            (job, role, _, (dialect,)), leaf = pair
            at, length = round(end - ago / 1000, 3), window / 1000
            own = promql.parse_matchers(f'job="{job}"')
            raw = query(f"{promql.selector(raw_name(leaf, dialect), own)}[{window}ms]", at)
            samples = {tuple(sorted(s["metric"].items())): [(float(t), v) for t, v in s["values"]] for s in raw}
            views = [ScrapeWindow(target, at - length, at) for target in series_of(samples, role, [leaf], at)]
            answer = query(promql.leaf_query(leaf, dialect, length, own), at)
            part = DialectAnswer(
                dialect, by_group(leaf, dialect, [(e["metric"], float(e["value"][1])) for e in answer]), {}
            )
            theirs = merge_dialects(leaf, [part])
            assert isinstance(theirs, dict)
            if not isinstance(leaf, Gauge):
                assert same(compute(leaf, views), theirs)

        agree()


async def test_17_promql_and_the_direct_computation_agree_on_the_same_samples(tmp_path: Path) -> None:
    plain, suffixed = dialect_by_name("sdk default"), dialect_by_name("sdk suffixed")
    jobs = {
        "odd": [[odd_page(n)[: -5 if n == TRUNCATED else None] for n in range(STEPS)]],
        "server": [[grown(recorded("server"), dialect_by_name("server"), n) for n in range(STEPS)]],
        "worker": [
            [grown(recorded("worker"), plain, n) for n in range(STEPS)],
            [grown(recorded("worker_suffixed"), suffixed, n) for n in range(STEPS)],
        ],
    }
    cases: list[Case] = [
        ("odd", "server", ODD, (dialect_by_name("server"),)),
        ("server", "server", tuple(x for x in TAXONOMY if x.series.role == "server"), (dialect_by_name("server"),)),
        ("worker", "worker", tuple(x for x in TAXONOMY if x.series.role == "worker"), (plain, suffixed)),
    ]
    async with watched(tmp_path, **jobs) as watching:
        at = round(epoch_seconds(Instant.now()), 3)
        compared = dict.fromkeys((Rate, Gauge, Quantile), 0)
        differ: list[str] = []
        for job, role, leaves, dialects in cases:
            matcher = f'job="{job}"'
            names = "|".join(known_names(role, leaves, [PRESENCE_METRIC[role]]))
            raw = await watching.samples(f'{{__name__=~"{names}",{matcher}}}[{WINDOW:g}s]', at)
            targets = series_of(raw, role, leaves, at)
            views = [ScrapeWindow(target, at - WINDOW, at) for target in targets]
            for leaf in leaves:
                ours = compute(leaf, views)
                theirs = await ask(watching, leaf, dialects, at, matcher)
                compared[type(leaf)] += bool(ours)
                if not same(ours, theirs):
                    differ.append(f"{leaf}: directly {ours}, by Prometheus {theirs}")
                if isinstance(leaf, Quantile) and len(dialects) == 1:
                    written = await written_out(watching, leaf, dialects[0], at, matcher)
                    if not same(ours, written):
                        differ.append(f"{leaf}: directly {ours}, by histogram_quantile {written}")
            if job == "odd":
                leaf = rate("odd_born")
                born = await watching.query(
                    promql.new_series_rate(
                        leaf, dialect_by_name("server"), WINDOW, f"service_requests offset {WINDOW:g}s"
                    ),
                    at,
                )
                [by_rate] = (await ask(watching, leaf, dialects, at, matcher)).values()
                [counted] = compute(
                    leaf, [ScrapeWindow(t, at - WINDOW, at, presence_metric="service_requests") for t in targets]
                ).values()
                assert counted > 3 * by_rate
                assert by_rate + float(born[0]["value"][1]) == pytest.approx(counted, rel=0.35)
        assert differ == []
        await asyncio.to_thread(any_moment_and_window, watching.url, cases, at)
        assert compared[Rate] > 35
        assert compared[Gauge] > 20
        assert compared[Quantile] > 15

        raw = await watching.samples(f'{{job=~"server|worker"}}[{WINDOW:g}s]', at)
        by_role = {role: {k: v for k, v in raw.items() if dict(k)["job"] == role} for role in ROLES}
        pages = [target for role, samples in by_role.items() for target in series_of(samples, role, TAXONOMY, at)]
        now = Instant.from_timestamp(round(at * 1000), unit="millisecond")
        there = PrometheusSettings(url=watching.url, selector='job!="odd"')
        cluster = ClusterSettings(interval_sec=5, window_sec=10, prometheus=there)
        source = PrometheusSource(cluster.model_copy(update={"window_sec": WINDOW}), there, clock=lambda: now)
        try:
            found = await source.read(now)
        finally:
            await source.aclose()
        direct = read_scrapes(SPECS.values(), pages, now, WINDOW, interval_sec=1.0)
        assert found.targets == direct.targets == {"server": 1, "worker": 2}
        assert set(found.missing) == set(direct.missing) == {"connection_pool.utilization_pct"}
        assert set(found.no_traffic) == set(direct.no_traffic)
        assert found.breakdowns.keys() == direct.breakdowns.keys()
        pairs = {i: (value, found.value(i)) for i, value in direct.readings.items() if value is not None}
        apart = {i: (ours, theirs) for i, (ours, theirs) in pairs.items() if theirs != pytest.approx(ours, rel=0.05)}
        assert apart == {}
