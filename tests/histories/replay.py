"""Replays the recorded histories under the code that is installed: `python -m tests.histories.replay` prints the
thresholds it was done under."""

import asyncio
import os
from pathlib import Path

from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from copilot.loops.worker import WORKFLOWS, workflow_runner
from copilot.rules.thresholds import Thresholds

HERE = Path(__file__).parent
TIMED = sorted(HERE.glob("*.json"))
UNTIMED = sorted((HERE / "untimed").glob("*.json"))
"""Of runs that were begun before every wait was a timer: they go on by their clock."""
HISTORIES = TIMED + UNTIMED


def a_replayer() -> Replayer:
    """Without deadlock detection: on a busy machine a workflow may get no processor for the two seconds it allows."""
    return Replayer(
        workflows=WORKFLOWS,
        data_converter=pydantic_data_converter,
        workflow_runner=workflow_runner(),
        debug_mode=True,
    )


async def replay(*files: Path) -> None:
    """Raises what the first history raises that does not replay."""
    replayer = a_replayer()
    for file in files:
        await replayer.replay_workflow(WorkflowHistory.from_json(file.stem, file.read_text(encoding="utf-8")))


if __name__ == "__main__":
    asyncio.run(replay(*HISTORIES))
    print(Thresholds().model_dump_json(), flush=True)
    os._exit(0)  # Threads of Temporal's core that are about to end abort a Python that is ending (1 in 60 under load).
