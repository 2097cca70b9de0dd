"""The worker of the long run, a process of its own so that its memory is its own: the real loops, activities and store,
fed with recorded signals instead of a watched cluster. `python -m benchmarks._long_run_worker ADDRESS QUEUE STORE_URL
RECORDINGS CLUSTER…` runs until it is ended."""

import asyncio
import sys
from collections.abc import Sequence
from itertools import chain, cycle, islice
from pathlib import Path

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from whenever import Instant

from copilot.loops.activities.explain import ExplainActivities
from copilot.loops.activities.observe import ObserveActivities
from copilot.loops.worker import build_worker
from copilot.rules.evaluate import Context
from copilot.rules.signals.readings import Signals
from copilot.sources.knowledge.local import LocalKnowledge
from copilot.sources.recorded import read_recording
from copilot.store.postgres import PostgresStore

INTERVAL_SEC = 1.0
WINDOW_SEC = 60.0


class EndlessSource:
    """Gives recorded ticks one after the other, from `first` on, again and again."""

    name = "recorded"

    def __init__(self, ticks: Sequence[Signals], first: int) -> None:
        self._ticks = islice(cycle(ticks), first, None)
        self.expected = tuple({i: None for tick in ticks for i in tick.readings})

    async def read(self, now: Instant) -> Signals:
        """The next tick, dated `now`."""
        return next(self._ticks).model_copy(update={"time": now})

    async def aclose(self) -> None:
        """Nothing is held."""


def recorded(folder: Path) -> list[Signals]:
    """All recordings of a folder one after the other."""
    return list(chain.from_iterable(read_recording(file)[1] for file in sorted(folder.glob("*/recording.jsonl.gz"))))


async def run(address: str, queue: str, store_url: str, folder: str, *clusters: str) -> None:
    """Work until cancelled."""
    ticks = await asyncio.to_thread(recorded, Path(folder))
    deps = ObserveActivities(
        sources={name: (EndlessSource(ticks, 17 * i),) for i, name in enumerate(clusters)},
        contexts={n: Context(cluster=n, interval_sec=INTERVAL_SEC, window_sec=WINDOW_SEC) for n in clusters},
        store=PostgresStore(store_url),
    )
    client = await Client.connect(address, data_converter=pydantic_data_converter)
    explaining = ExplainActivities(deps.store, LocalKnowledge())
    async with build_worker(client, queue, deps, explaining):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(run(*sys.argv[1:]))
