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

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from copilot.loops.definitions import assess_id
from copilot.loops.observe import ObserveClusterWorkflow
from copilot.loops.starter import INSPECTING, LOGGING, NOTIFYING, PRUNING, SCHEDULING
from copilot.rules.evaluate import Context, evaluate
from copilot.rules.memory import Memory
from copilot.rules.model import Evaluation
from copilot.rules.signals.readings import Signals
from tests.agents.answers import sound
from tests.agents.model_server import ModelServer, answers
from tests.fakes.memory_store import MemoryStore
from tests.notify.standin import OK
from tests.workflows.assessing import Assessing
from tests.workflows.conftest import Observed, a_cluster, reading_executions
from tests.workflows.test_notify import hooked, sent

HERE = Path(__file__).parent
Recording = Callable[[Observed], Awaitable[dict[str, WorkflowHandle[Any, Any]]]]


async def steady(observed: Observed) -> dict[str, WorkflowHandle[Any, Any]]:
    """Three ticks, the frontend gone in the last: two assessments."""
    async with observed.worker():
        await observed.start()
        await observed.cycles(2)
        observed.source.changed = {"frontend__reachable": 0.0}
        await observed.cycles(4)
        first = await observed.assessments()
        name = assess_id(observed.cluster.name, first[0].time.timestamp(), "state_change")
        return {"observe-steady": observed.loop, "assess": observed.client.get_workflow_handle(name)}


async def store_away(observed: Observed) -> dict[str, WorkflowHandle[Any, Any]]:
    """The store away over the end of a run: what was not stored is handed over."""
    observed.store.away = True
    async with observed.worker():
        await observed.start(ticks_per_run=2)
        run = (await observed.loop.describe()).run_id
        await observed.until(lambda status: status.runs >= 3)
        third = (await observed.loop.describe()).run_id
        observed.store.away = False
        await observed.until(lambda status: status.runs >= 4)
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
        await observed.cycles(1)
        await observed.loop.execute_update(ObserveClusterWorkflow.assess_now)
        observed.cluster = observed.cluster.model_copy(update={"interval_sec": 3.0})
        await observed.start()
        await observed.until(lambda status: status.runs >= 2)
        await _cancelled(observed.loop)
        return {
            "observe-redefined": observed.client.get_workflow_handle(observed.loop.id, run_id=run),
            "observe-cancelled": observed.loop,
        }


async def blind(observed: Observed) -> dict[str, WorkflowHandle[Any, Any]]:
    """A read that does not return."""
    async with observed.worker():
        await observed.start()
        await observed.cycles(1)
        observed.source.stuck = True
        await observed.cycles(2)
        return {"observe-blind": observed.loop}


async def scheduled(observed: Observed) -> dict[str, WorkflowHandle[Any, Any]]:
    """Two assessments on schedule, the store away before the second; a new run; cancelled."""
    observed.cluster = observed.cluster.model_copy(update={"assess_every_sec": 3.0})
    loop = observed.other(SCHEDULING)
    async with observed.worker():
        await observed.start()
        await observed.start(SCHEDULING, ticks_per_run=12)
        run = (await loop.describe()).run_id
        await observed.until(lambda status: status.made >= 1, SCHEDULING)
        observed.store.away = True
        await observed.until(lambda status: status.made >= 2, SCHEDULING)
        observed.store.away = False
        await observed.until(lambda status: status.made >= 2 and status.runs >= 2, SCHEDULING)
        await _cancelled(loop)
        return {"scheduled": observed.client.get_workflow_handle(loop.id, run_id=run), "scheduled-cancelled": loop}


async def logs(observed: Observed) -> dict[str, WorkflowHandle[Any, Any]]:
    """A log that grows, over two runs of its watcher, and a spike."""
    watcher = observed.other(LOGGING)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        observed.log_file = Path("server.log")
        observed.log_file.touch()
        async with observed.worker():
            await observed.start()
            await observed.start(LOGGING, ticks_per_run=4)
            run = (await watcher.describe()).run_id
            await observed.cycles(5, LOGGING)
            observed.log(30)
            await observed.shows("database locked")
            await observed.cycles(7, LOGGING)
            return {
                "logs-steady": observed.client.get_workflow_handle(watcher.id, run_id=run),
                "logs-second-run": watcher,
                "observe-logs": observed.loop,
            }


