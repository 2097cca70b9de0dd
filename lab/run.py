"""Runs one scenario: a real cluster, read as the Copilot reads it, judged live and recorded."""

import asyncio
import os
import platform
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from whenever import Instant, TimeDelta

from copilot import bootstrap, pipeline
from copilot.demo.watched import Baseline, WatchedCluster
from copilot.embedded.supervisor import Supervisor, run_all
from copilot.replay import read_ticks, recording_header
from copilot.rules.evaluate import evaluate
from copilot.rules.memory import Memory
from copilot.rules.model import Evaluation
from copilot.settings.clusters import ClusterSettings, MetricsEndpoint, WatchedTemporal
from copilot.sources import Source
from copilot.sources.recorded import recording_to
from lab.judge import judge, mistakes_of
from lab.labels import label_of
from lab.recorded_run import Marks, RecordedRun, Taken
from lab.scenarios import Scenario

MakeCluster = Callable[[Supervisor, Path, Baseline], WatchedCluster]
"""Makes the cluster of a run, in a folder, before it is started."""


@dataclass(frozen=True)
class LiveEvaluation:
    """One evaluation of a run, with its phase and the seconds since that phase began."""

    scenario: str
    phase: str
    sec: float
    evaluation: Evaluation


@dataclass(frozen=True)
class Phases:
    """Length of each phase in seconds. The warm-up is read but not recorded: a fresh server lacks some metrics, such as
    the backlog gauges, in its first minute."""

    interval_sec: float = 10.0
    warm_sec: float = 80.0
    before_sec: float = 60.0
    fault_sec: float = 300.0
    after_sec: float = 120.0


class Show:
    """What a run reports to; this one shows nothing."""

    def event(self, scenario: str, text: str) -> None:
        """A phase or fault began, or something happened to a part of the cluster."""

    def evaluation(self, live: LiveEvaluation) -> None:
        """A new evaluation."""

    def verdict(self, scenario: str, mistakes: list[str]) -> None:
        """The run ended, with these mistakes against its label."""


async def run_scenario(
    scenario: Scenario, out: Path, show: Show, phases: Phases | None = None, make: MakeCluster = WatchedCluster
) -> list[str]:
    """Run a scenario, write NAME.jsonl.gz and NAME.json to `out`, and return its mistakes against the label as
    sentences. `make`: makes the cluster, instead of one with the installed server. A cancelled or failed run writes
    nothing. StartError and FaultError say what failed."""
    label, lengths = label_of(scenario.name), phases or Phases()
    with tempfile.TemporaryDirectory(prefix="copilot-lab-") as folder:
        async with _watched(scenario, Path(folder), lengths, show, make) as (cluster, sources, settings):
            file = Path(folder) / f"{scenario.name}.jsonl.gz"
            run = _Run(scenario, cluster, lengths, show)
            head = recording_header(settings, sources)
            with recording_to(file, head) as recording:
                context, memory = pipeline.context(settings), Memory()

                async def watch() -> None:
                    nonlocal memory
                    async for signals in read_ticks(sources, lengths.interval_sec, run.length):
                        if signals.time >= run.at(lengths.warm_sec):
                            recording.add(signals)
                            evaluation, memory = evaluate(signals, memory, context)
                            run.add(evaluation)

                await run_all(run.direct(), watch())
            taken = Taken(
                scenario=scenario.name,
                marks=Marks(**run.marks),
                taken=run.start.format_iso()[:10],
                machine={
                    "cpus": os.cpu_count() or 1,
                    "python": platform.python_version(),
                    "temporal_server": await cluster.server_version(),
                },
                label_judged_after_sec=scenario.judged_after_sec,
            )
        recorded = RecordedRun(taken, head, tuple(e.signals for e in run.evaluations))
        mistakes = list(mistakes_of(judge(recorded, label, run.evaluations)))
        _save(file, taken, out)
    show.verdict(scenario.name, mistakes)
    return mistakes


def _save(recording: Path, taken: Taken, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(recording, out / recording.name)
    (out / f"{taken.scenario}.json").write_text(taken.document(), encoding="utf-8")


@asynccontextmanager
async def _watched(
    scenario: Scenario, folder: Path, phases: Phases, show: Show, make: MakeCluster
) -> AsyncIterator[tuple[WatchedCluster, tuple[Source, ...], ClusterSettings]]:
    logs = folder / "logs"
    logs.mkdir()
    async with Supervisor(logs, lambda event: show.event(scenario.name, event.text)) as supervisor:
        cluster = make(supervisor, folder, scenario.baseline)
        settings = _settings(scenario, cluster, phases)
        sources = bootstrap.sources(settings)
        try:
            await cluster.start()
            yield cluster, sources, settings
        finally:
            for source in sources:
                await source.aclose()
            await cluster.close()


def _settings(scenario: Scenario, cluster: WatchedCluster, phases: Phases) -> ClusterSettings:
    """The settings with which a Copilot watches the cluster."""
    servers = [MetricsEndpoint(url=url, role="server") for url in cluster.server_urls]
    workers = [MetricsEndpoint(url=url, role="worker") for url in cluster.worker_urls.values()]
    return ClusterSettings(
        name=scenario.name,
        interval_sec=phases.interval_sec,
        temporal=WatchedTemporal(address=cluster.server.address, task_queues=scenario.queues),
        metrics=(*servers, *workers),
    )


class _Run:
    """One run: its start, the marks of its phases, and its evaluations."""

    def __init__(self, scenario: Scenario, cluster: WatchedCluster, phases: Phases, show: Show) -> None:
        self.start = Instant.now()
        self.marks: dict[str, Instant] = {}
        self.evaluations: list[Evaluation] = []
        self._scenario, self._cluster, self._phases, self._show = scenario, cluster, phases, show
        self._phase = ("before", self.at(phases.warm_sec))

    @property
    def length(self) -> float:
        """Seconds from the start to the end, warm-up included."""
        phases = self._phases
        return phases.warm_sec + phases.before_sec + phases.fault_sec + phases.after_sec

    def at(self, seconds: float) -> Instant:
        """The instant `seconds` after the start."""
        return self.start + TimeDelta(seconds=seconds)

    async def direct(self) -> None:
        """Begin and end the fault on time, and record the marks of the phases."""
        scenario, phases = self._scenario, self._phases
        await self._reach("before", phases.warm_sec)
        await self._reach("fault", phases.warm_sec + phases.before_sec)
        await scenario.begin(self._cluster)
        during = asyncio.create_task(self._during())
        over = asyncio.create_task(self._reach("after", self.length - phases.after_sec))
        try:
            await asyncio.wait((during, over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (during, over):
                task.cancel()
            await asyncio.wait((during, over))
        for task in (during, over):
            with suppress(asyncio.CancelledError):
                task.result()
        await scenario.end(self._cluster)
        await self._reach("end", self.length)

    async def _during(self) -> None:
        await self._scenario.during(self._cluster)
        await asyncio.Event().wait()

    async def _reach(self, phase: str, seconds: float) -> None:
        due = self.at(seconds)
        await asyncio.sleep(max(0.0, (due - Instant.now()).total("seconds")))
        self.marks[phase] = due
        self._phase = (phase, due)
        self._show.event(self._scenario.name, f"{phase}: {self._scenario.what}" if phase == "fault" else phase)

    def add(self, evaluation: Evaluation) -> None:
        """Keep an evaluation and show it."""
        self.evaluations.append(evaluation)
        phase, since = self._phase
        sec = (evaluation.time - since).total("seconds")
        self._show.evaluation(LiveEvaluation(self._scenario.name, phase, sec, evaluation))
