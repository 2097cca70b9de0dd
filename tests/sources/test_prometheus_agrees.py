"""A real Prometheus and the direct computation agree on the same samples (property 17), also about what is absent; and
a range read from it agrees with what the live source reads at each of its moments.

Prometheus scrapes what the tests serve, a page a second: odd pages, grown ones, and the recorded ones of
tests/data/pages, which were recorded every five seconds: a window of six holds as many scrapes as one of thirty did. A
read that failed is a stand-in that does not answer. Its raw samples (`x[W]`) are the direct computation's pages."""

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from whenever import Instant

from copilot.errors import SourceError
from copilot.metrics import promql
from copilot.metrics.answers import by_group, merge_dialects
from copilot.metrics.dialects import Dialect, dialect_by_name, known_names, raw_name
from copilot.metrics.processes import OWN_RESTARTS
from copilot.metrics.resolve import PRESENCE_METRIC, leaves_of, read_scrapes
from copilot.metrics.window import Page, ScrapeWindow, TargetScrapes, Vector, compute, epoch_seconds
from copilot.rules.signals.expressions import Gauge, Leaf, Quantile, Rate, Role, leaves, rate, server
from copilot.rules.signals.readings import Missing, MissingCode, Signals
from copilot.rules.signals.spec import SignalSpec
from copilot.rules.signals.taxonomy import SPECS
from copilot.settings.clusters import ClusterSettings, PrometheusSettings
from copilot.sources.prometheus.queries import ROLES
from tests.recorded_pages import TARGETS, roll
from tests.scraped import grown, recorded
from tests.sources.metrics_server import MetricsServer
from tests.sources.prometheus_server import PrometheusServer, Samples, apart, live, prometheus, replayed

pytestmark = [
    pytest.mark.servers,
    pytest.mark.alone,
    pytest.mark.needs_debian("prometheus"),
    pytest.mark.asyncio(loop_scope="module"),
]

Case = tuple[str, Role, tuple[Leaf, ...], tuple[Dialect, ...]]
"""Job, role, leaves, dialects of its targets."""
WINDOW, SCENE_WINDOW = 8.0, 6.0
STEPS = 11
STEP_MS = 2_000
LATE_SEC = 1.1
TRUNCATED = 7
"""The odd page that breaks off in the middle of a line: nothing of it counts."""
TAXONOMY = leaves_of(SPECS.values())
SCENES = (("start", "server"), ("freeze", "server"), ("workers-down", "worker-1"))

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


def pages_of(scene: str, target: str) -> list[bytes | None]:
    """The recorded pages; of many failed reads in a row the first ones."""
    pages = roll(scene, target).bodies()
    return [page for n, page in enumerate(pages) if page is not None or n == 0 or any(pages[max(0, n - 8) : n])]


@dataclass(frozen=True)
class Watched:
    """A Prometheus that has seen all pages: `odd_at` right after the last odd one, `times` of the scenes."""

    there: PrometheusServer
    odd_at: float
    times: range


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def watched(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Watched]:
    plain, suffixed, of_server = (dialect_by_name(name) for name in ("sdk default", "sdk suffixed", "server"))
    odd = [odd_page(n)[: -5 if n == TRUNCATED else None] for n in range(STEPS)]
    fleet = (("server", "server", of_server), ("worker", "worker", plain), ("worker", "worker_suffixed", suffixed))
    short: list[tuple[str, Sequence[bytes | None]]] = [("odd", odd)]
    short += [(job, [grown(recorded(page), dialect, n) for n in range(STEPS)]) for job, page, dialect in fleet]
    scenes = [(f"{scene}/{target}", pages_of(scene, target)) for scene, target in SCENES]
    async with AsyncExitStack() as stack:
        jobs: dict[str, list[str]] = {}

        async def serving(job: str, pages: Sequence[bytes | None]) -> Callable[[], Any]:
            served = await stack.enter_async_context(MetricsServer.start())
            jobs.setdefault(job, []).append(served.url.split("/")[2])
            return lambda: served.walk(pages)

        of_short = [await serving(*walk) for walk in short]
        of_scenes = [await serving(*walk) for walk in scenes]
        there = await stack.enter_async_context(prometheus(tmp_path_factory.mktemp("prometheus"), jobs))
        began = Instant.now()
        rest = asyncio.gather(*(walk() for walk in of_scenes))
        await asyncio.gather(*(walk() for walk in of_short))
        odd_at = round(epoch_seconds(Instant.now()), 3)
        await rest
        first, last = (moment.timestamp(unit="millisecond") for moment in (began, Instant.now()))
        yield Watched(there, odd_at, range(first + 2 * STEP_MS, last, STEP_MS))


