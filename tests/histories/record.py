"""Records histories of the workflows as they run on a real server: `python -m tests.histories.record [NAME…]`.

A recorded history is a promise to loops that run already: record again only with a change that is meant to break them.
"""

import asyncio
import contextlib
import json
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from copilot.loops.definitions import Definition, assess_id, prune_id, scheduled_id
from copilot.loops.observe import ObserveClusterWorkflow
from copilot.loops.prune import PruneStoreWorkflow
from copilot.loops.scheduled import ScheduledAssessmentWorkflow
from copilot.loops.starter import PRUNING, start_loop
from copilot.rules.evaluate import Context, evaluate
from copilot.rules.memory import Memory
from copilot.rules.model import Evaluation
from copilot.rules.signals.readings import Signals
from tests.agents.answers import sound, told
from tests.agents.model_server import ModelServer, calls
from tests.fakes.memory_store import MemoryStore
from tests.notify.standin import OK
from tests.workflows.assessing import Assessing
from tests.workflows.conftest import EVER, Observed, a_cluster, eventually
from tests.workflows.logged import Logged
from tests.workflows.notified import hooked

HERE = Path(__file__).parent
Recording = Callable[[Observed], Awaitable[dict[str, WorkflowHandle[Any, Any]]]]


async def steady(observed: Observed) -> dict[str, WorkflowHandle[Any, Any]]:
    """Three ticks, the frontend gone in the last: two assessments."""
    async with observed.worker():
        await observed.start()
        await observed.ticks(2)
        observed.source.changed = {"frontend__reachable": 0.0}
        await observed.ticks(4)
        first = await observed.store.assessments_in_range(observed.cluster.name, *EVER)
        name = assess_id(observed.cluster.name, first[0].time.timestamp(), "state_change")
        return {"observe-steady": observed.loop, "assess": observed.client.get_workflow_handle(name)}


