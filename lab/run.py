"""Runs one scenario: the real thing, read as the Copilot reads it, judged live and recorded."""

import asyncio
import os
import platform
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
from whenever import Instant, TimeDelta

from copilot import bootstrap, pipeline
from copilot.demo.stack import Watching
from copilot.demo.watched import WatchedCluster, server_version
from copilot.embedded.supervisor import Supervisor, together
from copilot.replay import read_ticks, recording_header
from copilot.rules.evaluate import evaluate
from copilot.rules.memory import Memory
from copilot.rules.model import Evaluation
from copilot.settings.clusters import ClusterSettings, MetricsEndpoint, WatchedTemporal
from copilot.sources import Source
from copilot.sources.recorded import recording_to
from lab.beside import copilot_beside, keep_looking
from lab.judge import judge
from lab.labels import label_of
from lab.page_seen import Look, seen_in
from lab.recorded_run import Marks, RecordedRun, Taken, Took
from lab.scenarios import Scenario
from lab.wrongs import wrongs


@dataclass(frozen=True)
class Phases:
    """How long each phase takes, in seconds. Warming up (what a fresh server does not say for its first minute, the
    backlog gauges say, is there afterwards) is read and not recorded."""

    interval_sec: float = 10.0
    warm_sec: float = 80.0
    before_sec: float = 60.0
    fault_sec: float = 300.0
    after_sec: float = 120.0


class Show:
    """Where a run shows itself; by itself it shows nothing."""

    def event(self, scenario: str, text: str) -> None:
        """Something was done to the cluster, or happened to a part of it."""

    def evaluation(self, took: Took) -> None:
        """One evaluation."""

    def verdict(self, scenario: str, wrong: list[str]) -> None:
        """It is over: what is not as labelled."""


async def run_scenario(
    scenario: Scenario, out: Path, show: Show, phases: Phases | None = None, *, page: bool = False
) -> list[str]:
    """Run it and leave NAME.jsonl.gz and NAME.json in `out`, replacing those there; what is not as its label says, in
    sentences. `page`: a whole Copilot watches too, its page is looked at all the time and NAME.page.json says what was
    seen. Cancelled or failed it leaves nothing. StartError and FaultError say what could not be done."""
    label, lengths = label_of(scenario.name), phases or Phases()
    with tempfile.TemporaryDirectory(prefix="copilot-lab-") as folder:
        looks: list[Look] = []
        async with _watched(scenario, Path(folder), lengths, show, page) as (cluster, sources, settings, client):
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
                            run.took(evaluation)

                looking = asyncio.create_task(keep_looking(client, looks)) if client else None
                try:
                    await together(run.direct(), watch())
                finally:
                    if looking:
                        looking.cancel()
                        await asyncio.wait((looking,))
                if looking and not looking.cancelled():
                    looking.result()
            taken = Taken(
                scenario=scenario.name,
                marks=Marks(**run.marks),
                taken=run.start.format_iso()[:10],
                machine={
                    "cpus": os.cpu_count() or 1,
                    "python": platform.python_version(),
                    "temporal_server": await server_version(cluster.server.address),
                },
                label_judged_after_sec=scenario.judged_after_sec,
            )
        recorded = RecordedRun(taken, head, tuple(e.signals for e in run.evaluations))
        wrong = list(wrongs(judge(recorded, label, run.evaluations)))
        _keep(file, taken, out)
        if page:
            seen = seen_in(recorded, label, looks)
            wrong += [f"on the page, {text}" for text in seen.wrong]
            (out / f"{taken.scenario}.page.json").write_text(seen.document(), encoding="utf-8")
    show.verdict(scenario.name, wrong)
    return wrong


def _keep(recording: Path, taken: Taken, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(recording, out / recording.name)
    (out / f"{taken.scenario}.json").write_text(taken.document(), encoding="utf-8")


@asynccontextmanager
async def _watched(
    scenario: Scenario, folder: Path, phases: Phases, show: Show, page: bool
) -> AsyncIterator[tuple[WatchedCluster, tuple[Source, ...], ClusterSettings, httpx.AsyncClient | None]]:
    logs = folder / "logs"
    logs.mkdir()
    async with Supervisor(logs, lambda event: show.event(scenario.name, event.text)) as supervisor:
        cluster = WatchedCluster(supervisor, folder, scenario.usual)
        settings = _settings(scenario, cluster, phases)
        sources = bootstrap.sources(settings)
        try:
            await cluster.start()
            if page:
                watching = Watching(scenario.name, phases.interval_sec, scenario.queues, logs)
                async with copilot_beside(supervisor, folder, cluster, watching) as client:
                    yield cluster, sources, settings, client
            else:
                yield cluster, sources, settings, None
        finally:
            for source in sources:
                await source.aclose()
            await cluster.close()


def _settings(scenario: Scenario, cluster: WatchedCluster, phases: Phases) -> ClusterSettings:
    """The settings under which a Copilot would watch it."""
    workers = [MetricsEndpoint(url=url, role="worker") for url in cluster.worker_urls]
    return ClusterSettings(
        name=scenario.name,
        interval_sec=phases.interval_sec,
        temporal=WatchedTemporal(address=cluster.server.address, task_queues=scenario.queues),
        metrics=(MetricsEndpoint(url=cluster.relay.url, role="server"), *workers),
    )


class _Run:
    """One run: when it began, what was done when, and what was said."""

    def __init__(self, scenario: Scenario, cluster: WatchedCluster, phases: Phases, show: Show) -> None:
        self.start = Instant.now()
        self.marks: dict[str, Instant] = {}
        self.evaluations: list[Evaluation] = []
        self._scenario, self._cluster, self._phases, self._show = scenario, cluster, phases, show
        self._phase = ("before", self.at(phases.warm_sec))

    @property
    def length(self) -> float:
        """Seconds from the start, warming up included."""
        phases = self._phases
        return phases.warm_sec + phases.before_sec + phases.fault_sec + phases.after_sec

    def at(self, seconds: float) -> Instant:
        """So long after the start."""
        return self.start + TimeDelta(seconds=seconds)

    async def direct(self) -> None:
        """Begin the fault and end it when it is time, and note when that was."""
        scenario, phases = self._scenario, self._phases
        await self._reach("before", phases.warm_sec)
        await self._reach("fault", phases.warm_sec + phases.before_sec)
        await scenario.begin(self._cluster)
        meanwhile = asyncio.create_task(self._meanwhile())
        over = asyncio.create_task(self._reach("after", self.length - phases.after_sec))
        try:
            await asyncio.wait((meanwhile, over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (meanwhile, over):
                task.cancel()
            await asyncio.wait((meanwhile, over))
        for task in (meanwhile, over):
            with suppress(asyncio.CancelledError):
                task.result()
        await scenario.end(self._cluster)
        await self._reach("end", self.length)

    async def _meanwhile(self) -> None:
        await self._scenario.meanwhile(self._cluster)
        await asyncio.Event().wait()

    async def _reach(self, phase: str, seconds: float) -> None:
        due = self.at(seconds)
        await asyncio.sleep(max(0.0, (due - Instant.now()).total("seconds")))
        self.marks[phase] = due
        self._phase = (phase, due)
        self._show.event(self._scenario.name, f"{phase}: {self._scenario.what}" if phase == "fault" else phase)

    def took(self, evaluation: Evaluation) -> None:
        """Note what was said, and show it."""
        self.evaluations.append(evaluation)
        phase, since = self._phase
        self._show.evaluation(Took(self._scenario.name, phase, (evaluation.time - since).total("seconds"), evaluation))