def settings_of(watched: Watched, selector: str, window_sec: float = SCENE_WINDOW) -> ClusterSettings:
    there = PrometheusSettings(url=watched.there.url, selector=selector)
    cluster = ClusterSettings(interval_sec=5, window_sec=10, prometheus=there)
    return cluster.model_copy(update={"window_sec": window_sec})


class Known:
    """One target as the direct computation comes to know it: the scrapes of a Prometheus, good and failed, in turn."""

    def __init__(self, role: Role, samples: Samples, window_sec: float, leaves: Iterable[Leaf] = TAXONOMY) -> None:
        names = known_names(role, leaves, [PRESENCE_METRIC[role]])
        self.target = TargetScrapes(
            role, next((dict(key)["instance"] for key in samples), "a stand-in"), names, window_sec=window_sec
        )
        self._pages: dict[float, Page] = {}
        scrapes: list[tuple[float, bool]] = []
        for key, values in samples.items():
            labels = {k: v for k, v in key if k != "job"}
            name = labels.pop("__name__")
            if name == "up":
                scrapes = [(time, value == "1") for time, value in values]
            elif name in names:
                series = self.target.intern(name, labels)
                for time, value in values:
                    self._pages.setdefault(time, {})[series] = float(value)
        self.scrapes = scrapes or [(time, True) for time in sorted(self._pages)]
        self._left = list(self.scrapes)

    def until(self, at: float) -> TargetScrapes:
        """The target with all scrapes until a moment."""
        while self._left and self._left[0][0] <= at:
            time, read = self._left.pop(0)
            if read:
                page = self._pages.get(time, {})
                self.target.record(Instant.from_timestamp(round(time * 1000), unit="millisecond"), page)
            else:
                self.target.fail(Missing(code=MissingCode.TARGET_DOWN, detail="up is 0"))
        return self.target


def targets_of(samples: Samples, role: Role, leaves: Iterable[Leaf], at: float) -> list[TargetScrapes]:
    """Each instance with all its scrapes."""
    by_instance: dict[str, Samples] = {}
    for key, values in samples.items():
        by_instance.setdefault(dict(key)["instance"], {})[key] = values
    return [Known(role, of_one, 10 * WINDOW, leaves).until(at) for of_one in by_instance.values()]


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
        parts.append((dialect, by_group(leaf, dialect, samples)))
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
    with httpx.Client(trust_env=False, timeout=60) as client:

        def query(text: str, at: float) -> list[dict[str, Any]]:
            answer = client.post(f"{url}/api/v1/query", data={"query": text, "time": f"{at:.3f}"}).json()
            found: list[dict[str, Any]] = answer["data"]["result"]
            return found

        @settings(max_examples=50, deadline=None, database=None)
        @given(st.sampled_from(pairs), st.integers(0, int(1000 * WINDOW)), st.integers(2000, int(1000 * WINDOW)))
        def agree(pair: tuple[Case, Leaf], ago: int, window: int) -> None:
            (job, role, _, (dialect,)), leaf = pair
            at, length = round(end - ago / 1000, 3), window / 1000
            own = promql.parse_matchers(f'job="{job}"')
            raw = query(f"{promql.selector(raw_name(leaf, dialect), own)}[{window}ms]", at)
            samples = {tuple(sorted(s["metric"].items())): [(float(t), v) for t, v in s["values"]] for s in raw}
            views = [ScrapeWindow(target, at - length, at) for target in targets_of(samples, role, [leaf], at)]
            answer = query(promql.leaf_query(leaf, dialect, length, own), at)
            found = by_group(leaf, dialect, [(e["metric"], float(e["value"][1])) for e in answer])
            theirs = merge_dialects(leaf, [(dialect, found)])
            assert isinstance(theirs, dict)
            if not isinstance(leaf, Gauge):
                assert same(compute(leaf, views), theirs)

        agree()


