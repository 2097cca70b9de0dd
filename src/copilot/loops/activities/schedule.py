"""The activities of the scheduled assessments: what is said now, and what was assessed lately."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from temporalio import activity
from whenever import Instant

from copilot.errors import SourceError
from copilot.loops.activities.observe import words_of
from copilot.loops.messages import (
    AssessmentsInRange,
    CheckRecentAssessment,
    GetAssessmentsInRange,
    GetLatestAssessment,
    GetLiveVerdict,
    LatestAssessment,
    LiveVerdict,
    PruneStore,
    RecentAssessment,
    StorePruned,
)
from copilot.rules.model import Evaluation
from copilot.rules.staleness import age_sec, stale_after_sec
from copilot.store.base import Store


class LiveLoop(Protocol):
    """The observing loop, as it can be asked. SourceError when it cannot."""

    async def evaluation(self, cluster: str) -> Evaluation | None:
        """The newest evaluation; None before the first."""

    async def assessed(self, cluster: str) -> int | None:
        """When it last had an evaluation assessed (unix seconds)."""


@dataclass(frozen=True)
class ScheduleDeps:
    """What these activities work with."""

    store: Store
    live: LiveLoop


class ScheduleActivities:
    """Asks the observing loop and the store. All of it is idempotent reading."""

    def __init__(self, deps: ScheduleDeps) -> None:
        self._store = deps.store
        self._live = deps.live

    @activity.defn
    async def get_live_verdict(self, ask: GetLiveVerdict) -> LiveVerdict:
        """What the observer says now. It alone knows of assessments that are not stored yet: when it cannot be asked,
        nothing is said."""
        try:
            said = await self._live.evaluation(ask.cluster)
            assessed = await self._live.assessed(ask.cluster)
        except SourceError as error:
            return LiveVerdict(silent_because=str(error))
        if said is None:
            return LiveVerdict(assessed=assessed)
        age = age_sec(said, Instant.from_timestamp(ask.now))
        return LiveVerdict(
            evaluation=said.model_dump(mode="json", include=set(Evaluation.model_fields)),
            words=words_of(said),
            time=said.time.timestamp(),
            stale=age > stale_after_sec(said.interval_sec),
            assessed=assessed,
        )

    @activity.defn
    async def check_recent_assessment(self, ask: CheckRecentAssessment) -> RecentAssessment:
        """Whether the newest stored assessment, of whatever trigger, is later than a moment."""
        latest = await self._store.latest_assessment(ask.cluster)
        time = latest.time.timestamp() if latest else None
        return RecentAssessment(time=time if time is not None and time > ask.since else None)

    @activity.defn
    async def get_latest_assessment(self, ask: GetLatestAssessment) -> LatestAssessment:
        """The newest assessment of a cluster."""
        latest = await self._store.latest_assessment(ask.cluster)
        return LatestAssessment(assessment=latest.model_dump(mode="json") if latest else None)

    @activity.defn
    async def get_assessments_in_range(self, ask: GetAssessmentsInRange) -> AssessmentsInRange:
        """The assessments of a range, oldest first and bounded: an answer must fit a payload."""
        start, end = Instant.from_timestamp(ask.start), Instant.from_timestamp(ask.end)
        found = await self._store.assessments_in_range(ask.cluster, start, end, ask.limit)
        return AssessmentsInRange(assessments=[a.model_dump(mode="json") for a in found])


log = logging.getLogger(__name__)

DAY_SEC = 86_400.0


class PruneActivities:
    """Deletes what is older than `retention_days`, by the settings of this worker."""

    def __init__(self, store: Store, retention_days: float, now: Callable[[], Instant] = Instant.now) -> None:
        self._store = store
        self._retention_sec = retention_days * DAY_SEC
        self._now = now

    @activity.defn
    async def prune_store(self, ask: PruneStore) -> StorePruned:
        """Delete in the store's own small transactions, with a heartbeat after each; begun again it goes on. Both
        clocks, the loop's and this machine's, must say that a row is old: a wrong one alone deletes nothing."""
        now = min(Instant.from_timestamp(ask.now), self._now())
        before = now.subtract(seconds=self._retention_sec)
        deleted = 0

        def told(_: str, rows: int) -> None:
            nonlocal deleted
            deleted += rows
            activity.heartbeat(deleted)

        await self._store.prune(before, told=told, cluster=ask.cluster)
        if deleted:
            log.info("%s: %d rows from before %s are deleted", ask.cluster, deleted, before.format_iso())
        return StorePruned(deleted=deleted, before=before.timestamp())
