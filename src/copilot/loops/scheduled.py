"""ScheduledAssessmentWorkflow: a verdict is kept as an assessment every five minutes, though nothing changes.

So issues in the store are seen again or resolved while a state lasts. It judges nothing: it takes what the observing
loop says, and starts no assessment within the window of another one (property 10).
"""

import contextlib

from temporalio import workflow
from temporalio.exceptions import ActivityError

from copilot.loops import calls
from copilot.loops.assess import AssessHealthWorkflow
from copilot.loops.definitions import (
    SCHEDULED,
    AssessHealth,
    KnownSchedule,
    ScheduleAssessments,
    ScheduleStatus,
    assess_id,
)
from copilot.loops.loop import Loop, due, newest, next_look
from copilot.loops.messages import CheckRecentAssessment, GetLiveVerdict, LiveVerdict
from copilot.loops.storing import start_child, to_its_end

SINCE_EVER = 0


@workflow.defn(name=SCHEDULED)
class ScheduledAssessmentWorkflow(Loop[KnownSchedule]):
    """The loop. Ends only when it is cancelled."""

    @workflow.init
    def __init__(self, given: ScheduleAssessments) -> None:
        super().__init__(given.cluster, given.definition, given.known or KnownSchedule())

    @workflow.run
    async def run(self, given: ScheduleAssessments) -> None:  # noqa: ARG002
        if self._known.since is None:
            self._known.since = int(workflow.info().workflow_start_time.timestamp())
        while not self._to_leave():
            await self._look()
            newest_known = newest(self._known.assessed, self._known.since)
            wait = next_look(newest_known, workflow.time(), self._definition.interval_sec)
            with contextlib.suppress(TimeoutError):
                await workflow.wait_condition(lambda: self._redefined, timeout=wait)
        self._begin_anew(ScheduleAssessments)

    @workflow.query
    def status(self) -> ScheduleStatus:
        """How the loop itself is doing."""
        known = self._known
        return ScheduleStatus(definition=self._definition, **known.model_dump(exclude={"since"}))

    async def _look(self) -> None:
        known = self._known
        self._left -= 1
        known.looks += 1
        try:
            said = await calls.get_live_verdict(GetLiveVerdict(cluster=self._cluster, now=int(workflow.time())))
        except ActivityError as error:
            self._went_wrong(error)
            return
        if said.silent_because:
            self._remember(said.silent_because)
        else:
            self._all_is_well()
        known.assessed = newest(known.assessed, said.assessed)
        if said.time is not None and not said.stale:
            await self._assess_if_due(said, said.time)

    async def _assess_if_due(self, said: LiveVerdict, evaluated: int) -> None:
        known, window = self._known, self._definition.interval_sec
        try:
            since = CheckRecentAssessment(cluster=self._cluster, since=int(evaluated - window))
            known.assessed = newest(known.assessed, (await calls.check_recent_assessment(since)).time)
            known.since = SINCE_EVER
        except ActivityError as error:
            self._went_wrong(error)
        if said.evaluation is None or not due(evaluated, newest(known.assessed, known.since), window):
            return
        known.assessed = evaluated
        known.made += 1
        given = AssessHealth(cluster=self._cluster, evaluation=said.evaluation, trigger="scheduled")
        mine = assess_id(self._cluster, evaluated, "scheduled")
        await to_its_end(start_child(AssessHealthWorkflow.run, given, mine))
