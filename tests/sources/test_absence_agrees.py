"""The same recorded pages through a real Prometheus and through the direct computation: absence is read the same.

A Prometheus scrapes stand-ins that serve the pages of tests/data/pages in turn, a second each where they were recorded
every five: a window of six seconds holds as many scrapes as one of thirty did. A read that failed is a stand-in that
does not answer. Then both readings are taken at every step: the Prometheus source asked about that moment, and the
direct computation over the samples and failures (`up` 0) that Prometheus had until then."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
from whenever import Instant

from copilot.metrics.dialects import known_names
from copilot.metrics.resolve import PRESENCE_METRIC, leaves_of, read_scrapes
from copilot.metrics.window import Page, TargetScrapes, epoch_seconds
from copilot.rules.signals.expressions import Role, leaves
from copilot.rules.signals.readings import Missing, MissingCode, Signals
from copilot.rules.signals.taxonomy import SPECS, SignalSpec
from copilot.settings.clusters import ClusterSettings, PrometheusSettings
from copilot.sources.prometheus.instant import PrometheusSource
from tests.recorded_pages import TARGETS, Roll, roll
from tests.sources.metrics_server import MetricsServer
from tests.sources.prometheus_server import PrometheusServer, Samples, prometheus

pytestmark = [pytest.mark.servers, pytest.mark.alone, pytest.mark.needs_debian("prometheus")]

SCENES = ("start", "restart", "freeze", "workers-down")
WINDOW = 6.0
TAXONOMY = leaves_of(SPECS.values())


async def serve(server: MetricsServer, found: Roll) -> None:
    """The pages of a target, one a scrape."""
    for body in found.bodies():
        server.status, server.body = ("200 OK", body) if body is not None else ("503 Service Unavailable", b"")
        await server.until_asked(1)


@asynccontextmanager
async def walked(folder: Path) -> AsyncIterator[PrometheusServer]:
    """A Prometheus that has seen every scene; each target is a job named SCENE/TARGET."""
    async with AsyncExitStack() as stack:
        jobs, walks = {}, []
        for scene in SCENES:
            for target in TARGETS:
                server = await stack.enter_async_context(MetricsServer.start())
                server.status = "503 Service Unavailable"
                jobs[f"{scene}/{target}"] = [server.url.split("/")[2]]
                walks.append(serve(server, roll(scene, target)))
        async with prometheus(folder, jobs) as watching:
            await asyncio.gather(*walks)
            yield watching


class Direct:
    """One target as the direct computation comes to know it: the scrapes of a Prometheus, good and failed, in turn."""

    def __init__(self, role: Role, samples: Samples) -> None:
        words = known_names(role, TAXONOMY, [PRESENCE_METRIC[role]])
        self.target = TargetScrapes(role, "a stand-in", words, window_sec=WINDOW)
        self.scrapes: list[tuple[float, bool]] = []
        self._pages: dict[float, Page] = {}
        for key, values in samples.items():
            labels = dict(key)
            name = labels.pop("__name__")
            if name == "up":
                self.scrapes = [(time, value == "1") for time, value in values]
            elif name in words:
                series = self.target.intern(name, {k: v for k, v in labels.items() if k not in ("job", "instance")})
                for time, value in values:
                    self._pages.setdefault(time, {})[series] = float(value)
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


def differences(ours: Signals, theirs: Signals) -> dict[str, tuple[object, object]]:
    """Where the two do not say the same: missing, no traffic, or values more than 5 % apart."""

    def said(signals: Signals, signal_id: str) -> object:
        if signals.quiet(signal_id):
            return "no traffic"
        return signals.value(signal_id) if signals.covered(signal_id) else "missing"

    apart = {}
    for signal_id in ours.readings:
        one, other = said(ours, signal_id), said(theirs, signal_id)
        if one != (pytest.approx(other, rel=0.05) if isinstance(other, float) else other):
            apart[signal_id] = (one, other)
    return apart


@dataclass
class Step:
    """Both readings right after a scrape of one target; how many scrapes in a row were good, or failed; and the ids of
    which a series was born (or died) in the window or up to two scrapes before: a birth has its time to within a scrape
    only, and one that a busy machine made late lies as far off as two."""

    ours: Signals
    theirs: Signals
    good: int
    failed: int
    young: frozenset[str]


def changed(target: TargetScrapes, spec: SignalSpec) -> bool:
    """Whether a signal's series are not the same on all pages of the window."""
    read = leaves(spec.expression) if spec.expression is not None else ()
    series = [s for leaf in read if leaf.series.role == target.role for s, _, _ in target.rows(leaf)]
    return any(len({s in page for page in target.pages}) > 1 for s in series)


async def steps(watching: PrometheusServer, scene: str, target: str, end: float) -> list[Step]:
    """A target's scrapes in turn, each read both ways."""
    role, job = TARGETS[target], f'job="{scene}/{target}"'
    there = PrometheusSettings(url=watching.url, selector=job)
    cluster = ClusterSettings(interval_sec=5, window_sec=10, prometheus=there)
    moment = Instant.now()
    source = PrometheusSource(cluster.model_copy(update={"window_sec": WINDOW}), there, clock=lambda: moment)
    known = Direct(role, await watching.samples(f"{{{job}}}[120s]", end))
    found: list[Step] = []
    good = failed = 0
    before: deque[frozenset[str]] = deque(maxlen=2)
    try:
        for time, read in known.scrapes:
            moment = Instant.from_timestamp(round(time * 1000), unit="millisecond")
            theirs = await source.read(moment)
            ours = read_scrapes(SPECS.values(), [known.until(time)], moment, WINDOW, interval_sec=1.0)
            good, failed = (good + 1, 0) if read else (0, failed + 1)
            young = frozenset(s.id for s in SPECS.values() if changed(known.target, s))
            found.append(Step(ours, theirs, good, failed, young.union(*before)))
            before.append(young)
    finally:
        await source.aclose()
    return found


async def test_absence_is_read_alike_by_a_prometheus_and_directly(tmp_path: Path) -> None:
    """Through a cold start, a restart, a freeze and workers that die and come back: the same ids are missing, the same
    have no traffic, and once a window is full the values agree. The one difference wanted is that a single failed
    read is passed over by the direct computation and not by Prometheus' `up`."""
    apart: list[str] = []
    compared, said = 0, set()
    async with walked(tmp_path) as watching:
        end = epoch_seconds(Instant.now())
        for scene, target in product(SCENES, ("server", "worker-1")):
            found = await steps(watching, scene, target, end)
            assert len(found) >= len(roll(scene, target).reads)
            for number, step in enumerate(found):
                if step.failed == 1 and number:
                    assert set(step.theirs.missing) >= set(step.ours.readings)
                    continue
                differ = differences(step.ours, step.theirs)
                full = step.good > WINDOW + 1
                compared += full * len(step.ours.readings.keys() - step.young)
                for signal_id, (one, other) in differ.items():
                    if "missing" in (one, other) or (full and signal_id not in step.young):
                        apart.append(f"{scene}/{target} {number} {signal_id}: directly {one}, by Prometheus {other}")
                said |= {scene for i in step.ours.no_traffic if i not in differ}
    assert "\n".join(apart) == ""
    assert compared > 1500
    assert said == set(SCENES)
