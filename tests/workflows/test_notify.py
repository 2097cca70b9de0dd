"""People are told of a cluster once, on a real Temporal server and over real HTTP."""

import json

import pytest
from temporalio.client import WorkflowHandle

from copilot.loops import seen
from copilot.settings import Settings, TemporalSettings, WatchedTemporal
from copilot.starter import start_loops
from copilot.workflows.shared import observe_id
from tests.notify.standin import OK, standing_in
from tests.workflows.conftest import Observed, eventually
from tests.workflows.notified import SECRET, Notified, a_channel, hooked

pytestmark = pytest.mark.servers
DOWN = (503, {}, b"")


async def payloads(*loops: WorkflowHandle[object, object]) -> str:
    return "".join(json.dumps(json.loads((await loop.fetch_history()).to_json())) for loop in loops)


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
            (hung, arrived) = it.posted
            assert hung.headers["copilot-event-id"] == arrived.headers["copilot-event-id"]
            assert arrived.json["health_state"] == "stressed"
            history = await payloads(cluster.loop, cluster.notifier)
            await cluster.loop.terminate()
            await cluster.notifier.terminate()
            assert (await cluster.start()).outcome == "resumed"
            assert (await cluster.notify()).outcome == "resumed"
            assert (await cluster.quiet()).sent >= 1
            ids = [posted.headers["copilot-event-id"] for posted in it.posted[1:]]
            assert len(ids) == len(set(ids))
            assert [posted.json["health_state"] for posted in it.posted].count("stressed") == 2
            history += await payloads(cluster.loop, cluster.notifier)
    assert SECRET not in history
    assert it.url not in history


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


async def _arrived(it: object, times: int) -> bool | None:
    return True if len(it.posted) >= times else None  # type: ignore[attr-defined]


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
