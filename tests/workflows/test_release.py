"""A new release takes over the running loops, on a real Temporal server."""

import uuid

import pytest
from temporalio.client import Client

from copilot.errors import StartError
from copilot.loops.live import loop_reports
from copilot.loops.loop import next_tick, offset_of
from copilot.loops.starter import make_current
from copilot.loops.worker import UNVERSIONED
from copilot.settings.load import WorkerSettings
from tests.workflows.conftest import Observed, a_cluster, in_order

pytestmark = pytest.mark.servers


@pytest.fixture
def old() -> WorkerSettings:
    """A release of a deployment of the test's own."""
    return WorkerSettings(deployment=f"copilot-{uuid.uuid4().hex[:8]}", build_id="1.0.0")


@pytest.fixture
def new(old: WorkerSettings) -> WorkerSettings:
    return old.model_copy(update={"build_id": "1.1.0"})


async def version_of(observed: Observed) -> str:
    return (await loop_reports(observed.settings()))[0].release


@pytest.mark.alone
async def test_a_new_release_takes_over_a_running_loop_and_no_tick_is_lost(
    client: Client, old: WorkerSettings, new: WorkerSettings
) -> None:
    """Ticks lie a whole number of intervals apart; one that comes late has its own second, before the next is due."""
    every = 8
    observed = Observed(client, a_cluster(interval_sec=float(every)))
    async with observed.worker(old):
        await make_current(client, old)
        await observed.start()
        await observed.cycles(1)
        assert await version_of(observed) == "1.0.0"
        async with observed.worker(new):
            await make_current(client, new)
            await make_current(client, new)
            status = await observed.cycles((await observed.status()).cycles + 2)
            assert await version_of(observed) == "1.1.0"
            assert status.runs == 1
            stored = await observed.stored(status.cycles)
    ticks = [int(i.rpartition(":")[2]) for i in stored]
    offset = offset_of(observed.cluster.name, every)
    planned = range(next_tick(ticks[0], ticks[0], every, offset=offset), ticks[-1] + 1, every)
    assert [p for p in planned if not any(p <= tick < p + every for tick in ticks)] == []


@pytest.mark.parametrize("versioned", [True, False])
async def test_a_loop_waits_for_its_new_release_and_goes_on_under_it(
    observed: Observed, old: WorkerSettings, new: WorkerSettings, versioned: bool
) -> None:
    """The old release, or the workers without a version, are gone before the new one is there."""
    async with observed.worker(old if versioned else UNVERSIONED):
        await make_current(observed.client, old if versioned else UNVERSIONED)
        await observed.start()
        before = await observed.cycles(2)
    async with observed.worker(new):
        await make_current(observed.client, new)
        status = await observed.cycles(before.cycles + 2)
        assert await version_of(observed) == "1.1.0"
        assert in_order(await observed.stored(status.cycles))


async def test_a_release_without_a_worker_is_refused_in_one_line(client: Client, old: WorkerSettings) -> None:
    with pytest.raises(StartError, match=r"release 1\.0\.0 of copilot-.* does a `copilot worker` of it run\?") as error:
        await make_current(client, old, patience_sec=1)
    assert "\n" not in str(error.value)
