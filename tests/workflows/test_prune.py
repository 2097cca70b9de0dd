"""The store is pruned once a day."""

from dataclasses import replace

import pytest
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment
from whenever import Instant

from copilot.loops.activities.schedule import PruneActivities
from copilot.loops.definitions import Definition, PruningStatus, prune_id
from copilot.loops.messages import PruneStore
from copilot.loops.prune import PruneStoreWorkflow, first_pause
from copilot.loops.starter import PRUNING, Loop, start_loop
from tests.evaluations import NOON, evaluation, snapshot
from tests.fakes.memory_store import MemoryStore
from tests.workflows.conftest import EVER, Observed, a_cluster, eventually

DAY = 86_400
OFTEN: Loop = replace(PRUNING, definition=lambda _: Definition(interval_sec=1, ticks_per_run=2))


def days(time: Instant, number: float) -> Instant:
    return time.add(seconds=number * DAY)


async def test_a_day_has_one_pruning_and_clusters_started_together_have_it_at_different_times() -> None:
    pauses = [first_pause(f"c{n}", DAY) for n in range(50)]
    assert all(1800 <= pause <= 3600 for pause in pauses)
    assert len({round(pause / 60) for pause in pauses}) > 15


@pytest.mark.parametrize(
    ("loop", "machine", "kept"),
    [
        pytest.param(10, 10, 7, id="both clocks agree"),
        pytest.param(4000, 10, 7, id="the loop's clock is years ahead"),
        pytest.param(10, 4000, 7, id="the machine's clock is years ahead"),
        pytest.param(10, 2, 10, id="the machine's clock is behind"),
    ],
)
async def test_what_both_clocks_call_older_than_the_retention_is_deleted(loop: int, machine: int, kept: int) -> None:
    store, env, beats = MemoryStore(), ActivityEnvironment(), []
    env.on_heartbeat = lambda *details: beats.append(details)
    await store.save_snapshots([snapshot(evaluation(time=days(NOON, n))) for n in range(10)])
    prune = PruneActivities(store, 7, now=lambda: days(NOON, machine)).prune_store
    done = await env.run(prune, PruneStore(cluster="default", now=days(NOON, loop).timestamp()))
    assert len(await store.timeline("default", *EVER, 100)) == kept
    assert done.deleted == 10 - kept
    assert beats == ([(10 - kept,)] if done.deleted else [])


@pytest.mark.servers
async def test_a_cluster_is_pruned_day_by_day_and_a_store_that_is_away_is_tried_the_next_day(client: Client) -> None:
    observed = Observed(client, a_cluster())
    name, now = observed.cluster.name, Instant.now()
    aged = [days(now, -8), days(now, -7.5), days(now, -6)]
    await observed.store.save_snapshots([snapshot(evaluation(time=t, cluster=name)) for t in aged])
    await observed.store.save_snapshots([snapshot(evaluation(time=t, cluster="another")) for t in aged])
    loop = client.get_workflow_handle(prune_id(name))

    async def pruned(times: int) -> PruningStatus:
        async def often_enough() -> PruningStatus | None:
            status = await loop.query(PruneStoreWorkflow.status)
            return status if status.prunings >= times else None

        return await eventually(often_enough)

    async def failed() -> str | None:
        error = await loop.query(PruneStoreWorkflow.last_error)
        return error.what if error and not error.over else None

    observed.store.away = True
    async with observed.worker():
        assert (await start_loop(client, observed.queue, observed.cluster, OFTEN)).outcome == "started"
        assert "the state store is away" in await eventually(failed)
        observed.store.away = False
        status = await pruned(3)
        assert (await start_loop(client, observed.queue, observed.cluster, OFTEN)).outcome == "running"
    assert (status.deleted, status.runs >= 2) == (2, True)
    assert status.last_error is not None
    assert status.last_error.over
    assert len(await observed.store.timeline(name, *EVER, 100)) == 1
    assert len(await observed.store.timeline("another", *EVER, 100)) == 3