async def test_17_promql_and_the_direct_computation_agree_on_the_same_samples(watched: Watched) -> None:
    plain, suffixed = dialect_by_name("sdk default"), dialect_by_name("sdk suffixed")
    cases: list[Case] = [
        ("odd", "server", ODD, (dialect_by_name("server"),)),
        # Temporal's own worker has a page of its own; on one of other services its restarts are theirs.
        ("server", "server", tuple(x for x in TAXONOMY if x.series.role == "server" and x != OWN_RESTARTS),
         (dialect_by_name("server"),)),
        ("worker", "worker", tuple(x for x in TAXONOMY if x.series.role == "worker"), (plain, suffixed)),
    ]  # fmt: skip
    watching, at = watched.there, watched.odd_at
    compared = dict.fromkeys((Rate, Gauge, Quantile), 0)
    differ: list[str] = []
    for job, role, of_role, dialects in cases:
        matcher = f'job="{job}"'
        targets = targets_of(await watching.samples(f"{{{matcher}}}[{WINDOW:g}s]", at), role, of_role, at)
        views = [ScrapeWindow(target, at - WINDOW, at) for target in targets]
        for leaf in of_role:
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
                promql.new_series_rate(leaf, dialect_by_name("server"), WINDOW, f"service_requests offset {WINDOW:g}s"),
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


async def test_the_source_reads_a_fleet_of_two_dialects_as_the_direct_computation_does(watched: Watched) -> None:
    at = watched.odd_at
    pages = [
        target
        for role in ROLES
        for samples in [await watched.there.samples(f'{{job="{role}"}}[{WINDOW:g}s]', at)]
        for target in targets_of(samples, role, TAXONOMY, at)
    ]
    [found] = await live(settings_of(watched, 'job=~"server|worker"', WINDOW), [round(at * 1000)])
    direct = read_scrapes(SPECS.values(), pages, found.time, WINDOW, interval_sec=1.0)
    assert found.targets == direct.targets == {"server": 1, "worker": 2}
    assert set(found.missing) == set(direct.missing) == {"connection_pool.utilization_pct"}
    assert set(found.no_traffic) == set(direct.no_traffic)
    assert found.breakdowns.keys() == direct.breakdowns.keys()
    pairs = {i: (value, found.value(i)) for i, value in direct.readings.items() if value is not None}
    assert {i: pair for i, pair in pairs.items() if pair[1] != pytest.approx(pair[0], rel=0.05)} == {}


def state(signals: Signals, signal_id: str) -> object:
    if signals.quiet(signal_id):
        return "no traffic"
    return signals.value(signal_id) if signals.covered(signal_id) else "missing"


def changed(target: TargetScrapes, spec: SignalSpec) -> bool:
    """Whether a signal's series are not the same on all pages of the window."""
    read = leaves(spec.expression) if spec.expression is not None else ()
    series = [s for leaf in read if leaf.series.role == target.role for s, _, _ in target.rows(leaf)]
    return any(len({s in page for page in target.pages}) > 1 for s in series)


