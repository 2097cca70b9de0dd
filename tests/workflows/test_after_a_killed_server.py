"""A loop whose workflow clock says another time in replay than it did, because Temporal was killed, goes on."""

import gzip

from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from copilot.worker import PASSED_THROUGH, WORKFLOWS
from tests.test_tree import ROOT

CAUGHT = ROOT / "tests" / "data" / "stuck" / "observe-after-a-killed-server.json.gz"


async def test_the_history_that_chaos_caught_replays() -> None:
    history = WorkflowHistory.from_json("observe-chaos", gzip.decompress(CAUGHT.read_bytes()).decode())
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
    replayer = Replayer(
        workflows=list(WORKFLOWS),
        data_converter=pydantic_data_converter,
        workflow_runner=SandboxedWorkflowRunner(restrictions=restrictions),
    )
    assert (await replayer.replay_workflow(history, raise_on_replay_failure=False)).replay_failure is None
