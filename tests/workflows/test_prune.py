"""The store is pruned once a day."""

from dataclasses import replace

import pytest
from temporalio.testing import ActivityEnvironment
from whenever import Instant

from copilot.loops.activities.schedule import PruneActivities
from copilot.loops.messages import ClusterNow
from copilot.loops.starter import PRUNING
from copilot.loops.storing import first_pause
from tests.evaluations import NOON, evaluation, snapshot
from tests.fakes.memory_store import MemoryStore
from tests.workflows.conftest import EVER, Observed

DAY = 86_400
OFTEN = replace(PRUNING, interval_sec=lambda _: 1)


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
    done = await env.run(prune, ClusterNow(cluster="default", now=days(NOON, loop).timestamp()))
    assert len(await store.timeline("default", *EVER, 100)) == kept
    assert done.deleted == 10 - kept
    assert beats == ([(10 - kept,)] if done.deleted else [])


@pytest.mark.servers
async def test_a_cluster_is_pruned_day_by_day_and_a_store_that_is_down_is_tried_the_next_day(
    observed: Observed,
) -> None:
    name, now = observed.cluster.name, Instant.now()
    aged = [days(now, -8), days(now, -7.5), days(now, -6)]
    for cluster in (name, "another"):
        await observed.store.save_snapshots([snapshot(evaluation(time=t, cluster=cluster)) for t in aged])
    observed.store.away = True
    async with observed.worker():
        assert (await observed.start(OFTEN, ticks_per_run=2)).outcome == "started"
        assert "the state store is away" in await observed.failure(OFTEN)
        observed.store.away = False
        status = await observed.cycles(3, OFTEN)
        assert (await observed.start(OFTEN, ticks_per_run=2)).outcome == "running"
    assert (status.deleted, status.runs >= 2) == (2, True)
    assert status.last_error is not None
    assert status.last_error.over
    assert len(await observed.store.timeline(name, *EVER, 100)) == 1
    assert len(await observed.store.timeline("another", *EVER, 100)) == 3
