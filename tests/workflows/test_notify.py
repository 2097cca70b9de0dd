"""People are told of a cluster once, on a real Temporal server and over real HTTP."""

from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from copilot.loops.definitions import observe_id
from copilot.loops.starter import start_loops
from copilot.loops.status import seen
from copilot.settings.load import Settings, TemporalSettings, WatchedTemporal
from tests.notify.standin import OK, Answer, StandIn, standing_in
from tests.workflows.conftest import Observed, eventually
from tests.workflows.notified import SECRET, Notified, a_channel, hooked

pytestmark = pytest.mark.servers
DOWN: Answer = (503, {}, b"")


async def recorded(*loops: WorkflowHandle[Any, Any]) -> bytes:
    """All that the last runs' histories hold."""
    histories = [await loop.fetch_history() for loop in loops]
    return b"".join(event.SerializeToString() for history in histories for event in history.events)


async def test_a_change_is_told_once_though_the_worker_is_gone_over_it_and_both_loops_begin_anew(
    observed: Observed,
) -> None:
    async with hooked(observed, None, OK) as (cluster, it):
        async with cluster.worker():
            await cluster.start()
            await cluster.notify()
            await cluster.ticks(1)
            cluster.frontend(answers=False)
            await it.reached.wait()  # the first attempt hangs when the worker goes
        async with cluster.worker():
            await cluster.sent(1)
            hung, arrived, *_ = it.posted
            assert hung.headers["copilot-event-id"] == arrived.headers["copilot-event-id"]
            assert arrived.json["health_state"] == "stressed"
            await cluster.sent(2)  # critical: nothing more is under way
            history = await recorded(cluster.loop, cluster.notifier)
            await cluster.loop.terminate()
            await cluster.notifier.terminate()
            assert (await cluster.start()).outcome == "resumed"
            assert (await cluster.notify()).outcome == "resumed"
            await cluster.quiet()
            await cluster.ticks(6)
            assert [posted.json["health_state"] for posted in it.posted] == ["stressed", "stressed", "critical"]
            cluster.frontend(answers=True)
            await cluster.sent(3)
            assert it.posted[-1].json["incident_id"] == hung.json["incident_id"]
            history += await recorded(cluster.loop, cluster.notifier)
    assert b"is STRESSED" in history
    assert SECRET.encode() not in history
    assert it.url.encode() not in history


async def test_a_channel_that_fails_hurts_no_other_and_no_verdict_and_is_said(observed: Observed) -> None:
    async with standing_in(OK) as well, standing_in(DOWN, DOWN, OK) as ill:
        channels = [a_channel("well", well.url), a_channel("ill", ill.url)]
        cluster = Notified(observed.client, observed.cluster, channels=channels)
        cluster.frontend(answers=False)
        async with cluster.worker():
            await cluster.start()
            await cluster.notify()
            status = await cluster.sent(1)
            before = await cluster.ticks(2)
            settings = Settings(
                temporal=TemporalSettings(address=observed.client.service_client.config.target_host),
                task_queue=cluster.queue,
                clusters=(cluster.cluster.model_copy(update={"interval_sec": 2.0}),),
                notify=tuple(channels),
            )

            async def complained() -> str | None:
                return (await seen(settings))[-1].problem or None

            assert "channel ill: answered 503" in await eventually(complained)
            assert status.last_error is None or "ill" in status.last_error.what
            await cluster.ticks(before.ticks + 1)
            await eventually(lambda: _arrived(ill, 3))
            states = [posted.json["health_state"] for posted in ill.posted]
            assert states[0] in ("stressed", "critical")
    assert len({p.headers["copilot-event-id"] for p in well.posted}) == len(well.posted)


async def _arrived(it: StandIn, times: int) -> bool | None:
    return True if len(it.posted) >= times else None


async def test_loops_that_run_tell_people_once_there_is_a_channel_and_the_loops_are_started_again(
    observed: Observed,
) -> None:
    address = observed.client.service_client.config.target_host
    watched = observed.cluster.model_copy(
        update={"interval_sec": 2.0, "temporal": WatchedTemporal(address="127.0.0.1:1")}
    )
    settings = Settings(temporal=TemporalSettings(address=address), task_queue=observed.queue, clusters=(watched,))
    async with standing_in() as it:
        cluster = Notified(observed.client, watched, channels=[a_channel("hook", it.url)])
        async with cluster.worker():
            first = await start_loops(settings)
            assert [loop.outcome for loop in first] == ["started"] * 3
            await cluster.ticks(1)
            told = settings.model_copy(update={"notify": tuple(cluster.channels)})
            again = {loop.workflow_id: loop.outcome for loop in await start_loops(told)}
            assert again[observe_id(watched.name)] == "redefined"
            assert again[cluster.notifier.id] == "started"
            cluster.frontend(answers=False)
            await cluster.sent(1)
            assert {loop.outcome for loop in await start_loops(told)} == {"running"}
            for loop in again:
                await observed.client.get_workflow_handle(loop).terminate()
    assert it.posted[0].json["health_state"] == "stressed"