async def inspected(observed: Observed) -> dict[str, WorkflowHandle[Any, Any]]:
    """Two inspections, one that cannot be stored, a new run; cancelled."""
    often = replace(INSPECTING, interval_sec=lambda _: 1)
    observed.executions, loop = reading_executions(observed.client), observed.other(often)
    async with observed.worker():
        await observed.start(often, ticks_per_run=4)
        run = (await loop.describe()).run_id
        await observed.cycles(2, often)
        observed.store.away = True
        await observed.failure(often)
        observed.store.away = False
        await observed.until(lambda status: status.runs >= 2, often)
        await _cancelled(loop)
        return {"executions": observed.client.get_workflow_handle(loop.id, run_id=run), "executions-cancelled": loop}


async def pruned(observed: Observed) -> dict[str, WorkflowHandle[Any, Any]]:
    """One that fails, one that does not, and a new run; cancelled."""
    often = replace(PRUNING, interval_sec=lambda _: 1)
    loop = observed.other(often)
    observed.store.away = True
    async with observed.worker():
        await observed.start(often, ticks_per_run=2)
        run = (await loop.describe()).run_id
        await observed.failure(often)
        observed.store.away = False
        await observed.cycles(2, often)
        await _cancelled(loop)
        return {"prune": observed.client.get_workflow_handle(loop.id, run_id=run), "prune-cancelled": loop}


async def notified(observed: Observed) -> dict[str, WorkflowHandle[Any, Any]]:
    """Stressed is delivered at the second attempt; a new run; recovered; cancelled."""
    notifier = observed.other(NOTIFYING)
    async with hooked(observed, (503, {}, b""), OK), observed.worker():
        await observed.start()
        await observed.start(NOTIFYING, ticks_per_run=4)
        run = (await notifier.describe()).run_id
        await observed.cycles(1)
        observed.frontend(answers=False)
        await sent(observed, 1)
        observed.frontend(answers=True)
        await sent(observed, 2)
        await _cancelled(notifier)
        return {
            "notify": observed.client.get_workflow_handle(notifier.id, run_id=run),
            "notify-cancelled": notifier,
            "observe-notifies": observed.loop,
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
        await _cancelled(observed.loop)
        return {"observe-cancelled-in-a-tick": observed.loop}


async def explained(observed: Observed) -> dict[str, WorkflowHandle[Any, Any]]:
    """A deep and a quick explanation, as rules decide. assess-deep, assess-quick and assess-refused are of a release
    that left the depth to the quick model."""
    server = ModelServer(deep=answers(sound()), quick=answers({"summary": "No pollers.", "why": "No worker runs."}))
    async with server.run():
        one = Assessing(observed.client, MemoryStore(), base_url=server.url)
        async with one.worker:
            for case in ("deep", "quick"):
                await one.assess(case)
    return {f"assess-{case}-by-rule": one.assessment(case) for case in ("deep", "quick")}


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
        file.write_text(json.dumps(_anonymous(history), separators=(",", ":")) + "\n", encoding="utf-8")
        print(f"{file.name}: {len(history['events'])} events, {file.stat().st_size // 1000} KB")


def _anonymous(node: Any) -> Any:
    """The history without the names and paths of the machine that recorded it."""
    if isinstance(node, dict):
        return {k: _anonymous(v) for k, v in node.items() if k != "stackTrace"}
    if isinstance(node, str):
        return node.replace(socket.gethostname(), "recorder")
    return [_anonymous(v) for v in node] if isinstance(node, list) else node


async def _cancelled(loop: WorkflowHandle[Any, Any]) -> None:
    await loop.cancel()
    with contextlib.suppress(WorkflowFailureError):
        await loop.result()


RECORDINGS: tuple[Recording, ...] = (
    steady, store_away, asked, blind, scheduled, logs, pruned, inspected, notified, cancelled, explained,
)  # fmt: skip

if __name__ == "__main__":
    asyncio.run(main())