@pytest.mark.parametrize(("scene", "target"), SCENES)
async def test_absence_is_read_alike_by_a_prometheus_and_directly(watched: Watched, scene: str, target: str) -> None:
    """Right after every second scrape the same ids are missing, the same have no traffic, and once a window is full the
    values agree. The one difference wanted is that a single failed read is passed over by the direct computation
    and not by Prometheus' `up`. Left out are values of ids of which a series began or ended in the window or up to
    two scrapes before, which has its time to within a scrape only; all over scrapes that a busy machine made late;
    and a page alone in its window, where only Prometheus knows that a series on it is new."""
    job, end = f'job="{scene}/{target}"', watched.times.stop / 1000
    known = Known(TARGETS[target], await watched.there.samples(f"{{{job}}}[120s]", end), SCENE_WINDOW)
    assert len(known.scrapes) >= len(pages_of(scene, target))
    asked = [time for time, _ in known.scrapes[::2]]
    theirs = dict(zip(asked, await live(settings_of(watched, job), [round(t * 1000) for t in asked]), strict=True))
    good = failed = compared = late = 0
    differ: list[str] = []
    quiet: set[str] = set()
    before: deque[set[str]] = deque([set(), set()], maxlen=2)
    on_time: deque[bool] = deque(maxlen=round(SCENE_WINDOW) + 1)
    last = known.scrapes[0][0]
    for number, (time, read) in enumerate(known.scrapes):
        target_then = known.until(time)
        good, failed = (good + 1, 0) if read else (0, failed + 1)
        young = {spec.id for spec in SPECS.values() if changed(known.target, spec)}
        recent = young.union(*before)
        before.append(young)
        on_time.append(time - last < LATE_SEC)
        late += not on_time[-1]
        last = time
        if (found := theirs.get(time)) is None:
            continue
        ours = read_scrapes(SPECS.values(), [target_then], found.time, SCENE_WINDOW, interval_sec=1.0)
        if failed == 1 and number:
            assert set(found.missing) >= set(ours.readings)
            continue
        alone = number > 0 and len(known.target.times) == 1
        if alone or not all(on_time):
            continue
        full = good > SCENE_WINDOW + 1
        for signal_id in ours.readings:
            one, other = state(ours, signal_id), state(found, signal_id)
            agree = one == (pytest.approx(other, rel=0.05) if isinstance(other, float) else other)
            counts = "missing" in (one, other) or (full and signal_id not in recent)
            compared += full and counts
            quiet |= {signal_id} if agree and one == "no traffic" else set()
            if counts and not agree:
                differ.append(f"{number} {signal_id}: directly {one}, by Prometheus {other}")
    assert "\n".join(differ) == ""
    assert compared > 0 or late
    assert quiet or target != "server" or late


class Limited(httpx.AsyncHTTPTransport):
    """Refuses more than so many steps at once, as a server with a small sample limit does."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.refused = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        form = parse_qs((await request.aread()).decode())
        start, end, step = (float(form[name][0]) for name in ("start", "end", "step"))
        if (end - start) / step >= self.most:
            self.refused += 1
            refusal = b'{"status": "error", "error": "query processing would load too many samples"}'
            return httpx.Response(422, stream=httpx.ByteStream(refusal))
        return await super().handle_async_request(request)


async def test_a_range_gives_at_every_step_what_the_live_source_would_have_read_then(watched: Watched) -> None:
    of, times = settings_of(watched, 'job=~".+/(server|worker-1)"'), watched.times
    expected = await live(of, times)
    notes: list[str] = []
    limited = Limited(50)
    for found in (
        await replayed(of, times, note=notes.append),
        await replayed(of, times, steps=5),
        await replayed(of, range(times[0], times[0] + 160_000, STEP_MS), transport=limited),
    ):
        assert [d for ours, theirs in zip(found, expected, strict=False) for d in apart(ours, theirs)] == []
        assert len(found) >= len(expected)
    assert notes == []
    assert limited.refused
    seen = [(s.targets.get("server"), s.targets.get("worker")) for s in expected]
    assert {(1, 0), (2, 0)} <= set(seen)
    assert (2, 1) in seen
    single = await replayed(of, range(times[-1], times[-1] + 1, STEP_MS))
    assert [s.readings.keys() for s in single] == [expected[-1].readings.keys()]
    with pytest.raises(SourceError, match="no target has service_requests nor temporal_num_pollers"):
        await replayed(of, range(times[0] - 40_000_000, times[0] - 39_900_000, STEP_MS))
