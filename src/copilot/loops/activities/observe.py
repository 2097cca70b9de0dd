"""What the worker counts of its own work, on the meter of its Temporal runtime."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from pydantic import ValidationError
from temporalio import activity
from temporalio.common import MetricMeter
from whenever import Instant

from copilot import pipeline
from copilot.errors import SettingsError
from copilot.explain import explained
from copilot.loops.messages import (
    NEEDED,
    AssessmentStored,
    Document,
    EvaluateHealth,
    FetchSignals,
    HealthEvaluated,
    MemoryResumed,
    ResumeMemory,
    SignalsFetched,
    SnapshotsStored,
    StoreAssessment,
    StoreSnapshots,
)
from copilot.rules.evaluate import Context, evaluate
from copilot.rules.memory import Memory
from copilot.rules.model import Evaluation, HealthAssessment, Snapshot
from copilot.rules.signals.logs import LogsSeen, with_logs
from copilot.rules.signals.readings import Signals
from copilot.sources import Source
from copilot.store.base import Store


class Measures:
    """Counters of evaluations and of fetches. Without a meter nothing is counted."""

    def __init__(self, meter: MetricMeter = MetricMeter.noop) -> None:
        self._evaluations = meter.create_counter("copilot_evaluations", "Evaluations, by the state they came to")
        self._fetches = meter.create_counter("copilot_fetches", "Reads of a source")
        self._failed = meter.create_counter("copilot_failed_fetches", "Reads of a source that gave not one reading")

    def evaluated(self, cluster: str, state: str) -> None:
        """One evaluation more."""
        self._evaluations.add(1, {"cluster": cluster, "state": state})

    def fetched(self, cluster: str, parts: Mapping[str, Signals]) -> None:
        """What each source gave, by its name."""
        for source, signals in parts.items():
            where = {"cluster": cluster, "source": source}
            self._fetches.add(1, where)
            self._failed.add(int(_empty(signals)), where)


def _empty(signals: Signals) -> bool:
    return bool(signals.readings) and not any(
        signals.value(i) is not None or signals.quiet(i) for i in signals.readings
    )


T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ObserveDeps:
    """What the activities work with, per watched cluster by name. All of it lives as long as the worker."""

    sources: Mapping[str, Sequence[Source]]
    contexts: Mapping[str, Context]
    store: Store
    rules: pipeline.Rules = evaluate
    now: Callable[[], Instant] = Instant.now
    saved_thresholds: set[str] = field(default_factory=set)
    measures: Measures = field(default_factory=Measures)
    hide_addresses: bool = False


class ObserveActivities:
    """The observing loop's activities, over injected clients."""

    def __init__(self, deps: ObserveDeps) -> None:
        self._deps = deps

    @activity.defn
    async def fetch_signals(self, ask: FetchSignals) -> SignalsFetched:
        """Read all sources of a cluster now, by this machine's clock; the result bears the tick's time."""
        deps = self._deps
        sources = _of(ask.cluster, deps.sources)
        heard = partial(deps.measures.fetched, ask.cluster)
        signals = await pipeline.collect(
            sources, deps.now(), ask.deadline_sec, hide_addresses=deps.hide_addresses, heard=heard
        )
        dated = signals.model_copy(update={"time": Instant.from_timestamp(ask.tick)})
        return SignalsFetched(signals=dated.model_dump(mode="json"))

    @activity.defn
    async def evaluate_health(self, ask: EvaluateHealth) -> HealthEvaluated:
        """Judge a tick by the rules and thresholds of this worker."""
        context = _of(ask.cluster, self._deps.contexts)
        signals = Signals.model_validate(ask.signals) if ask.signals else self._blind(ask)
        signals = with_logs(signals, _logs(ask.logs), stale_sec=max(90.0, 3 * context.interval_sec))
        memory = _remembered(ask.memory)
        evaluation, after = self._deps.rules(signals, memory, context)
        kept = pipeline.snapshot(evaluation, memory, context)
        self._deps.measures.evaluated(ask.cluster, evaluation.verdict.health_state.value)
        return HealthEvaluated(
            evaluation=evaluation.model_dump(mode="json"),
            memory=after.model_dump(mode="json"),
            health_state=evaluation.verdict.health_state.value,
            words=words_of(evaluation),
            **kept.model_dump(include={"thresholds_hash", "taxonomy_version", "rules_version"}),
        )

    @activity.defn
    async def store_signals_snapshot(self, ask: StoreSnapshots) -> SnapshotsStored:
        """Keep snapshots; those kept already are left as they are."""
        snapshots = list(_readable(ask.snapshots))
        await self._keep_thresholds(ask.cluster, snapshots)
        stored = await self._deps.store.save_snapshots(snapshots)
        return SnapshotsStored(stored=stored, unreadable=len(ask.snapshots) - len(snapshots))

    @activity.defn
    async def store_health_assessment(self, ask: StoreAssessment) -> AssessmentStored:
        """Keep an assessment with its issues; one kept already is left as it is."""
        try:
            assessment = HealthAssessment.model_validate({**ask.evaluation, "trigger": ask.trigger})
        except ValidationError as error:
            log.warning("an assessment of another release does not fit and is left out: %s", error.errors()[0]["msg"])
            return AssessmentStored(new=False, unreadable=True)
        return AssessmentStored(new=await self._deps.store.save_assessment(assessment))

    @activity.defn
    async def resume_memory(self, ask: ResumeMemory) -> MemoryResumed:
        """What a loop that begins may take up from the newest stored tick."""
        context = _of(ask.cluster, self._deps.contexts)
        latest = await self._deps.store.latest_snapshot(ask.cluster)
        if latest is None:
            return MemoryResumed()
        tick = latest.evaluation.time.timestamp()
        after = pipeline.memory_after(self._deps.rules, latest, context, Instant.from_timestamp(ask.now))
        if after is None:
            return MemoryResumed(tick=tick)
        assessed = await self._deps.store.latest_assessment(ask.cluster)
        return MemoryResumed(
            memory=after.model_dump(mode="json"),
            evaluation=latest.evaluation.model_dump(mode="json"),
            health_state=assessed.verdict.health_state.value if assessed else None,
            tick=tick,
            assessed=assessed.time.timestamp() if assessed else None,
        )

    def _blind(self, ask: EvaluateHealth) -> Signals:
        expected = [i for source in _of(ask.cluster, self._deps.sources) for i in source.expected]
        return pipeline.blind(Instant.from_timestamp(ask.tick), expected, ask.why_blind)

    async def _keep_thresholds(self, cluster: str, snapshots: Sequence[Snapshot]) -> None:
        thresholds = _of(cluster, self._deps.contexts).thresholds
        ours = thresholds.digest()
        if ours not in self._deps.saved_thresholds and any(s.thresholds_hash == ours for s in snapshots):
            await self._deps.store.save_thresholds(ours, thresholds.model_dump(mode="json"))
            self._deps.saved_thresholds.add(ours)


def words_of(evaluation: Evaluation) -> Document:
    """What of an evaluation in words a notification needs."""
    return explained(evaluation).model_dump(mode="json", include=set(NEEDED))


def _of(cluster: str, known: Mapping[str, T]) -> T:
    if cluster not in known:
        raise SettingsError([f"a loop runs for cluster {cluster!r}, which this worker's configuration does not have"])
    return known[cluster]


def _remembered(document: Document | None) -> Memory:
    """The memory of the tick before; a memory of another release that does not fit is forgotten, and said."""
    try:
        return Memory.model_validate(document or {})
    except ValidationError as error:
        log.warning("the memory of another release does not fit and is forgotten: %s", error.errors()[0]["msg"])
        return Memory()


def _logs(document: Document | None) -> LogsSeen | None:
    """What the logs said; None where none are watched, or where another release said it."""
    try:
        return LogsSeen.model_validate(document) if document else None
    except ValidationError:
        return None


def _readable(documents: Sequence[Document]) -> Iterable[Snapshot]:
    for document in documents:
        try:
            yield Snapshot.model_validate(document)
        except ValidationError as error:
            log.warning("a snapshot of another release does not fit and is left out: %s", error.errors()[0]["msg"])
