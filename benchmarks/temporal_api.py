"""What one cycle of Temporal's own API costs at a real dev server: calls, time (ten calls a second is the pace, so it
is mostly waiting), and CPU time here. Each queue holds a workflow nobody serves."""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from temporalio.client import Client
from whenever import Instant

from benchmarks import Row
from copilot.settings.clusters import ClusterSettings, WatchedTemporal
from copilot.sources.temporal.source import TemporalApiSource
from tests.sources.watched_frontend import dev_server, start_on

QUEUES = (1, 50, 120)
DESCRIBED_LIMIT, CYCLE_LIMIT_SEC = 50, 10.0


class Counted:
    """A workflow service that notes the names of its calls."""

    def __init__(self, service: Any) -> None:
        self._service = service
        self.made: list[str] = []

    def __getattr__(self, name: str) -> Any:
        async def noted(request: Any, timeout: timedelta) -> Any:
            self.made.append(name)
            return await getattr(self._service, name)(request, timeout=timeout)

        return noted


async def cycles(queues: int) -> list[Row]:
    """The first cycle, which finds the queues too, and the third."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        async with dev_server(Path(folder)) as server:
            await start_on(server.client, [f"queue-{n:03}" for n in range(queues)])
            counted, real = Counted(server.client.workflow_service), server.client
            client = SimpleNamespace(
                workflow_service=counted, service_client=real.service_client, namespace=real.namespace
            )
            cluster = ClusterSettings(temporal=WatchedTemporal(address=server.address))
            source = TemporalApiSource(cluster, client=cast(Client, client))
            for cycle in ("first", "second", "third"):
                counted.made.clear()
                began, busy = time.perf_counter(), time.process_time()
                signals = await source.read(Instant.now())
                took, cpu = time.perf_counter() - began, (time.process_time() - busy) * 1000
                described = counted.made.count("describe_task_queue")
                lists = len(counted.made) - described
                missing = signals.missing.get("matching.backlog_count")
                said = missing.detail if missing else f"{signals.value('matching.backlog_count'):.0f} tasks wait"
                of = f"{queues} queues, {cycle} cycle"
                found += [
                    Row(f"{of}: described", described, "calls", DESCRIBED_LIMIT, f"and {lists} other calls; {said}"),
                    Row(f"{of}: time", took, "s", CYCLE_LIMIT_SEC),
                    Row(f"{of}: CPU time here", cpu, "ms"),
                ]
            await source.aclose()
    return found


def rows() -> Iterator[Row]:
    """Cycles with few, fifty and more queues than fit into one."""
    for queues in QUEUES:
        yield from asyncio.run(cycles(queues))
