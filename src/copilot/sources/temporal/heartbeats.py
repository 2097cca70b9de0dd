"""Worker heartbeats: workers tell the server about their slots, pollers and caches, and it lists the last one of each.

Source of the fields: temporal.api.worker.v1.WorkerHeartbeat. By default a worker sends one a minute, so what it says is
up to a minute old. Restarts are not read: a worker that crashes before its first heartbeat is never listed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from temporalio.api.enums.v1 import WorkerStatus
from temporalio.api.worker.v1 import WorkerHeartbeat
from whenever import Instant

from copilot.rules.signals.readings import MAX_BREAKDOWN_ROWS, BreakdownRow, Missing, MissingCode
from copilot.sources.temporal.queues import KINDS, UNVERSIONED, Description, QueueKey, top_rows, worker_version

ORIGIN = "worker heartbeats"
LONGEST_INTERVAL_SEC = 60.0
STALE_INTERVALS = 3
FIRST_BEAT_SEC = 90.0
OLDEST_LIST_SEC = 180.0
REMEMBER_SENDERS_SEC = 900.0

CACHE_SIZE = "worker_cache.sticky_size"
SLOTS_OF_ALL = {"slots_available": "worker.task_slots_available", "slots_used": "worker.task_slots_used"}
POLLERS_OF_ALL = "worker.poller_concurrency"
BY_QUEUE = {
    (kind, part): f"workers.{kind}_{part}" for kind in KINDS for part in ("slots_available", "slots_used", "pollers")
}
VERSION_TASKS = "version.tasks_per_sec"
VERSION_FAILURES = "version.task_failure_ratio"
OF_VERSIONS = (VERSION_TASKS, VERSION_FAILURES)
FEWEST_TASKS = 10
"""Of fewer tasks no share of failures is told."""
HEARTBEAT_IDS = (*BY_QUEUE.values(), CACHE_SIZE, *SLOTS_OF_ALL.values(), POLLERS_OF_ALL, *OF_VERSIONS)

_ENDED = (WorkerStatus.WORKER_STATUS_SHUTTING_DOWN, WorkerStatus.WORKER_STATUS_SHUTDOWN)
_POLLERS = {
    "workflow": ("workflow_poller_info", "workflow_sticky_poller_info"),
    "activity": ("activity_poller_info",),
}
_UNLIMITED = "not limited by number: the workers' slot suppliers are resource-based or custom"


class Read(NamedTuple):
    """What heartbeats give: values, breakdowns, and why the other ids are missing."""

    values: dict[str, float]
    rows: dict[str, tuple[BreakdownRow, ...]]
    missing: dict[str, Missing]


@dataclass(slots=True)
class ListedWorkers:
    """The last list of a namespace: when, the last heartbeat of each worker with the seconds since it was sent, and
    whether no worker was left out."""

    at: Instant
    beats: Sequence[tuple[WorkerHeartbeat, float]]
    complete: bool

    @property
    def live(self) -> Iterator[WorkerHeartbeat]:
        """The workers that are not shut down and whose heartbeats are no older than three intervals."""
        for beat, age_sec in self.beats:
            if not ended(beat) and age_sec <= STALE_INTERVALS * interval_sec(beat):
                yield beat


def ended(beat: WorkerHeartbeat) -> bool:
    """Whether the worker said that it ends."""
    return beat.status in _ENDED


def interval_sec(beat: WorkerHeartbeat) -> float:
    """How often the worker beats: the time between its last two heartbeats, else the longest that SDKs allow."""
    elapsed = beat.elapsed_since_last_heartbeat.ToNanoseconds() / 1e9
    return min(elapsed, LONGEST_INTERVAL_SEC) if elapsed > 0 else LONGEST_INTERVAL_SEC


@dataclass(slots=True)
class _Executors:
    """What executes one kind of task on one task queue, of all its workers. `unlimited`: a worker's slots are not
    limited by number."""

    slots_available: int = 0
    slots_used: int = 0
    pollers: int = 0
    unlimited: bool = False


def _executors(beats: Iterable[tuple[str, WorkerHeartbeat]], kind: str) -> dict[QueueKey, _Executors]:
    """The executors by task queue. A worker that does not take this kind of task has neither slots nor pollers."""
    found: dict[QueueKey, _Executors] = {}
    for namespace, beat in beats:
        slots = getattr(beat, f"{kind}_task_slots_info")
        pollers = sum(getattr(beat, name).current_pollers for name in _POLLERS[kind])
        if slots.current_available_slots or slots.current_used_slots or pollers:
            of = found.setdefault(QueueKey(namespace, beat.task_queue), _Executors())
            of.slots_available += slots.current_available_slots
            of.slots_used += slots.current_used_slots
            of.pollers += pollers
            of.unlimited |= slots.slot_supplier_kind != "Fixed"
    return found


@dataclass(slots=True)
class _Processed:
    """Tasks that live workers have processed: per second, and how many and of these failed in the last interval and
    since they started. Source: temporal.api.worker.v1.WorkerSlotsInfo."""

    per_sec: float = 0.0
    lately: int = 0
    lately_failed: int = 0
    ever: int = 0
    ever_failed: int = 0

    @property
    def failed_share(self) -> float | None:
        """Of the last interval, or where it had too few tasks, since the start; None where these are too few too."""
        for failed, of in ((self.lately_failed, self.lately), (self.ever_failed, self.ever)):
            if of >= FEWEST_TASKS:
                return min(1.0, failed / of)
        return None


def _add_versions(read: Read, beats: Sequence[tuple[str, WorkerHeartbeat]]) -> None:
    """The readings by worker version, where some worker has one."""
    found: dict[tuple[str, str, str, str], _Processed] = {}
    for namespace, beat in beats:
        of, version = beat.deployment_version, UNVERSIONED
        if of.deployment_name and of.build_id:
            version = worker_version(of.deployment_name, of.build_id)
        for kind in KINDS:
            slots = getattr(beat, f"{kind}_task_slots_info")
            tasks = found.setdefault((namespace, beat.task_queue, kind, version), _Processed())
            tasks.per_sec += slots.last_interval_processed_tasks / interval_sec(beat)
            tasks.lately += slots.last_interval_processed_tasks
            tasks.lately_failed += slots.last_interval_failure_tasks
            tasks.ever += slots.total_processed_tasks
            tasks.ever_failed += slots.total_failed_tasks
    if all(place[3] == UNVERSIONED for place in found):
        why = Missing(code=MissingCode.NO_SOURCE, detail="no worker has a deployment version")
        read.missing.update(dict.fromkeys(OF_VERSIONS, why))
        return
    rows: dict[str, list[tuple[dict[str, str], float]]] = {i: [] for i in OF_VERSIONS}
    for (namespace, queue, kind, version), tasks in sorted(found.items()):
        labels = {"namespace": namespace, "task_queue": queue, "task_type": kind, "worker_version": version}
        rows[VERSION_TASKS].append((labels, tasks.per_sec))
        if (share := tasks.failed_share) is not None:
            rows[VERSION_FAILURES].append((labels, share))
    read.values[VERSION_TASKS] = sum(value for _, value in rows[VERSION_TASKS])
    if rows[VERSION_FAILURES]:
        read.values[VERSION_FAILURES] = max(value for _, value in rows[VERSION_FAILURES])
    else:
        detail = f"no worker version has processed {FEWEST_TASKS} tasks yet"
        read.missing[VERSION_FAILURES] = Missing(code=MissingCode.NO_SOURCE, detail=detail)
    # A version that fails next to the others of its queue, even where there are more rows than are kept.
    worst: dict[tuple[str, ...], float] = {}
    for labels, value in rows[VERSION_FAILURES]:
        place = tuple(labels.values())[:3]
        worst[place] = max(value, worst.get(place, 0.0))
    rows[VERSION_FAILURES].sort(key=lambda row: (-worst[tuple(row[0].values())[:3]], tuple(row[0].values())[:3]))
    rows[VERSION_FAILURES] = rows[VERSION_FAILURES][:MAX_BREAKDOWN_ROWS]
    read.rows.update({i: top_rows(of) for i, of in rows.items() if of})


@dataclass(slots=True)
class WorkerHeartbeats:
    """The last heartbeats of all workers, by namespace.

    A worker's first heartbeat is dated by its clock, the next ones by when we first saw them: a clock that is wrong
    costs one list. `_sent`: the newest heartbeat of each worker, and since when it is known. `_senders`: when a
    heartbeat of an identity was last listed. `_polling`: since when each identity polls a queue."""

    _listed: dict[str, ListedWorkers] = field(default_factory=dict)
    _sent: dict[tuple[str, str], tuple[int, Instant]] = field(default_factory=dict)
    _senders: dict[tuple[str, str], Instant] = field(default_factory=dict)
    _polling: dict[QueueKey, dict[str, Instant]] = field(default_factory=dict)

    def record(self, namespace: str, beats: Iterable[WorkerHeartbeat], now: Instant, *, complete: bool) -> None:
        """The list of a namespace, fetched at `now`."""
        listed, sent = [], {key: known for key, known in self._sent.items() if key[0] != namespace}
        for beat in beats:
            key, at = (namespace, beat.worker_instance_key), beat.heartbeat_time.ToNanoseconds()
            before = self._sent.get(key)
            since = min(now, Instant.from_timestamp(at, unit="nanosecond")) if before is None else now
            sent[key] = before if before is not None and before[0] == at else (at, since)
            listed.append((beat, (now - sent[key][1]).total("seconds")))
            self._senders[namespace, beat.worker_identity] = now
        self._sent, self._listed[namespace] = sent, ListedWorkers(now, listed, complete)
        oldest = now.subtract(seconds=REMEMBER_SENDERS_SEC)
        self._senders = {sender: seen for sender, seen in self._senders.items() if seen >= oldest}

    def saw(self, described: Mapping[QueueKey, Description], now: Instant) -> None:
        """Who polls which queue. A poller that was not there before may not have sent its first heartbeat yet."""
        since = now if self._polling else Instant.MIN
        self._polling = {
            key: {who: self._polling.get(key, {}).get(who, since) for who in queue.polling}
            for key, queue in described.items()
        }

    def listed(self, namespace: str) -> ListedWorkers | None:
        """The last list of a namespace; None before the first."""
        return self._listed.get(namespace)

    def live(self, namespaces: Iterable[str]) -> list[tuple[str, WorkerHeartbeat]]:
        """The workers of these namespaces that live, each with its namespace."""
        return [(n, beat) for n in namespaces if n in self._listed for beat in self._listed[n].live]

    def read(self, namespaces: Sequence[str], now: Instant) -> Read:
        """The readings at `now`. All are missing unless the heartbeats of all workers are known: those of some would be
        taken for all."""
        if (why := self._incomplete(namespaces, now)) is not None:
            return Read({}, {}, dict.fromkeys(HEARTBEAT_IDS, why))
        beats, read = self.live(namespaces), Read({}, {}, {})
        for (kind, part), signal_id in BY_QUEUE.items():
            queues = _executors(beats, kind)
            free = part == "slots_available"
            shown = {key: of for key, of in sorted(queues.items()) if not (free and of.unlimited)}
            if shown:
                rows = [(key.labels, float(getattr(of, part))) for key, of in shown.items()]
                read.values[signal_id] = sum(value for _, value in rows)
                read.rows[signal_id] = top_rows(rows, smallest=part != "pollers")
            else:
                detail = _UNLIMITED if queues else f"no worker takes {kind} tasks"
                read.missing[signal_id] = Missing(code=MissingCode.NO_SOURCE, detail=detail)
        for part, signal_id in SLOTS_OF_ALL.items():
            known = [read.values[i] for k in KINDS if (i := BY_QUEUE[k, part]) in read.values]
            if known:
                read.values[signal_id] = sum(known)
            else:
                read.missing[signal_id] = Missing(code=MissingCode.NO_SOURCE, detail=_UNLIMITED)
        nexus = sum(beat.nexus_poller_info.current_pollers for _, beat in beats)
        read.values[POLLERS_OF_ALL] = nexus + sum(read.values.get(BY_QUEUE[k, "pollers"], 0.0) for k in KINDS)
        read.values[CACHE_SIZE] = float(sum(_cached(beat for _, beat in beats)))
        _add_versions(read, beats)
        return read

    def _incomplete(self, namespaces: Sequence[str], now: Instant) -> Missing | None:
        """Why the heartbeats that are known are not those of all workers; None if they are."""
        lists = {n: self._listed.get(n) for n in namespaces}
        if (lacking := next((n for n, of in lists.items() if of is None), None)) is not None:
            return Missing(code=MissingCode.DROPPED, detail=f"the workers of namespace {lacking} were not listed yet")
        known = {n: of for n, of in lists.items() if of is not None}
        for namespace, of in known.items():
            age = (now - of.at).total("seconds")
            if age > OLDEST_LIST_SEC or not of.complete:
                why = "there are too many" if age <= OLDEST_LIST_SEC else f"the last list is {age:.0f} s old"
                return Missing(code=MissingCode.DROPPED, detail=f"the workers of namespace {namespace}: {why}")
        if not any(of.beats for of in known.values()):
            return Missing(code=MissingCode.NO_SOURCE, detail="no worker's heartbeats are listed")
        if not self.live(namespaces):
            detail = f"no worker has sent a heartbeat within {STALE_INTERVALS} of its intervals"
            return Missing(code=MissingCode.TARGET_DOWN, detail=detail)
        silent = [key for key in sorted(self._polling) if key.namespace in known and self._has_silent(key, now)]
        if not silent:
            return None
        more = f" (and of {len(silent) - 1} more)" if len(silent) > 1 else ""
        return Missing(code=MissingCode.ABSENT, detail=f"some pollers of {silent[0]}{more} send no heartbeats")

    def _has_silent(self, key: QueueKey, now: Instant) -> bool:
        """Whether the queue has a poller that should have sent a heartbeat and did not."""
        oldest = now.subtract(seconds=FIRST_BEAT_SEC)
        polling = self._polling[key].items()
        return any(since < oldest and (key.namespace, who) not in self._senders for who, since in polling)


def _cached(beats: Iterable[WorkerHeartbeat]) -> Iterator[int]:
    """The sizes of the sticky caches. All workers of a Go process share one, and each tells its size."""

    def cache(beat: WorkerHeartbeat) -> str:
        shared = beat.sdk_name == "temporal-go" and beat.host_info.worker_grouping_key
        return shared or beat.worker_instance_key

    for _, of_cache in groupby(sorted(beats, key=cache), cache):
        yield max(beat.current_sticky_cache_size for beat in of_cache)
