"""ScheduledAssessmentWorkflow: a verdict is kept as an assessment every five minutes, though nothing changes.

So issues in the store are seen again or resolved while a state lasts. It judges nothing: it takes what the observing
loop says, and starts no assessment within the window of another one (property 10).
"""

import contextlib

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from copilot.activities.messages import CheckRecentAssessment, GetLiveVerdict, LiveVerdict
from copilot.workflows import calls
from copilot.workflows.assess import AssessHealthWorkflow
from copilot.workflows.schedule import due, newest, next_look
from copilot.workflows.shared import (
    SCHEDULED,
    AssessHealth,
    Definition,
    KnownSchedule,
    LastError,
    ScheduleAssessments,
    ScheduleStatus,
    assess_id,
    memo,
)
from copilot.workflows.storing import start_child, to_its_end

SINCE_EVER = 0


@workflow.defn(name=SCHEDULED)
class ScheduledAssessmentWorkflow:
    """The loop. Ends only when it is cancelled."""

    @workflow.init
    def __init__(self, given: ScheduleAssessments) -> None:
        self._cluster = given.cluster
        self._definition = given.definition
        self._known = given.known or KnownSchedule()
        self._left = self._definition.ticks_per_run
        self._redefined = False

    @workflow.run
    async def run(self, given: ScheduleAssessments) -> None:  # noqa: ARG002
        if self._known.since is None:
            self._known.since = int(workflow.info().workflow_start_time.timestamp())
        while not (self._redefined or self._run_is_long()):
            await self._look()
            newest_known = newest(self._known.assessed, self._known.since)
            wait = next_look(newest_known, workflow.time(), self._definition.interval_sec)
            with contextlib.suppress(TimeoutError):
                await workflow.wait_condition(lambda: self._redefined, timeout=wait)
        self._known.runs += 1
        workflow.continue_as_new(
            ScheduleAssessments(cluster=self._cluster, definition=self._definition, known=self._known),
            memo=memo(self._cluster, self._definition),
        )

    @workflow.query
    def last_error(self) -> LastError | None:
        """What last went wrong."""
        return self._known.last_error

    @workflow.query
    def status(self) -> ScheduleStatus:
        """How the loop itself is doing."""
        known = self._known
        return ScheduleStatus(definition=self._definition, **known.model_dump(exclude={"since"}))

    @workflow.signal
    def define(self, definition: Definition) -> None:
        """Carry on under another definition."""
        self._redefined = self._redefined or definition != self._definition
        self._definition = definition

    def _run_is_long(self) -> bool:
        return self._left <= 0 or workflow.info().is_continue_as_new_suggested()

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
        elif known.last_error is not None:
            known.last_error = known.last_error.model_copy(update={"over": True})
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

    def _went_wrong(self, error: ActivityError) -> None:
        if is_cancelled_exception(error):
            raise error
        self._remember(calls.in_one_line(error))

    def _remember(self, what: str) -> None:
        workflow.logger.warning("%s: %s", self._cluster, what)
        self._known.last_error = LastError(time=int(workflow.time()), what=what)
