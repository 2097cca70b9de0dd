"""NotifyWorkflow: sends the notifications of one cluster.

The observing loop signals each change and does not wait. An activity plans what is due from what each channel was sent;
each channel has a task of its own, so one that is down delays no other. A failed attempt is repeated when a later plan
says so, and a notification that is out of date by then is not sent.
"""

import asyncio

from temporalio import workflow

from copilot.loops import calls
from copilot.loops import definitions as d
from copilot.loops import messages as m
from copilot.loops.loop import Loop

MOST_EVALUATIONS = 50
FIRST_LOOKS_SEC = 30.0
"""Between plans until there is a first verdict."""


@workflow.defn(name=d.NOTIFY)
class NotifyWorkflow(Loop[d.NotifyState]):
    """The loop. Ends only when it is cancelled."""

    @workflow.init
    def __init__(self, given: d.NotifyInput) -> None:
        super().__init__(given, given.state or d.NotifyState())
        self._changed = True
        self._plan_again_at: float | None = None
        self._sending: dict[str, asyncio.Task[None]] = {}

    @workflow.run
    async def run(self, given: d.NotifyInput) -> None:  # noqa: ARG002
        state = self._state
        while not self._run_ends():
            if not self._changed or (state.newest is None and not state.evaluations):
                # A notification gets the newest words, and a lost signal is made up for.
                now = m.ClusterNow(cluster=self._cluster, now=int(workflow.time()))
                live = await self._try(calls.get_live_verdict, now)
                if live is not None and live.words:
                    self.verdict_changed(live.words)
            self._changed = False
            await self._plan()
            await self._wait_until(self._next_plan(workflow.time()), lambda: self._changed or self._run_ends())
        await workflow.wait_condition(lambda: not self._sending)
        self._continue_as_new(self._memo())

    @workflow.signal(name=d.VERDICT_CHANGED)
    def verdict_changed(self, evaluation: m.Document) -> None:
        """The state has changed, with this evaluation."""
        if "time" not in evaluation:
            return  # From a release that gave no words: the next look asks for them.
        state = self._state
        if state.newest is None or m.tick_of(evaluation) >= m.tick_of(state.newest):
            state.newest = evaluation
        state.evaluations = [*state.evaluations, evaluation][-MOST_EVALUATIONS:]
        self._changed = True

    def _next_plan(self, now: float) -> float:
        at_most = now + (FIRST_LOOKS_SEC if self._state.situation is None else self._definition.interval_sec)
        return at_most if self._plan_again_at is None else min(at_most, max(now, self._plan_again_at) + 0.01)

    async def _plan(self) -> None:
        state = self._state
        self._cycles_left -= 1
        state.cycles += 1
        evaluations, state.evaluations = state.evaluations, []
        given = m.PlanNotifications(
            cluster=self._cluster,
            now=workflow.time(),
            evaluations=evaluations,
            newest=state.newest,
            situation=state.situation,
            channels=state.channels,
            busy=sorted(self._sending),
        )
        plan = await self._try(calls.plan_notices, given)
        if plan is None:
            state.evaluations = [*evaluations, *state.evaluations]
            self._plan_again_at = None
            return
        state.situation = plan.situation
        state.channels |= plan.channels
        self._plan_again_at = plan.plan_again_at
        for planned in plan.due:
            self._sending[planned.channel] = asyncio.create_task(self._send(planned))
        if plan.channels:
            workflow.upsert_memo(self._memo())

    async def _send(self, planned: m.PlannedNotification) -> None:
        state, channel = self._state, planned.channel
        given = m.SendNotification(
            cluster=self._cluster, now=workflow.time(), planned=planned, channel_state=state.channels.get(channel)
        )
        try:
            sent = await self._try(calls.send_notice, given)
            if sent is not None:
                state.channels[channel] = sent.channel_state
                state.sent += not sent.problem
                workflow.upsert_memo(self._memo())
                if sent.problem:
                    self._record_error(sent.problem)
                elif not any(other.get("attempt") for name, other in state.channels.items() if name != channel):
                    self._succeeded()
        finally:
            del self._sending[channel]
            self._changed = True

    def _memo(self) -> m.Document:
        """Kept up to date, so that it can be read even if this loop is terminated."""
        kept = {"situation", "channels", "sent", "cycles", "runs"}
        return {d.CHANNELS_MEMO: self._state.model_dump(mode="json", include=kept)}
