"""The activities of the observing loop: read the sources, apply the rules, store, resume."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from temporalio import activity
from temporalio.common import MetricMeter
from whenever import Instant

from copilot import pipeline
from copilot.errors import SettingsError
from copilot.explain import explained
from copilot.loops.messages import (
    AssessmentStored,
    ClusterNow,
    Document,
    EvaluateHealth,
    FetchSignals,
    HealthEvaluated,
    MemoryResumed,
    SignalsFetched,
    SnapshotDocument,
    SnapshotsStored,
    StoreAssessment,
    StoreSnapshots,
)
from copilot.rules.evaluate import Context, evaluate
from copilot.rules.memory import Memory
from copilot.rules.model import Evaluation, HealthAssessment, Snapshot
from copilot.rules.signals.logs import LogReading, with_logs
from copilot.rules.signals.readings import Signals
from copilot.sources import Source
from copilot.store.base import Store

log = logging.getLogger(__name__)
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


class Measures:
    """Counters of evaluations and fetches, on the meter of the worker's Temporal runtime."""

    def __init__(self, meter: MetricMeter = MetricMeter.noop) -> None:
        self._evaluations = meter.create_counter("copilot_evaluations", "Evaluations, by the state they came to")
        self._fetches = meter.create_counter("copilot_fetches", "Reads of a source")
        self._failed = meter.create_counter("copilot_failed_fetches", "Reads of a source that gave not one reading")

    def evaluated(self, cluster: str, state: str) -> None:
        """Count one evaluation."""
        self._evaluations.add(1, {"cluster": cluster, "state": state})

    def fetched(self, cluster: str, parts: Mapping[str, Signals]) -> None:
        """Count one read of each source, by its name."""
        for source, signals in parts.items():
            where = {"cluster": cluster, "source": source}
            self._fetches.add(1, where)
            self._failed.add(int(_empty(signals)), where)


def _empty(signals: Signals) -> bool:
    return bool(signals.readings) and not any(
        signals.value(i) is not None or signals.quiet(i) for i in signals.readings
    )


@dataclass(frozen=True)
class ObserveDeps:
    """Clients and settings of the activities, by cluster. They live as long as the worker."""

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
        """Read all sources of a cluster now, by this machine's clock; the result has the tick's time."""
        deps = self._deps
        sources = _of(ask.cluster, deps.sources)
        signals = await pipeline.collect(
            sources,
            deps.now(),
            ask.deadline_sec,
            hide_addresses=deps.hide_addresses,
            on_read=partial(deps.measures.fetched, ask.cluster),
        )
        dated = signals.model_copy(update={"time": Instant.from_timestamp(ask.tick)})
        return SignalsFetched(signals=dated.model_dump(mode="json"))

    @activity.defn
    async def evaluate_health(self, ask: EvaluateHealth) -> HealthEvaluated:
        """Evaluate a tick by the rules and thresholds of this worker."""
        context = _of(ask.cluster, self._deps.contexts)
        signals = Signals.model_validate(ask.signals) if ask.signals else self._all_missing(ask)
        logs = _read(LogReading, ask.logs, "logs.incompatible")
        signals = with_logs(signals, logs, stale_sec=max(90.0, 3 * context.interval_sec))
        memory = _read(Memory, ask.memory, "memory.incompatible") or Memory()
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
        """Store snapshots; those already stored stay as they are."""
        snapshots = list(_readable(ask.snapshots))
        await self._store_thresholds(ask.cluster, snapshots)
        stored = await self._deps.store.save_snapshots(snapshots)
        return SnapshotsStored(stored=stored, unreadable=len(ask.snapshots) - len(snapshots))

    @activity.defn
    async def store_health_assessment(self, ask: StoreAssessment) -> AssessmentStored:
        """Store an assessment with its issues; one already stored stays as it is."""
        assessment = _read(HealthAssessment, {**ask.evaluation, "trigger": ask.trigger}, "assessment.incompatible")
        if assessment is None:
            return AssessmentStored(new=False, unreadable=True)
        return AssessmentStored(new=await self._deps.store.save_assessment(assessment))

    @activity.defn
    async def resume_memory(self, ask: ClusterNow) -> MemoryResumed:
        """What a new loop takes over from the newest stored tick and assessment."""
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

    def _all_missing(self, ask: EvaluateHealth) -> Signals:
        expected = [i for source in _of(ask.cluster, self._deps.sources) for i in source.expected]
        return pipeline.all_missing(Instant.from_timestamp(ask.tick), expected, ask.missing_reason)

    async def _store_thresholds(self, cluster: str, snapshots: Sequence[Snapshot]) -> None:
        thresholds = _of(cluster, self._deps.contexts).thresholds
        ours = thresholds.digest()
        if ours not in self._deps.saved_thresholds and any(s.thresholds_hash == ours for s in snapshots):
            await self._deps.store.save_thresholds(ours, thresholds.model_dump(mode="json"))
            self._deps.saved_thresholds.add(ours)


def words_of(evaluation: Evaluation) -> Document:
    """The part of the ExplainedEvaluation that a notification needs: not its signals, which are most of it."""
    needed = {"evaluation_id", "cluster", "time", "verdict", "summary", "findings"}
    return explained(evaluation).model_dump(mode="json", include=needed)


def _of(cluster: str, known: Mapping[str, T]) -> T:
    if cluster not in known:
        raise SettingsError([f"a loop runs for cluster {cluster!r}, which this worker's configuration does not have"])
    return known[cluster]


def _read(model: type[M], document: Document | None, event: str) -> M | None:
    """The document; None, with a log line, where another release wrote it and this one cannot read it."""
    if not document:
        return None
    try:
        return model.model_validate(document)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        log.warning("%s of another release is ignored: %s", model.__name__, reason, extra={"event": event})
        return None


def _readable(documents: Sequence[SnapshotDocument]) -> Iterable[Snapshot]:
    for document in documents:
        if snapshot := _read(Snapshot, document.model_dump(), "snapshot.incompatible"):
            yield snapshot
