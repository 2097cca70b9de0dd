"""The activities of the observing loop (read the sources, apply the rules, store, resume) and of the log watcher."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
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
from copilot.logs.counting import LogMemory, Redact, count_lines, current_reading
from copilot.logs.patterns import PatternBook
from copilot.loops import messages as m
from copilot.rules.changes import changes_seen
from copilot.rules.early import read_again_early
from copilot.rules.evaluate import Context, evaluate
from copilot.rules.memory import Memory
from copilot.rules.model import Evaluation, HealthAssessment, Snapshot
from copilot.rules.signals.logs import LogReading, with_logs
from copilot.rules.signals.readings import Missing, MissingCode, Signals
from copilot.sources import Source
from copilot.sources.logs import LogSource
from copilot.store.base import Store

MOST_REMEMBERED = 1_000
log = logging.getLogger(__name__)
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class ObserveActivities:
    """The observing loop's activities, over clients and settings by cluster that live as long as the worker. `meter`
    counts evaluations and fetches; `after_read` is called after each read of a cluster, `after_judged` with each
    evaluation and the memory before and after it; neither may block."""

    sources: Mapping[str, Sequence[Source]]
    contexts: Mapping[str, Context]
    store: Store
    rules: pipeline.Rules = evaluate
    now: Callable[[], Instant] = Instant.now
    saved_thresholds: set[str] = field(default_factory=set)
    saved_changes: set[tuple[str, str]] = field(default_factory=set)
    meter: MetricMeter = MetricMeter.noop
    hide_addresses: bool = False
    after_read: Callable[[str], None] = lambda _: None
    after_judged: Callable[[Evaluation, Memory, Memory], None] = lambda *_: None

    @activity.defn
    async def fetch_signals(self, ask: m.FetchSignals) -> m.SignalsFetched:
        """Read all sources of a cluster now, by this machine's clock; the result has the tick's time."""
        signals = await pipeline.collect(
            _of(ask.cluster, self.sources),
            self.now(),
            ask.deadline_sec,
            hide_addresses=self.hide_addresses,
            on_read=partial(self._count_reads, ask.cluster),
        )
        self.after_read(ask.cluster)
        dated = signals.model_copy(update={"time": Instant.from_timestamp(ask.tick)})
        return m.SignalsFetched(signals=dated.model_dump(mode="json"))

    @activity.defn
    async def evaluate_health(self, ask: m.EvaluateHealth) -> m.HealthEvaluated:
        """Evaluate a tick by the rules and thresholds of this worker."""
        context = _of(ask.cluster, self.contexts)
        if ask.signals:
            signals = Signals.model_validate(ask.signals)
        else:
            expected = [i for source in _of(ask.cluster, self.sources) for i in source.expected]
            signals = pipeline.all_missing(Instant.from_timestamp(ask.tick), expected, ask.missing_reason)
        logs = read_document(LogReading, ask.logs, "logs.incompatible")
        signals = with_logs(signals, logs, stale_sec=max(90.0, 3 * context.interval_sec))
        memory = read_document(Memory, ask.memory, "memory.incompatible") or Memory()
        evaluation, after = self.rules(signals, memory, context)
        self.after_judged(evaluation, memory, after)
        kept = pipeline.snapshot(evaluation, memory, context)
        state = evaluation.verdict.health_state.value
        evaluations = self.meter.create_counter("copilot_evaluations", "Evaluations, by the state they came to")
        evaluations.add(1, {"cluster": ask.cluster, "state": state})
        return m.HealthEvaluated(
            evaluation=evaluation.model_dump(mode="json"),
            memory=after.model_dump(mode="json"),
            health_state=state,
            read_again_early=read_again_early(evaluation, memory, after),
            words={} if state == ask.assessed_state else words_of(evaluation),
            **kept.model_dump(include={"thresholds_hash", "taxonomy_version", "rules_version"}),
        )

    @activity.defn
    async def store_signals_snapshot(self, ask: m.StoreSnapshots) -> m.SnapshotsStored:
        """Store snapshots; those already stored stay as they are."""
        read = [read_document(Snapshot, s.model_dump(), "snapshot.incompatible") for s in ask.snapshots]
        snapshots = [s for s in read if s is not None]
        thresholds = _of(ask.cluster, self.contexts).thresholds
        ours = thresholds.digest()
        if ours not in self.saved_thresholds and any(s.thresholds_hash == ours for s in snapshots):
            await self.store.save_thresholds(ours, thresholds.model_dump(mode="json"))
            self.saved_thresholds.add(ours)
        stored = await self.store.save_snapshots(snapshots)
        await self._store_changes(snapshots)
        return m.SnapshotsStored(stored=stored, unreadable=len(ask.snapshots) - len(snapshots))

    @activity.defn
    async def store_health_assessment(self, ask: m.Assessment) -> m.AssessmentStored:
        """Store an assessment with its issues; one already stored stays as it is."""
        assessment = read_document(
            HealthAssessment, {**ask.evaluation, "trigger": ask.trigger}, "assessment.incompatible"
        )
        if assessment is None:
            return m.AssessmentStored(new=False, unreadable=True)
        return m.AssessmentStored(new=await self.store.save_assessment(assessment))

    @activity.defn
    async def resume_memory(self, ask: m.ClusterNow) -> m.MemoryResumed:
        """What a new loop takes over from the newest stored tick and assessment."""
        context = _of(ask.cluster, self.contexts)
        latest = await self.store.latest_snapshot(ask.cluster)
        if latest is None:
            return m.MemoryResumed()
        tick = latest.evaluation.time.timestamp()
        after = pipeline.memory_after(self.rules, latest, context, Instant.from_timestamp(ask.now))
        if after is None:
            return m.MemoryResumed(tick=tick)
        assessed = await self.store.latest_assessment(ask.cluster)
        return m.MemoryResumed(
            memory=after.model_dump(mode="json"),
            evaluation=latest.evaluation.model_dump(mode="json"),
            health_state=assessed.verdict.health_state.value if assessed else None,
            tick=tick,
            assessed=assessed.time.timestamp() if assessed else None,
        )

    async def _store_changes(self, snapshots: Sequence[Snapshot]) -> None:
        """Store the changes that these evaluations show, as long as they are new or have another text."""
        seen = (changes_seen(s.evaluation, s.memory_before.get("server_versions", {})) for s in snapshots)
        fresh = {(c.digest, c.text): c for of in seen for c in of if (c.digest, c.text) not in self.saved_changes}
        if fresh:
            await self.store.save_changes(list(fresh.values()))
            if len(self.saved_changes) > MOST_REMEMBERED:
                self.saved_changes.clear()
            self.saved_changes.update(fresh)

    def _count_reads(self, cluster: str, parts: Mapping[str, Signals]) -> None:
        for source, signals in parts.items():
            empty = signals.readings and not any(signals.covered(i) for i in signals.readings)
            count_read(self.meter, cluster, source, failed=bool(empty))


def count_read(meter: MetricMeter, cluster: str, source: str, *, failed: bool) -> None:
    """Count a read of a source; `failed`: it gave not one reading."""
    labels = {"cluster": cluster, "source": source}
    meter.create_counter("copilot_fetches", "Reads of a source").add(1, labels)
    failures = meter.create_counter("copilot_failed_fetches", "Reads of a source that gave not one reading")
    failures.add(1 if failed else 0, labels)


@dataclass(frozen=True)
class WatchedLogs:
    """The logs of one cluster: their source, the patterns to count, and the rate window in seconds."""

    source: LogSource
    book: PatternBook
    window_sec: float


@dataclass(frozen=True)
class LogActivities:
    """The log watcher's activity, over the logs of each cluster that has some. `redact` takes secrets out of what is
    counted; `meter` counts reads."""

    redact: Redact
    logs: Mapping[str, WatchedLogs] = field(default_factory=dict)
    now: Callable[[], Instant] = Instant.now
    meter: MetricMeter = MetricMeter.noop

    @activity.defn
    async def query_logs(self, ask: m.QueryLogs) -> m.LogsQueried:
        """Read from the cursor on and count. Logs that cannot be read are missing with a reason, not an error. Lines
        that cannot be counted or kept, whatever they hold, are left out: the cursor moves on."""
        watched = self.logs.get(ask.cluster)
        if watched is None:
            return m.LogsQueried(watched=False)
        now, window_sec = self.now(), watched.window_sec
        memory = read_document(LogMemory, ask.memory, "log_memory.incompatible") or LogMemory()
        batch = await watched.source.read(ask.cursor, now, ask.deadline_sec)
        count_read(self.meter, ask.cluster, "logs", failed=batch.missing is not None)
        if not batch.read or batch.span_sec is None:
            seen = current_reading(memory, now, window_sec, batch.missing)
        else:
            count = partial(count_lines, span_sec=batch.span_sec, window_sec=window_sec, missing=batch.missing)
            count = partial(count, counted=batch.counted)
            count = partial(count, memory, batch.lines, now, book=watched.book, redact=self.redact)
            try:
                memory, seen = await asyncio.to_thread(lambda: _storable(*count()))
            except Exception as error:
                log.exception("%s: log lines are left out", ask.cluster, extra={"event": "logs.left_out"})
                detail = f"{len(batch.lines)} lines were left out: they cannot be counted ({type(error).__name__})"
                dropped = Missing(code=MissingCode.DROPPED, detail=detail)
                seen = current_reading(memory, now, window_sec, dropped)
        return m.LogsQueried(
            cursor=dict(batch.cursor),
            memory=memory.model_dump(mode="json"),
            seen=seen.model_dump(mode="json"),
            spikes=list(seen.spikes),
        )


def _storable(memory: LogMemory, seen: LogReading) -> tuple[LogMemory, LogReading]:
    """The same. ValueError where they hold what no payload can."""
    for document in (memory, seen):
        document.model_dump_json()
    return memory, seen


def words_of(evaluation: Evaluation) -> m.Document:
    """The part of the ExplainedEvaluation that a notification needs: not its signals, which are most of it."""
    needed = {"evaluation_id", "cluster", "time", "verdict", "summary", "findings"}
    return explained(evaluation).model_dump(mode="json", include=needed)


def _of(cluster: str, known: Mapping[str, T]) -> T:
    if cluster not in known:
        raise SettingsError([f"a loop runs for cluster {cluster!r}, which this worker's configuration does not have"])
    return known[cluster]


def read_document(model: type[M], document: m.Document | None, event: str) -> M | None:
    """The document; None, with a log line, where another release wrote it and this one cannot read it."""
    if not document:
        return None
    try:
        return model.model_validate(document)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        log.warning("%s of another release is ignored: %s", model.__name__, reason, extra={"event": event})
        return None
