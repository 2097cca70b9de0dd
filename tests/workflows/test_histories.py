"""Loops that run already must be able to go on under this code."""

import ast
import asyncio
import copy
import gzip
import json
import os
import random
import shutil
import sys
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import UnsandboxedWorkflowRunner

import copilot
from copilot.loops.worker import WORKFLOWS
from copilot.rules.thresholds import Thresholds
from tests.histories.replay import HISTORIES, TIMED, not_replayed, recorded
from tests.workflows.conftest import Observed, eventually

ROOT = Path(__file__).parents[2]


def test_there_is_a_history_of_every_workflow() -> None:
    names = {file.stem.partition("-")[0] for file in HISTORIES}
    assert names == {"observe", "scheduled", "logs", "prune", "executions", "notify", "assess", "store"}
    assert len(WORKFLOWS) == len(names)


async def test_every_recorded_history_replays() -> None:
    assert await not_replayed(map(recorded, HISTORIES)) == {}


class TenthMore(ast.NodeTransformer):
    """Makes every number a tenth larger."""

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        value = node.value
        return ast.Constant(value * 1.1) if isinstance(value, int | float) else node


def with_other_thresholds(source: str) -> str:
    """The module with every default of `Thresholds` and every grade changed."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == "Thresholds":
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and field.value is not None:
                    field.value = TenthMore().visit(field.value)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "GRADES":
            TenthMore().visit(node)
    return ast.unparse(ast.fix_missing_locations(tree))


async def test_the_histories_replay_under_a_release_whose_thresholds_all_differ(tmp_path: Path) -> None:
    package = tmp_path / "copilot"
    shutil.copytree(Path(copilot.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__", "recordings"))
    module = package / "rules" / "thresholds.py"
    module.write_text(with_other_thresholds(module.read_text(encoding="utf-8")), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.histories.replay",
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)}, stdout=-1, stderr=-1,
    )  # fmt: skip
    said, complained = await process.communicate()
    assert process.returncode == 0, complained.decode()[-2000:]
    theirs, ours = json.loads(said), json.loads(Thresholds().model_dump_json())
    assert {name for name in ours if theirs[name] == ours[name]} == {"pressure"}


@pytest.mark.servers
async def test_a_running_loop_goes_on_under_a_worker_whose_thresholds_all_differ(observed: Observed) -> None:
    async with observed.worker():
        await observed.start()
        await observed.cycles(2)
    changed = {n: v * 1.1 for n, v in Thresholds() if isinstance(v, float)}
    observed.thresholds = Thresholds.model_validate(changed)
    async with observed.worker():
        before = await observed.status()
        await observed.cycles(before.cycles + 2)

        async def by_the_new_ones() -> bool | None:
            latest = await observed.store.latest_snapshot(observed.cluster.name)
            return True if latest and latest.thresholds_hash == observed.thresholds.digest() else None

        assert await eventually(by_the_new_ones)
        history = await observed.loop.fetch_history()
    assert await not_replayed([history]) == {}


# Around a server's death a workflow task may be recorded with another start than the one its commands were
# made by. So no command may depend on the workflow's clock (docs/adr/0015).
CAUGHT = ROOT / "tests" / "data" / "stuck" / "observe-after-a-killed-server.json.gz"


async def test_the_history_that_chaos_caught_replays() -> None:
    history = WorkflowHistory.from_json("observe-chaos", gzip.decompress(CAUGHT.read_bytes()).decode())
    assert await not_replayed([history]) == {}


def with_other_clocks(history: WorkflowHistory, seed: int) -> WorkflowHistory:
    """Every workflow task has started up to half a minute earlier or later than it did."""
    rng, events = random.Random(seed), copy.deepcopy(history.events)
    for event in events:
        if event.HasField("workflow_task_started_event_attributes"):
            by = rng.choice([-30, -3, -1, 1, 3, 30]) * rng.random()
            event.event_time.FromNanoseconds(event.event_time.ToNanoseconds() + int(by * 1e9))
    return WorkflowHistory(f"{history.workflow_id}, seed {seed}", events)


async def test_no_command_depends_on_the_workflows_clock() -> None:
    moved = (with_other_clocks(history, seed) for seed, history in enumerate(map(recorded, TIMED)))
    assert await not_replayed(moved, UnsandboxedWorkflowRunner()) == {}
