"""Records histories of the workflows as they run on a real server: `python -m tests.histories.record`.

A recorded history is a promise to loops that run already: record again only with a change that is meant to break them.
"""

import asyncio
import contextlib
import json
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from whenever import Instant

from copilot.starter import start_log_watcher
from copilot.workflows.observe import ObserveClusterWorkflow
from tests.workflows.conftest import Observed, a_cluster, eventually
from tests.workflows.logged import Logged

HERE = Path(__file__).parent
EVER = (Instant.from_utc(2020, 1, 1), Instant.from_utc(2100, 1, 1))
Recording = Callable[[Observed], Awaitable[dict[str, WorkflowHandle[Any, Any]]]]


async def steady(observed: Observed) -> dict[str, WorkflowHandle[Any, Any]]:
    """Three ticks, the frontend gone in the last: two assessments."""
    async with observed.worker():
        await observed.start()
        await observed.ticks(2)
        observed.source.changed = {"frontend__reachable": 0.0}
        await observed.ticks(4)
        first = await observed.store.assessments_in_range(observed.cluster.name, *EVER)
        name = f"assess-{observed.cluster.name}-{int(first[0].time.timestamp())}"
        return {"observe-steady": observed.loop, "assess": observed.client.get_workflow_handle(name)}


async def store_away(observed: Observed) -> dict[str, WorkflowHandle[Any, Any]]:
    """The store away over the end of a run: what was not stored is handed over."""
    observed.store.away = True
    async with observed.worker():
        await observed.start(ticks_per_run=2)
        run = (await observed.loop.describe()).run_id
        await eventually(lambda: _runs(observed, 2))
        observed.store.away = False
        await observed.stored(2)
        backlog = [w async for w in observed.client.list_workflows("WorkflowType='StoreBacklogWorkflow'")]
        await observed.client.get_workflow_handle(backlog[0].id).result()
        return {
            "observe-store-away": observed.client.get_workflow_handle(observed.loop.id, run_id=run),
            "observe-second-run": observed.loop,
            "store-backlog": observed.client.get_workflow_handle(backlog[0].id),
        }


async def asked(observed: Observed) -> dict[str, WorkflowHandle[Any, Any]]:
    """Assessed by hand, then given another interval, then cancelled."""
    async with observed.worker():
        await observed.start()
        run = (await observed.loop.describe()).run_id
        await observed.ticks(1)
        await observed.loop.execute_update(ObserveClusterWorkflow.assess_now)
        observed.cluster = observed.cluster.model_copy(update={"interval_sec": 3.0})
        await observed.start()
        await eventually(lambda: _runs(observed, 2))
        await observed.loop.cancel()
        await eventually(lambda: _closed(observed))
        return {
            "observe-redefined": observed.client.get_workflow_handle(observed.loop.id, run_id=run),
            "observe-cancelled": observed.loop,
        }


async def blind(observed: Observed) -> dict[str, WorkflowHandle[Any, Any]]:
    """A read that never comes back."""
    async with observed.worker():
        await observed.start()
        await observed.ticks(1)
        observed.source.stuck = True
        await observed.ticks(2)
        return {"observe-blind": observed.loop}


async def logs(observed: Observed) -> dict[str, WorkflowHandle[Any, Any]]:
    """A log that grows, over two runs of its watcher, and a spike."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        logged = Logged(observed.client, observed.cluster, file=Path("server.log"))
        logged.file.touch()
        async with logged.both():
            await logged.start()
            await start_log_watcher(logged.client, logged.queue, logged.cluster, ticks_per_run=4)
            run = (await logged.watcher.describe()).run_id
            await logged.readings(5)
            logged.write(30)
            await logged.said("database locked")
            await logged.readings(7)
            return {
                "logs-steady": logged.client.get_workflow_handle(logged.watcher.id, run_id=run),
                "logs-second-run": logged.watcher,
                "observe-logs": logged.loop,
            }


async def main() -> None:
    binary = Path(sys.executable).parent / "temporal"
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(binary), dev_server_log_level="error", data_converter=pydantic_data_converter
    ) as server:
        for recording in (steady, store_away, asked, blind, logs):
            await record(server.client, recording)


async def record(client: Client, recording: Recording) -> None:
    """Run one recording and keep what it names."""
    for name, handle in (await recording(Observed(client, a_cluster()))).items():
        history = json.loads((await handle.fetch_history()).to_json())
        file = HERE / f"{name}.json"
        file.write_text(json.dumps(_nobody(history), separators=(",", ":")) + "\n", encoding="utf-8")
        print(f"{file.name}: {len(history['events'])} events, {file.stat().st_size // 1000} KB")


def _nobody(node: Any) -> Any:
    """The history without the names and paths of the machine that recorded it."""
    if isinstance(node, dict):
        return {k: _nobody(v) for k, v in node.items() if k != "stackTrace"}
    if isinstance(node, str):
        return node.replace(socket.gethostname(), "recorder")
    return [_nobody(v) for v in node] if isinstance(node, list) else node


async def _runs(observed: Observed, at_least: int) -> bool | None:
    return True if (await observed.status()).runs >= at_least else None


async def _closed(observed: Observed) -> bool | None:
    return True if (await observed.loop.describe()).close_time else None


if __name__ == "__main__":
    asyncio.run(main())
