"""A new release takes over the running loops, on a real Temporal server."""

import pytest
from temporalio.client import Client

from copilot.core.errors import StartError
from copilot.release import make_current
from copilot.settings import WorkerSettings
from tests.workflows.conftest import Observed, a_cluster

pytestmark = pytest.mark.servers

OLD = WorkerSettings(deployment="copilot", build_id="1.0.0")
NEW = WorkerSettings(deployment="copilot", build_id="1.1.0")


async def version_of(observed: Observed) -> str:
    described = await observed.loop.describe()
    return described.raw_description.workflow_execution_info.versioning_info.deployment_version.build_id


@pytest.mark.alone
async def test_a_new_release_takes_over_a_running_loop_and_no_tick_is_lost(client: Client) -> None:
    observed = Observed(client, a_cluster().model_copy(update={"interval_sec": 4.0}))
    async with observed.worker(OLD):
        await make_current(client, OLD)
        await observed.start()
        await observed.ticks(2)
        assert await version_of(observed) == "1.0.0"
        async with observed.worker(NEW):
            await make_current(client, NEW)
            await make_current(client, NEW)
            status = await observed.ticks((await observed.status()).ticks + 2)
            assert await version_of(observed) == "1.1.0"
            assert status.runs == 1
            stored = await observed.stored(status.ticks)
    ticks = [int(i.rpartition(":")[2]) for i in stored]
    planned = list(range(-(-ticks[0] // 4) * 4, ticks[-1] + 1, 4))
    assert set(planned) - set(ticks) <= {planned[0]}


async def test_a_loop_waits_for_its_new_release_and_goes_on_under_it(client: Client) -> None:
    """The old release is gone before the new one is there."""
    observed = Observed(client, a_cluster())
    async with observed.worker(OLD):
        await make_current(client, OLD)
        await observed.start()
        before = await observed.ticks(2)
    async with observed.worker(NEW):
        await make_current(client, NEW)
        status = await observed.ticks(before.ticks + 2)
        assert await version_of(observed) == "1.1.0"
        stored = await observed.stored(status.ticks)
    assert stored == sorted(set(stored))


async def test_workers_that_had_no_version_hand_their_loops_to_one_that_has(client: Client) -> None:
    observed = Observed(client, a_cluster())
    async with observed.worker():
        await observed.start()
        before = await observed.ticks(2)
    async with observed.worker(NEW):
        await make_current(client, NEW)
        await observed.ticks(before.ticks + 2)
        assert await version_of(observed) == "1.1.0"


async def test_a_release_without_a_worker_is_refused_in_one_line(client: Client) -> None:
    with pytest.raises(StartError, match=r"release 1\.0\.0 of copilot .* does a `copilot worker` of it run\?") as error:
        await make_current(client, OLD, patience_sec=1)
    assert "\n" not in str(error.value)


async def test_without_a_deployment_nothing_is_handed_over(client: Client) -> None:
    await make_current(client, WorkerSettings(), patience_sec=0)
