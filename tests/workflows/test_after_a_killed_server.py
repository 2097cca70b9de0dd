"""A loop whose workflow clock says another time in replay than it did, because Temporal was killed, goes on."""

import gzip

from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from copilot.worker import WORKFLOWS, workflow_runner
from tests.test_tree import ROOT

CAUGHT = ROOT / "tests" / "data" / "stuck" / "observe-after-a-killed-server.json.gz"


async def test_the_history_that_chaos_caught_replays() -> None:
    history = WorkflowHistory.from_json("observe-chaos", gzip.decompress(CAUGHT.read_bytes()).decode())
    replayer = Replayer(workflows=WORKFLOWS, data_converter=pydantic_data_converter, workflow_runner=workflow_runner())
    assert (await replayer.replay_workflow(history, raise_on_replay_failure=False)).replay_failure is None
