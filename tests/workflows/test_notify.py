"""Notifications are sent once, on a real Temporal server and over real HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from copilot.loops.definitions import observe_id
from copilot.loops.live import loop_reports
from copilot.loops.starter import INSPECTING, NOTIFYING, start_loops
from tests.notify.standin import OK, Answer, StandIn, standing_in
from tests.workflows.conftest import SECRET, Observed, a_channel, eventually, watched

pytestmark = pytest.mark.servers
DOWN: Answer = (503, {}, b"")


@asynccontextmanager
async def hooked(observed: Observed, *answers: Answer | None) -> AsyncIterator[StandIn]:
    """The cluster gets one webhook, which this stand-in serves."""
    async with standing_in(*answers) as it:
        observed.channels = [a_channel("hook", it.url)]
        yield it


async def sent(observed: Observed, at_least: int) -> None:
    await observed.until(lambda status: status.sent >= at_least, NOTIFYING)


async def recorded(*loops: WorkflowHandle[Any, Any]) -> bytes:
    """All that the last runs' histories hold."""
    histories = [await loop.fetch_history() for loop in loops]
    return b"".join(event.SerializeToString() for history in histories for event in history.events)


async def test_a_change_is_sent_once_though_the_worker_dies_over_it_and_both_loops_restart(observed: Observed) -> None:
    notifier = observed.other(NOTIFYING)
    async with hooked(observed, None, OK) as it:
        async with observed.worker():
            await observed.start()
            await observed.start(NOTIFYING)
            await observed.cycles(1)
            observed.frontend(answers=False)
            await it.reached.wait()  # the first attempt hangs when the worker stops
        async with observed.worker():
            await sent(observed, 1)
            hung, arrived, *_ = it.posted
            assert hung.headers["copilot-event-id"] == arrived.headers["copilot-event-id"]
            assert arrived.json["health_state"] == "stressed"
            await sent(observed, 2)  # critical: nothing more is under way
            history = await recorded(observed.loop, notifier)
            await observed.loop.terminate()
            await notifier.terminate()
            assert (await observed.start()).outcome == "resumed"
            assert (await observed.start(NOTIFYING)).outcome == "resumed"
            await observed.cycles((await observed.status(NOTIFYING)).cycles + 1, NOTIFYING)
            await observed.cycles(6)
            assert [posted.json["health_state"] for posted in it.posted] == ["stressed", "stressed", "critical"]
            observed.frontend(answers=True)
            await sent(observed, 3)
            assert it.posted[-1].json["incident_id"] == hung.json["incident_id"]
            history += await recorded(observed.loop, notifier)
    assert b"is STRESSED" in history
    assert SECRET.encode() not in history
    assert it.url.encode() not in history


async def test_a_channel_that_fails_delays_no_other_and_no_verdict_and_is_reported(observed: Observed) -> None:
    async with standing_in(OK) as well, standing_in(DOWN, DOWN, OK) as ill:
        observed.channels = [a_channel("well", well.url), a_channel("ill", ill.url)]
        observed.frontend(answers=False)
        async with observed.worker():
            await observed.start()
            await observed.start(NOTIFYING)
            await sent(observed, 1)
            before = await observed.cycles(2)

            async def problem() -> str | None:
                return (await loop_reports(observed.settings()))[-1].problem or None

            async def delivered() -> bool | None:
                return True if len(ill.posted) >= 3 else None

            assert "channel ill: answered 503" in await eventually(problem)
            await observed.cycles(before.cycles + 1)
            await eventually(delivered)
            assert ill.posted[0].json["health_state"] in ("stressed", "critical")
    assert len({p.headers["copilot-event-id"] for p in well.posted}) == len(well.posted)


async def test_running_loops_notify_once_there_is_a_channel_and_the_loops_are_started_again(observed: Observed) -> None:
    name = observed.cluster.name
    cluster = watched(name).model_copy(update={"interval_sec": 2.0})
    async with hooked(observed) as it, observed.worker():
        without = observed.settings(cluster).model_copy(update={"notify": ()})
        assert [loop.outcome for loop in await start_loops(without)] == ["started"] * 4
        await observed.cycles(1)
        again = {loop.workflow_id: loop.outcome for loop in await start_loops(observed.settings(cluster))}
        assert again[observe_id(name)] == "redefined"
        assert again[NOTIFYING.workflow_id(name)] == "started"
        observed.frontend(answers=False)
        await sent(observed, 1)
        running = {loop.workflow_id: loop.outcome for loop in await start_loops(observed.settings(cluster))}
        running.pop(INSPECTING.workflow_id(name))  # This worker reads no executions: the loop ends by itself.
        assert set(running.values()) == {"running"}
        for loop in again:
            await observed.client.get_workflow_handle(loop).terminate()
    assert it.posted[0].json["health_state"] == "stressed"
