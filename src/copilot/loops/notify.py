"""NotifyWorkflow: the loop that has people told of one cluster.

The observing loop tells it of each change and does not wait for it. What is to be told is decided in an activity, from
what each channel was told last; each channel is told by itself, so that one which is away hurts no other. An attempt
that fails is made again when the next plan says so: a message that is out of date by then is not sent.
"""

import asyncio
import contextlib

from temporalio import workflow
from temporalio.exceptions import ActivityError

from copilot.loops import calls
from copilot.loops.definitions import NOTIFY, TOLD_MEMO, VERDICT_CHANGED, KnownNotices, Notify, NotifyStatus
from copilot.loops.loop import Loop
from copilot.loops.messages import Document, GetLiveVerdict, Planned, PlanNotices, SendNotice

MOST_UNSEEN = 50
# Between looks until there is a first verdict.
FIRST_LOOKS_SEC = 30.0


@workflow.defn(name=NOTIFY)
class NotifyWorkflow(Loop[KnownNotices]):
    """The loop. Ends only when it is cancelled."""

    @workflow.init
    def __init__(self, given: Notify) -> None:
        super().__init__(given.cluster, given.definition, given.known or KnownNotices())
        self._changed = True
        self._look_at: float | None = None
        self._telling: dict[str, asyncio.Task[None]] = {}

    @workflow.run
    async def run(self, given: Notify) -> None:  # noqa: ARG002
        while not self._to_leave():
            if not self._changed or (self._known.newest is None and not self._known.unseen):
                await self._ask_the_observer()
            self._changed = False
            await self._plan()
            with contextlib.suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self._changed or self._to_leave(), timeout=self._seconds_to_next()
                )
        await workflow.wait_condition(lambda: not self._telling)
        self._begin_anew(Notify, {TOLD_MEMO: self._memo()})

    @workflow.query
    def status(self) -> NotifyStatus:
        """How the loop itself is doing."""
        known = self._known
        return NotifyStatus(
            definition=self._definition,
            looks=known.plans,
            sent=known.sent,
            runs=known.runs,
            last_error=known.last_error,
        )

    @workflow.signal(name=VERDICT_CHANGED)
    def verdict_changed(self, evaluation: Document) -> None:
        """The observing loop says something else than before."""
        self._hear(evaluation)

    def _hear(self, evaluation: Document) -> None:
        known = self._known
        if known.newest is None or evaluation["time"] >= known.newest["time"]:
            known.newest = evaluation
        known.unseen = [*known.unseen, evaluation][-MOST_UNSEEN:]
        self._changed = True

    def _seconds_to_next(self) -> float:
        longest = self._definition.interval_sec if self._known.seen is not None else FIRST_LOOKS_SEC
        return longest if self._look_at is None else min(longest, max(0.0, self._look_at - workflow.time()) + 0.01)

    async def _ask_the_observer(self) -> None:
        """What it says now: the words a message begun now should have, and what it could not tell us."""
        try:
            said = await calls.get_live_verdict(GetLiveVerdict(cluster=self._cluster, now=int(workflow.time())))
        except ActivityError as error:
            self._went_wrong(error)
            return
        if said.words:
            self._hear(said.words)

    async def _plan(self) -> None:
        known = self._known
        self._left -= 1
        known.plans += 1
        unseen, known.unseen = known.unseen, []
        ask = PlanNotices(
            cluster=self._cluster,
            now=workflow.time(),
            unseen=unseen,
            newest=known.newest,
            seen=known.seen,
            told=known.told,
            busy=sorted(self._telling),
        )
        try:
            plan = await calls.plan_notices(ask)
        except ActivityError as error:
            known.unseen = [*unseen, *known.unseen]
            self._went_wrong(error)
            self._look_at = None
            return
        known.seen = plan.seen
        known.told |= plan.told
        self._look_at = plan.look_at
        for send in plan.sends:
            self._telling[send.channel] = asyncio.create_task(self._tell(send))
        if plan.told:
            self._remember_told()

    async def _tell(self, send: Planned) -> None:
        known, channel = self._known, send.channel
        try:
            sent = await calls.send_notice(
                SendNotice(cluster=self._cluster, now=workflow.time(), send=send, told=known.told.get(channel))
            )
        except ActivityError as error:
            self._went_wrong(error)
        else:
            known.told[channel] = sent.told
            known.sent += not sent.problem
            self._remember_told()
            if sent.problem:
                self._remember(sent.problem)
            elif not self._others_fail(channel):
                self._all_is_well()
        finally:
            del self._telling[channel]
            self._changed = True

    def _others_fail(self, channel: str) -> bool:
        return any(told.get("attempt") for name, told in self._known.told.items() if name != channel)

    def _memo(self) -> Document:
        return self._known.model_dump(mode="json", include={"seen", "told", "sent", "plans", "runs"})

    def _remember_told(self) -> None:
        """Where it can be found though this loop is terminated."""
        workflow.upsert_memo({TOLD_MEMO: self._memo()})
