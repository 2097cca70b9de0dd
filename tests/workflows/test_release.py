"""A new release takes over the running loops, on a real Temporal server."""

import uuid

import pytest
from temporalio.client import Client

from copilot.errors import StartError
from copilot.loops.starter import make_current
from copilot.settings.load import WorkerSettings
from tests.workflows.conftest import Observed, a_cluster

pytestmark = pytest.mark.servers


@pytest.fixture
def old() -> WorkerSettings:
    """A release of a deployment of the test's own."""
    return WorkerSettings(deployment=f"copilot-{uuid.uuid4().hex[:8]}", build_id="1.0.0")


@pytest.fixture
def new(old: WorkerSettings) -> WorkerSettings:
    return old.model_copy(update={"build_id": "1.1.0"})


async def version_of(observed: Observed) -> str:
    described = await observed.loop.describe()
    return described.raw_description.workflow_execution_info.versioning_info.deployment_version.build_id


async def test_a_new_release_takes_over_a_running_loop_and_no_tick_is_lost(
    client: Client, old: WorkerSettings, new: WorkerSettings
) -> None:
    """Ticks lie on multiples of the interval; one that comes late bears its own second, before the next is due."""
    every = 8
    observed = Observed(client, a_cluster().model_copy(update={"interval_sec": float(every)}))
    async with observed.worker(old):
        await make_current(client, old)
        await observed.start()
        await observed.ticks(2)
        assert await version_of(observed) == "1.0.0"
        async with observed.worker(new):
            await make_current(client, new)
            await make_current(client, new)
            status = await observed.ticks((await observed.status()).ticks + 2)
            assert await version_of(observed) == "1.1.0"
            assert status.runs == 1
            stored = await observed.stored(status.ticks)
    ticks = [int(i.rpartition(":")[2]) for i in stored][1:]
    planned = range(-(-ticks[0] // every) * every, ticks[-1] + 1, every)
    assert [p for p in planned if not any(p <= tick < p + every for tick in ticks)] == []
    assert sum(tick % every == 0 for tick in ticks) > len(ticks) / 2


async def test_a_loop_waits_for_its_new_release_and_goes_on_under_it(
    client: Client, old: WorkerSettings, new: WorkerSettings
) -> None:
    """The old release is gone before the new one is there."""
    observed = Observed(client, a_cluster())
    async with observed.worker(old):
        await make_current(client, old)
        await observed.start()
        before = await observed.ticks(2)
    async with observed.worker(new):
        await make_current(client, new)
        status = await observed.ticks(before.ticks + 2)
        assert await version_of(observed) == "1.1.0"
        stored = await observed.stored(status.ticks)
    assert stored == sorted(set(stored))


async def test_workers_that_had_no_version_hand_their_loops_to_one_that_has(
    client: Client, new: WorkerSettings
) -> None:
    observed = Observed(client, a_cluster())
    async with observed.worker():
        await observed.start()
        before = await observed.ticks(2)
    async with observed.worker(new):
        await make_current(client, new)
        await observed.ticks(before.ticks + 2)
        assert await version_of(observed) == "1.1.0"


async def test_a_release_without_a_worker_is_refused_in_one_line(client: Client, old: WorkerSettings) -> None:
    with pytest.raises(StartError, match=r"release 1\.0\.0 of copilot-.* does a `copilot worker` of it run\?") as error:
        await make_current(client, old, patience_sec=1)
    assert "\n" not in str(error.value)


async def test_without_a_deployment_nothing_is_handed_over(client: Client) -> None:
    await make_current(client, WorkerSettings(), patience_sec=0)
