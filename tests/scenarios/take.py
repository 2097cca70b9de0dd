"""Take recordings of real faults: `python -m tests.scenarios.take workers-down idle …` writes tests/scenarios/NAME/.

Starts the watched half of the demo (with the stock server's minute between backlog gauges), reads it through the same
sources as the Copilot every ten seconds, injects the fault, clears it, and writes what was read and when each phase
began. `healthy` injects nothing. What the rules make of it is printed, not written: expectations stand in labels.toml.
"""

import argparse
import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from whenever import Instant

from copilot import bootstrap, pipeline
from copilot.core.evaluation import evaluate
from copilot.core.memory import Memory
from copilot.local.faults import FaultDesk, fault_named
from copilot.local.stack import TASK_QUEUES
from copilot.local.supervisor import Supervisor
from copilot.local.watched import WatchedCluster
from copilot.recording import header, ticks
from copilot.settings import ClusterSettings, MetricsEndpoint, WatchedTemporal
from copilot.sources import Source
from copilot.sources.recorded import write_recording

HERE = Path(__file__).parent
INTERVAL_SEC, WARM_SEC, BEFORE_SEC = 10.0, 30.0, 40.0
# Seconds of the fault and after it. The verdict has 95 s to arrive; what must get worse with time gets more.
PHASES = {
    "healthy": (100.0, 10.0),
    "idle": (120.0, 30.0),
    "server-restart": (100.0, 20.0),
    "slots-exhausted": (220.0, 120.0),
    "burst": (180.0, 60.0),
    "metrics-cut": (140.0, 60.0),
    "workflows-failing": (120.0, 70.0),
    "frontend-rate-limit": (150.0, 120.0),
    "persistence-rate-limit": (150.0, 120.0),
    "database-locked": (120.0, 100.0),
}
USUAL_PHASES = (120.0, 110.0)


def watching(cluster: WatchedCluster, name: str) -> ClusterSettings:
    """The settings under which the Copilot would watch it."""
    servers = [MetricsEndpoint(url=cluster.relay.url, role="server")]
    workers = [MetricsEndpoint(url=url, role="worker") for url in cluster.worker_urls]
    temporal = WatchedTemporal(address=cluster.server.address, task_queues=TASK_QUEUES)
    return ClusterSettings(name=name, interval_sec=INTERVAL_SEC, temporal=temporal, metrics=(*servers, *workers))


@asynccontextmanager
async def watched(name: str) -> AsyncIterator[tuple[WatchedCluster, tuple[Source, ...], ClusterSettings]]:
    """A watched cluster with load, warmed up, and its sources."""
    with tempfile.TemporaryDirectory(prefix="copilot-take-") as folder:
        logs = Path(folder) / "logs"
        logs.mkdir()
        async with Supervisor(logs, lambda event: print(f"  {event}")) as supervisor:
            cluster = WatchedCluster(supervisor, Path(folder), dynamic_config={})
            settings = watching(cluster, name)
            sources = bootstrap.sources(settings)
            try:
                await cluster.start()
                await asyncio.sleep(WARM_SEC)
                yield cluster, sources, settings
            finally:
                for source in sources:
                    await source.aclose()
                await cluster.close()


async def take(name: str, out: Path) -> None:
    """One recording."""
    async with watched(name) as (cluster, sources, settings):
        desk = FaultDesk(cluster, lambda text: print(f"  {text}"))
        context, memory, taken = pipeline.context(settings), Memory(), []
        fault_sec, after_sec = PHASES.get(name, USUAL_PHASES)
        phases = [("before", BEFORE_SEC), ("fault", fault_sec), ("after", after_sec)]
        marks: dict[str, str] = {}
        for phase, seconds in phases:
            marks[phase] = Instant.now().format_iso()
            if name != "healthy" and phase == "fault":
                await desk.inject(name)
            if name != "healthy" and phase == "after" and fault_named(name).lasts_sec is None:
                await desk.clear(name)
            began = Instant.now()
            async for signals in ticks(sources, INTERVAL_SEC, seconds):
                taken.append(signals)
                evaluation, memory = evaluate(signals, memory, context)
                verdict = evaluation.verdict
                print(
                    f"{name} {phase} {(signals.time - began).total('seconds'):4.0f} s {verdict.health_state.value}"
                    f"{'*' if verdict.stale else ''} {evaluation.bottleneck.value} {evaluation.top_factor} "
                    f"{list(verdict.fired())} cov {verdict.coverage.primary:.2f}",
                    flush=True,
                )
        file = out / name / "recording.jsonl.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_recording(file, header(settings, sources), taken)
        (out / name / "marks.json").write_text(json.dumps(marks, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    for scenario in options.names:
        asyncio.run(take(scenario, options.out))
