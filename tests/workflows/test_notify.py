"""Notifications are sent once, on a real Temporal server and over real HTTP."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHandle
from whenever import Instant

from copilot.api.deps import Deps
from copilot.loops.definitions import observe_id
from copilot.loops.live import LoopLive, loop_reports
from copilot.loops.starter import INSPECTING, NOTIFYING, start_loops
from copilot.store.postgres import PostgresStore
from tests.api import conftest as api_of
from tests.notify.standin import OK, Answer, StandIn, standing_in
from tests.notify.test_alertmanager import active, alertmanager, pushes_to
from tests.store.conftest import database, postgres
from tests.workflows.conftest import SECRET, Observed, a_channel, eventually, watched

__all__ = ["database", "postgres"]
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


@pytest.mark.needs_debian("prometheus-alertmanager")
async def test_an_incident_is_acknowledged_silenced_breaks_the_silence_and_recovers(
    observed: Observed, database: str, tmp_path: Path
) -> None:
    name, observed.look_again_sec = observed.cluster.name, 1.0
    store = observed.database = PostgresStore(database)
    await store.setup_schema()
    deps = Deps(store=store, live=LoopLive(observed.client), clusters=(name,), now=Instant.now)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        hook, receiver = [await stack.enter_async_context(standing_in()) for _ in range(2)]
        alerts = await stack.enter_async_context(alertmanager(tmp_path, receiver))
        observed.channels = [a_channel("hook", hook.url), pushes_to(str(alerts.base_url))]
        await stack.enter_async_context(observed.worker())
        api = await stack.enter_async_context(api_of.client(deps))

        def told() -> list[tuple[str, str]]:
            return [(posted.json["kind"], posted.json["health_state"]) for posted in hook.posted]

        async def firing(*severities: str) -> bool | None:
            return [a["labels"]["severity"] for a in await active(alerts, name)] == [*severities] or None

        async def made(path: str, **given: str) -> dict[str, Any]:
            async def stored() -> dict[str, Any] | None:  # An incident is open once its first tick is stored.
                answer = await api.post(path, json={"reason": "known", **given})
                return dict(answer.json()) if answer.status_code == 201 else None

            return await eventually(stored)

        async def muted_by(kind: str | None) -> bool | None:
            found = (await api.get("/status")).json()["muted"]
            return (found and found["kind"]) == kind or None

        observed.source.changed = {"history__shard_churn_rate_per_sec": 50.0}
        await observed.start()
        await observed.start(NOTIFYING)
        await eventually(lambda: true_of(told() == [("firing", "stressed")]))
        await eventually(lambda: firing("warning"))
        incident = hook.posted[0].json["incident_id"]
        ack = await made("/acks", incident=incident)
        await eventually(lambda: muted_by("ack"))
        silence = await made("/silences", finding="shard_churn", end=Instant.now().add(hours=1).format_iso())
        await api.post(f"/silences/{ack['id']}/end")

        async def swallowed() -> list[tuple[str, str]] | None:
            listed = (await api.get("/silences")).json()["silences"]
            held = [(h["channel"], h["kind"]) for m in listed if m["id"] == silence["id"] for h in m["held_back"]]
            return held if ("hook", "repeat") in held else None

        await eventually(swallowed)
        assert told() == [("firing", "stressed")]
        await eventually(lambda: muted_by("silence"))

        observed.frontend(answers=False)
        await eventually(lambda: true_of(("worse", "critical") in told()))
        await eventually(lambda: firing("critical"))
        over = {m["id"]: m for m in (await api.get("/silences?all=true")).json()["silences"]}
        assert over[ack["id"]]["ended_because"].startswith("ended by")
        assert over[silence["id"]]["ended_because"].startswith("it got worse")

        observed.frontend(answers=True)
        await eventually(lambda: true_of(told()[-1] == ("resolved", "happy")))
        await eventually(firing)
        found = (await api.get(f"/incidents/{incident}")).json()
        assert (found["worst"], found["ended"] is None) == ("critical", False)


async def true_of(holds: bool) -> bool | None:
    return holds or None
