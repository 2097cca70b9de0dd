"""Replays the recorded histories under the code that is installed: `python -m tests.histories.replay` prints the
thresholds it was done under."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, WorkflowRunner

from copilot.loops.worker import WORKFLOWS, workflow_runner
from copilot.rules.thresholds import Thresholds

HERE = Path(__file__).parent
TIMED = sorted(HERE.glob("*.json"))
UNTIMED = sorted((HERE / "untimed").glob("*.json"))
"""Of runs that were begun before every wait was a timer: they go on by their clock."""
HISTORIES = TIMED + UNTIMED


def recorded(file: Path) -> WorkflowHistory:
    """A recorded history, named for its folder and file."""
    return WorkflowHistory.from_json(f"{file.parent.name}/{file.stem}", file.read_text(encoding="utf-8"))


async def not_replayed(
    histories: Iterable[WorkflowHistory], runner: WorkflowRunner | None = None
) -> dict[str, Exception]:
    """Those that do not replay, by name, and why. One replayer for all: it imports each workflow anew when it begins.
    Without deadlock detection: on a busy machine a workflow may get no processor for the two seconds it allows."""

    async def given() -> AsyncIterator[WorkflowHistory]:
        for history in histories:
            yield history

    replayer = Replayer(
        workflows=WORKFLOWS,
        data_converter=pydantic_data_converter,
        workflow_runner=runner or workflow_runner(),
        debug_mode=True,
    )
    async with replayer.workflow_replay_iterator(given()) as results:
        return {r.history.workflow_id: r.replay_failure async for r in results if r.replay_failure}


if __name__ == "__main__":
    if failed := asyncio.run(not_replayed(map(recorded, HISTORIES), UnsandboxedWorkflowRunner())):
        raise SystemExit(repr(failed))
    print(Thresholds().model_dump_json(), flush=True)
    os._exit(0)  # Threads of Temporal's core that are about to end abort a Python that is ending (1 in 60 under load).
