"""A loop whose workflow clock says another time in replay than it did, because Temporal was killed, goes on.

Around the server's death a workflow task may be recorded with another start than the one its commands were made by. So
no command may depend on the workflow's clock (docs/adr/0015).
"""

import asyncio
import gzip
import json
import random
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer
from whenever import Instant

from copilot.loops.worker import WORKFLOWS, workflow_runner
from tests.histories.replay import TIMED
from tests.test_tree import ROOT

CAUGHT = ROOT / "tests" / "data" / "stuck" / "observe-after-a-killed-server.json.gz"


async def why_it_does_not_replay(name: str, history: str) -> Exception | None:
    replayer = Replayer(workflows=WORKFLOWS, data_converter=pydantic_data_converter, workflow_runner=workflow_runner())
    result = await replayer.replay_workflow(WorkflowHistory.from_json(name, history), raise_on_replay_failure=False)
    return result.replay_failure


def with_other_clocks(recorded: str, rng: random.Random) -> str:
    """Every workflow task has started up to half a minute earlier or later than it did."""
    history = json.loads(recorded)
    for event in history["events"]:
        if event["eventType"] == "EVENT_TYPE_WORKFLOW_TASK_STARTED":
            by = rng.choice([-30, -3, -1, 1, 3, 30]) * rng.random()
            event["eventTime"] = Instant.parse_iso(event["eventTime"]).add(seconds=by).format_iso()
    return json.dumps(history)


async def test_the_history_that_chaos_caught_replays() -> None:
    assert await why_it_does_not_replay("observe-chaos", gzip.decompress(CAUGHT.read_bytes()).decode()) is None


@pytest.mark.parametrize("file", TIMED, ids=lambda file: file.stem)
async def test_no_command_depends_on_the_workflows_clock(file: Path) -> None:
    recorded = await asyncio.to_thread(file.read_text, encoding="utf-8")
    for seed in range(5):
        changed = with_other_clocks(recorded, random.Random(seed))
        assert await why_it_does_not_replay(file.stem, changed) is None, f"seed {seed}"