async def store_away(observed: Observed) -> dict[str, WorkflowHandle[Any, Any]]:
    """The store away over the end of a run: what was not stored is handed over."""
    observed.store.away = True
    async with observed.worker():
        await observed.start(ticks_per_run=2)
        run = (await observed.loop.describe()).run_id
        await eventually(lambda: _runs(observed, 3))
        third = (await observed.loop.describe()).run_id
        observed.store.away = False
        await eventually(lambda: _runs(observed, 4))
        backlogs = [w.id async for w in observed.client.list_workflows("WorkflowType='StoreBacklogWorkflow'")]
        first, second, *_ = sorted(backlogs)
        await observed.client.get_workflow_handle(second).result()
        return {
            "observe-store-away": observed.client.get_workflow_handle(observed.loop.id, run_id=run),
            "observe-behind-backlog": observed.client.get_workflow_handle(observed.loop.id, run_id=third),
            "store-backlog": observed.client.get_workflow_handle(first),
            "store-backlog-second": observed.client.get_workflow_handle(second),
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
        await eventually(lambda: _closed(observed.loop))
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


async def scheduled(observed: Observed) -> dict[str, WorkflowHandle[Any, Any]]:
    """Two assessments on schedule, the store away before the second; a new run; cancelled."""
    observed.cluster = observed.cluster.model_copy(update={"assess_every_sec": 3.0})
    loop = observed.client.get_workflow_handle(scheduled_id(observed.cluster.name))

    async def known(made: int, runs: int = 1) -> bool | None:
        status = await loop.query(ScheduledAssessmentWorkflow.status)
        return True if status.made >= made and status.runs >= runs else None

    async with observed.worker():
        await observed.start()
        await observed.schedule(ticks_per_run=12)
        run = (await loop.describe()).run_id
        await eventually(lambda: known(1))
        observed.store.away = True
        await eventually(lambda: known(2))
        observed.store.away = False
        await eventually(lambda: known(2, runs=2))
        await loop.cancel()
        await eventually(lambda: _closed(loop))
        return {
            "scheduled": observed.client.get_workflow_handle(loop.id, run_id=run),
            "scheduled-cancelled": loop,
        }


async def logs(observed: Observed) -> dict[str, WorkflowHandle[Any, Any]]:
    """A log that grows, over two runs of its watcher, and a spike."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        logged = Logged(observed.client, observed.cluster, file=Path("server.log"))
        logged.file.touch()
        async with logged.both():
            await logged.start()
            await logged.watch(ticks_per_run=4)
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


async def pruned(observed: Observed) -> dict[str, WorkflowHandle[Any, Any]]:
    """One that fails, one that does not, and a new run; cancelled."""
    often = replace(PRUNING, definition=lambda _: Definition(interval_sec=1, ticks_per_run=2))
    loop = observed.client.get_workflow_handle(prune_id(observed.cluster.name))

    async def known(prunings: int = 0, *, failed: bool) -> bool | None:
        status = await loop.query(PruneStoreWorkflow.status)
        return True if status.prunings >= prunings and (status.last_error is not None) == failed else None

    observed.store.away = True
    async with observed.worker():
        await start_loop(observed.client, observed.queue, observed.cluster, often)
        run = (await loop.describe()).run_id
        await eventually(lambda: known(failed=True))
        observed.store.away = False
        await eventually(lambda: known(2, failed=True))
        await loop.cancel()
        await eventually(lambda: _closed(loop))
        return {"prune": observed.client.get_workflow_handle(loop.id, run_id=run), "prune-cancelled": loop}


async def notified(observed: Observed) -> dict[str, WorkflowHandle[Any, Any]]:
    """Stressed is told at the second attempt; a new run; recovered; cancelled."""
    async with hooked(observed, (503, {}, b""), OK) as (cluster, _), cluster.worker():
        await cluster.start()
        await cluster.notify(ticks_per_run=4)
        run = (await cluster.notifier.describe()).run_id
        await cluster.ticks(1)
        cluster.frontend(answers=False)
        await cluster.sent(1)
        cluster.frontend(answers=True)
        await cluster.sent(2)
        await cluster.notifier.cancel()
        await eventually(lambda: _closed(cluster.notifier))
        return {
            "notify": cluster.client.get_workflow_handle(cluster.notifier.id, run_id=run),
            "notify-cancelled": cluster.notifier,
            "observe-notifies": cluster.loop,
        }


async def cancelled(observed: Observed) -> dict[str, WorkflowHandle[Any, Any]]:
    """Cancelled while a tick is judged: a first judgement fails, and the cancellation comes before the second."""
    judged = asyncio.Event()

    def rules(signals: Signals, memory: Memory, context: Context) -> tuple[Evaluation, Memory]:
        if not judged.is_set():
            judged.set()
            raise ValueError("these rules judge at the second time")
        return evaluate(signals, memory, context)

    observed.rules = rules
    async with observed.worker():
        await observed.start()
        await judged.wait()
        await observed.loop.cancel()
        await eventually(lambda: _closed(observed.loop))
        return {"observe-cancelled-in-a-tick": observed.loop}


async def explained(observed: Observed) -> dict[str, WorkflowHandle[Any, Any]]:
    """Explained by the deep model, by the fast one, and by the rules because the model's answer was refused."""
    quick = {"summary": "Nobody polls orders.", "why": "No worker runs.", "meaning": "Orders wait.", "confidence": 0.7}
    server = ModelServer(research=calls("final_result", told(sound())))
    server.dispatched = {"quick": calls("final_result_QuickExplanation", quick)}
    server.researched = {"refused": calls("final_result", told(sound(summary="The cluster is happy.")))}
    async with server.run():
        one = Assessing(observed.client, MemoryStore(), base_url=server.url)
        async with one.worker:
            for case in ("deep", "quick", "refused"):
                await one.assess(case)
    return {f"assess-{case}": one.assessment(case) for case in ("deep", "quick", "refused")}


async def main() -> None:
    """Record all, or those that are named."""
    chosen = [r for r in RECORDINGS if not sys.argv[1:] or r.__name__ in sys.argv[1:]]
    binary = Path(sys.executable).parent / "temporal"
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(binary), dev_server_log_level="error", data_converter=pydantic_data_converter
    ) as server:
        for recording in chosen:
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


async def _closed(loop: WorkflowHandle[Any, Any]) -> bool | None:
    return True if (await loop.describe()).close_time else None


RECORDINGS: tuple[Recording, ...] = (
    steady,
    store_away,
    asked,
    blind,
    scheduled,
    logs,
    pruned,
    notified,
    cancelled,
    explained,
)

if __name__ == "__main__":
    asyncio.run(main())
