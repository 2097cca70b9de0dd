"""The activities that read the live verdict and stored assessments, and the one that prunes the store."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from temporalio import activity
from whenever import Instant

from copilot.errors import SourceError
from copilot.loops import messages as m
from copilot.loops.activities.observe import words_of
from copilot.loops.live import LoopLive
from copilot.rules.model import Evaluation, HealthAssessment
from copilot.rules.staleness import age_sec, stale_after_sec
from copilot.store.base import Store

log = logging.getLogger(__name__)
DAY_SEC = 86_400.0


@dataclass(frozen=True)
class ScheduleActivities:
    """Reads the observing loop and the store."""

    store: Store
    live: LoopLive

    @activity.defn
    async def get_live_verdict(self, ask: m.ClusterNow) -> m.LiveVerdict:
        """The observing loop's newest evaluation. The loop alone knows of assessments that are not stored yet: without
        its answer the result has no evaluation."""
        try:
            newest = await self.live.evaluation(ask.cluster)
            assessed = (await self.live.status(ask.cluster)).assessed
        except SourceError as error:
            return m.LiveVerdict(unavailable=str(error))
        if newest is None:
            return m.LiveVerdict(assessed=assessed)
        age = age_sec(newest, Instant.from_timestamp(ask.now))
        return m.LiveVerdict(
            evaluation=newest.model_dump(mode="json", include=set(Evaluation.model_fields)),
            words=words_of(newest),
            time=newest.time.timestamp(),
            stale=age > stale_after_sec(newest.interval_sec),
            assessed=assessed,
        )

    @activity.defn
    async def check_recent_assessment(self, ask: m.CheckRecentAssessment) -> m.RecentAssessment:
        """Whether the newest stored assessment, of any trigger, is later than a moment."""
        latest = await self.store.latest_assessment(ask.cluster)
        time = latest.time.timestamp() if latest else None
        return m.RecentAssessment(time=time if time is not None and time > ask.since else None)

    @activity.defn
    async def get_latest_assessment(self, cluster: str) -> HealthAssessment | None:
        """The newest assessment of a cluster. For workflows of others: ours do not call it."""
        return await self.store.latest_assessment(cluster)

    @activity.defn
    async def get_assessments_in_range(self, cluster: str, start: int, end: int, limit: int) -> list[HealthAssessment]:
        """The newest `limit` assessments from `start` to `end` (unix seconds), oldest first. Called as the above."""
        between = Instant.from_timestamp(start), Instant.from_timestamp(end)
        return list(await self.store.assessments_in_range(cluster, *between, limit))


@dataclass(frozen=True)
class PruneActivities:
    """Deletes what is older than `retention_days`, by the settings of this worker."""

    store: Store
    retention_days: float
    now: Callable[[], Instant] = Instant.now

    @activity.defn
    async def prune_store(self, ask: m.ClusterNow) -> m.StorePruned:
        """Delete in the store's small transactions, with a heartbeat after each; a retry goes on from there. A row is
        deleted when it is old by both clocks, the loop's and this machine's: a wrong one alone deletes nothing."""
        now = min(Instant.from_timestamp(ask.now), self.now())
        before = now.subtract(seconds=self.retention_days * DAY_SEC)
        deleted = 0

        def count(_: str, rows: int) -> None:
            nonlocal deleted
            deleted += rows
            activity.heartbeat(deleted)

        await self.store.prune(before, on_deleted=count, cluster=ask.cluster)
        if deleted:
            log.info(
                "%s: deleted %d rows from before %s",
                *(ask.cluster, deleted, before.format_iso()),
                extra={"event": "store.pruned", "rows": deleted},
            )
        return m.StorePruned(deleted=deleted, before=before.timestamp())
