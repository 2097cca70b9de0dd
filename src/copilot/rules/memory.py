"""What the rules remember between ticks: carried by the loop, stored with every snapshot, versioned, and bounded.

Workflow tasks that fail attempt after attempt need memory. A task that fails is retried at once, and from its fourth
attempt on the server adds 5 s, 10 s, 20 s … 10 min to the task's timeout (10 s unless set otherwise) before the next.
So the sixth attempt begins a minute after the first failed, and a window without an attempt proves nothing: the next
may not be due yet. The histogram of attempts has bounds at 5, 10 and 20 and is written when an attempt begins, so it
does not tell whether that attempt fails too.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, FiniteFloat, model_validator
from whenever import Instant, TimeDelta

from copilot.rules.flow import Flow, sanitized
from copilot.rules.limits import NearLimit
from copilot.rules.model import BottleneckClassification, Detected, HealthState, ReportedState
from copilot.rules.recovery import Samples
from copilot.rules.signals.readings import MAX_BREAKDOWN_ROWS, Frozen, Signals
from copilot.rules.targets import Process
from copilot.rules.thresholds import Thresholds

REMEMBERED_QUEUES = 60
AGES_REACH = TimeDelta(seconds=90)
AGES_APART = TimeDelta(seconds=20)
USUAL_OVER_SEC = 1800.0
QUIET_OVER_SEC = 86_400.0
EARLY_TICKS = 12
USUAL_AFTER_SEC = 50.0
BURST_STARTS = 10.0
TENTH_RETRY_SEC = 330.0
LONGEST_RETRY_SEC = 1220.0
ONE_MOMENT_ATTEMPTS = 5.0
UNDISPATCHED_AGING = 0.9
UNLOADED_AFTER_SEC = 120.0
FREE_SLOTS = 0.05
POLLS_WAIT = 2.0
FULL_QUEUES_CARRY = 0.2
_SLOTS = tuple((k, f"workers.{k}_slots_available", f"workers.{k}_slots_used") for k in ("activity", "workflow"))


@dataclass(frozen=True, slots=True)
class GateMemory:
    """One gate's past: evaluations in a row at which it fired, since when, and since when its input is missing."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    fired: bool = False
    streak: Annotated[int, Field(ge=0)] = 0
    first_fired: Instant | None = None
    missing_since: Instant | None = None


NEVER_FIRED = GateMemory()


@dataclass(frozen=True, slots=True)
class QueueMemory:
    """One flow's past: its backlog at the last tick (tasks); its usual share of the add rate; when a task was last
    added; when it was last seen; when workers' pages last listed it; when its backlog was last smaller than before;
    when it was last seen to have a poller, and how many workers' pages were read then; since when it has a backlog
    beside pending polls; ages of its oldest task
    (seconds) over the last minute and a half, as (when, age), oldest first, so that a gauge written once a minute shows
    a rise too."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    backlog: FiniteFloat | None = None
    ages: tuple[tuple[Instant, FiniteFloat], ...] = ()
    usual_share: FiniteFloat | None = None
    last_added: Instant | None = None
    last_seen: Instant | None = None
    last_listed: Instant | None = None
    last_shrunk: Instant | None = None
    last_polled: Instant | None = None
    beside_polls: Instant | None = None
    workers: int | None = None

    def aging(self, age: float | None, window_sec: float, now: Instant) -> float | None:
        """How fast the oldest task has aged over at least half a window, in seconds a second: in a queue dispatched in
        order, the share of added tasks that is not dispatched. None where it was not seen for that long."""
        then = next((s for s in reversed(self.ages) if (now - s[0]).total("seconds") >= window_sec / 2), None)
        return None if then is None or age is None else (age - then[1]) / (now - then[0]).total("seconds")


NEVER_SEEN = QueueMemory()


MEMORY_VERSION = 2


class Memory(Frozen):
    """`Memory()` remembers nothing. `state` is the last real state, `reported` the last reported one; `pending_since`
    the first usable tick while the first verdict is pending; `clear_ticks` and `not_critical_ticks` count evaluations
    in a row; `clear_since` the first of these, `recovered_at` when an incident ended last, `relapses` how often the
    present one had seemed to be over; `full_slots` is the type of slots last seen all in use, `partly_full` whether
    those of some queues are now in use; `cause` and `bottleneck` what was last found while a gate was firing,
    until the cluster is happy again, `cause_seen` when it was last seen, if only a little,
    `critical_cause` when the server was last the cause of work that is not done, and the finding that named it first;
    `notes` when each note that is kept for a while was last seen, and how;
    `burst_since` when the present burst of load began, `burst_at` when one was last seen; `stuck_at` when workflow
    tasks last failed again and again, at `stuck_attempts`; `polling_workers` how many workers' pages were read when
    polls were last pending; `polled_at` and `requested_at` when polls were last pending and requests last created work;
    `members_at` when the server's membership last changed; `targets` how many pages were read
    at the last tick, and `unanswered` whether requests stayed without an answer then; `processes` what is known of each
    target; `began` the first evidence of the present problem; `limits` those that are near, by signal; `metrics_at` the
    minute that the metrics of the last tick were of, where they come late; `server_versions` when each version of the
    server was last seen; `backlogs` those of the last minutes, by flow."""

    version: int = MEMORY_VERSION
    state: HealthState | None = None
    since: Instant | None = None
    reported: ReportedState | None = None
    reported_since: Instant | None = None
    last_usable: Instant | None = None
    gates: dict[str, GateMemory] = Field(default_factory=dict)
    queues: dict[str, QueueMemory] = Field(default_factory=dict)
    clear_ticks: Annotated[int, Field(ge=0)] = 0
    clear_since: Instant | None = None
    recovered_at: Instant | None = None
    relapses: Annotated[int, Field(ge=0)] = 0
    not_critical_ticks: Annotated[int, Field(ge=0)] = 0
    quiet_since: Instant | None = None
    recovering_until: Instant | None = None
    pending_since: Instant | None = None
    cause: Detected | None = None
    cause_seen: Instant | None = None
    critical_cause: tuple[Instant, str] | None = None
    notes: dict[str, tuple[Instant, Detected]] = Field(default_factory=dict)
    bottleneck: BottleneckClassification | None = None
    full_slots: str | None = None
    full_at: Instant | None = None
    partly_full: bool = False
    polling_workers: Annotated[int, Field(ge=0)] | None = None
    polled_at: Instant | None = None
    requested_at: Instant | None = None
    members_at: Instant | None = None
    targets: Annotated[int, Field(ge=0)] | None = None
    unanswered: bool = False
    processes: tuple[Process, ...] = ()
    burst_since: Instant | None = None
    burst_at: Instant | None = None
    demand_since: Instant | None = None
    usual_starts: FiniteFloat | None = None
    demand_ticks: Annotated[int, Field(ge=0)] = 0
    last_tick: Instant | None = None
    limits: dict[str, NearLimit] = Field(default_factory=dict)
    metrics_at: Instant | None = None
    stuck_attempts: FiniteFloat | None = None
    stuck_at: Instant | None = None
    began: Instant | None = None
    server_versions: dict[str, Instant] = Field(default_factory=dict)
    backlogs: dict[str, Samples] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _read_version_1(cls, document: Any) -> Any:
        return _of_version_1(document) if isinstance(document, dict) and "calm" in document else document

    def stuck_for_sec(self, now: Instant) -> float:
        """Seconds for which workflow tasks that fail again and again may not be retried: the server's back-off after
        a tenth attempt, and its longest. 0 where none does."""
        if self.stuck_at is None or self.stuck_attempts is None:
            return 0.0
        retry = LONGEST_RETRY_SEC if self.stuck_attempts > 10 else TENTH_RETRY_SEC
        return max(0.0, retry - (now - self.stuck_at).total("seconds"))


_VERSION_1 = {"calm": "clear_ticks", "uncritical": "not_critical_ticks", "waiting_since": "pending_since"}
_VERSION_1_QUEUE = {"waiting": "backlog", "last_arrival": "last_added"}


def _of_version_1(document: dict[str, Any]) -> dict[str, Any]:
    """A memory of the first format in today's. The cause is left out: it held sentences, and the next tick that finds
    one remembers it again. Gates that have another name today begin a new streak."""
    today = {_VERSION_1.get(name, name): value for name, value in document.items()}
    today["queues"] = {
        "//" if key == "/the_cluster/" else key: {
            _VERSION_1_QUEUE.get(name, name): value for name, value in queue.items()
        }
        for key, queue in document.get("queues", {}).items()
    }
    return {**today, "version": MEMORY_VERSION, "cause": None, "bottleneck": None}


def infer_unlisted(
    flows: Iterable[Flow], past: Mapping[str, QueueMemory], described: bool, window_sec: float, now: Instant
) -> None:
    """Fill in the rates of queues that a full breakdown leaves out (it holds the 20 largest). A queue without pollers
    dispatches nothing; in a queue dispatched in order the oldest task ages as fast as the clock only while nothing is
    dispatched; and while nothing is dispatched, the backlog grows by what is added. `described`: Temporal's API
    described queues at this tick, so counts and ages are current."""
    for flow in flows:
        before = past.get(flow.key, NEVER_SEEN)
        if flow.dispatch_rate is None and (flow.pollers == 0 or (described and _stands(flow, before, window_sec, now))):
            flow.dispatch_rate = 0.0
        if flow.add_rate is None and flow.dispatch_rate == 0 and described and flow.backlog is not None:
            flow.add_rate = _added(flow.backlog, before, now)


def _stands(flow: Flow, past: QueueMemory, window_sec: float, now: Instant) -> bool:
    aging = past.aging(flow.backlog_age_sec, window_sec, now)
    return aging is not None and aging >= UNDISPATCHED_AGING


def keep_undispatched(
    flows: dict[str, Flow], past: Mapping[str, QueueMemory], signals: Signals, reach_sec: float
) -> list[Flow]:
    """Puts back the backlog of queues whose gauge fell to zero, or went, though nothing was dispatched and no poll was
    seen for two minutes, and returns their flows: matching unloads a queue after five minutes without polls and tasks,
    and its tasks still wait. It ages with the clock. Once tasks are dispatched, polls come, or Temporal's API describes
    the queue, the gauge counts again; so it does when no task was added for `reach_sec`."""
    rows, now = signals.rows("matching.tasks_dispatched_per_sec"), signals.time
    listed = signals.value("matching.tasks_dispatched_per_sec") is not None and len(rows) < MAX_BREAKDOWN_ROWS
    kept = []
    for key, before in past.items():
        namespace, queue, task_type = key.split("/")
        if not before.backlog or not task_type or not before.ages:
            continue
        flow = flows.get(key) or Flow(namespace, queue, task_type, dispatch_rate=0.0 if listed else None)
        if flow.backlog or flow.dispatch_rate != 0 or flow.spooled or flow.pending_polls or flow.has_api_stats:
            continue
        if _since(before.last_polled, now) < UNLOADED_AFTER_SEC or not before.last_added:
            continue
        if _since(before.last_added, now) <= reach_sec:
            seen, age = before.ages[-1]
            flow.backlog, flow.backlog_age_sec = before.backlog, age + (now - seen).total("seconds")
            flow.add_rate = flow.add_rate or 0.0
            flows[key] = flow
            kept.append(flow)
    return kept


def _since(moment: Instant | None, now: Instant) -> float:
    return inf if moment is None else (now - moment).total("seconds")


def _added(backlog: float, past: QueueMemory, now: Instant) -> float | None:
    """The add rate since the queue was last seen, in 1/s; None where it was not."""
    if past.backlog is None or past.last_seen is None or now <= past.last_seen:
        return None
    return max(0.0, backlog - past.backlog) / (now - past.last_seen).total("seconds")


def flows_learned(
    memory: Memory, flows: dict[str, Flow], shares: dict[str, float | None], now: Instant, workers: int | None
) -> dict[str, QueueMemory]:
    """The queues' memory after this tick. A flow that was not read keeps its past; the longest unseen are dropped."""
    queues = dict(memory.queues)
    for key, flow in flows.items():
        past = queues.get(key, NEVER_SEEN)
        backlog = past.backlog if flow.backlog is None else flow.backlog
        ages = past.ages if flow.backlog_age_sec is None else _ages(past.ages, flow.backlog_age_sec, now)
        more = 0.0 if backlog is None or past.backlog is None else backlog - past.backlog
        added = now if flow.add_rate or (flow.add_rate is None and more > 0) else past.last_added
        listed = now if flow.on_worker_pages else past.last_listed
        shrunk = past.last_shrunk if more == 0 else now if more < 0 else None
        # Servers before 1.32 do not count pending polls; workers' pages do.
        polls = flow.worker_polls if flow.pending_polls is None else flow.pending_polls
        beside = (past.beside_polls or now) if flow.backlog and (polls or 0) >= POLLS_WAIT else None
        polled = now if flow.pending_polls or flow.pollers or flow.dispatch_rate else past.last_polled
        pages = workers if polled is now else past.workers
        queues[key] = QueueMemory(backlog, ages, shares[key], added, now, listed, shrunk, polled, beside, pages)
    if len(queues) <= REMEMBERED_QUEUES:
        return queues
    newest = sorted(queues, key=lambda k: queues[k].last_seen or Instant.MIN, reverse=True)[:REMEMBERED_QUEUES]
    return {key: queues[key] for key in newest}


def _ages(past: tuple[tuple[Instant, float], ...], age: float, now: Instant) -> tuple[tuple[Instant, float], ...]:
    """The remembered ages with this one: samples at least 20 s apart, none older than 90 s."""
    kept = past
    while kept and now - kept[0][0] > AGES_REACH:
        kept = kept[1:]
    return kept if kept and now - kept[-1][0] < AGES_APART else (*kept, (now, age))


def stuck_learned(
    memory: Memory, signals: Signals, thresholds: Thresholds, window_sec: float, recovering: bool
) -> dict[str, Any]:
    """What memory learns of workflow tasks that have failed for a minute and more and still fail: at how many attempts,
    and when they were last seen. Where tasks are attempted as often and none has failed in the workers for a window,
    none is stuck."""
    now, value = signals.time, signals.value("workflow_tasks.attempts_p99")
    before = memory.stuck_attempts if memory.stuck_for_sec(now) else None
    few = value is not None and value <= max(ONE_MOMENT_ATTEMPTS, thresholds.workflow_task_attempts_p99)
    if value is None or few or recovering:
        return {}
    if signals.value("worker_tasks.workflow_task_failures_per_sec") != 0:
        failed = sum(signals.value(f"workflow_tasks.{how}_per_sec") or 0.0 for how in ("failed", "timed_out"))
        several = failed > thresholds.workflow_task_failures.at(0.0, window_sec)
        return {"stuck_attempts": max(value, before or value), "stuck_at": now} if several else {}
    seen = memory.stuck_at
    over = seen is not None and (now - seen).total("seconds") > window_sec
    return {"stuck_attempts": None, "stuck_at": None} if over else {}


def full_slots(signals: Signals, *, partly_full: bool) -> str | None:
    """`activity` or `workflow` where the slots of that type are in use, all but one in twenty; else None. They may be
    so on some queues only, for the second time (`partly_full_slots`)."""
    for kind, available, used in _SLOTS:
        free = signals.readings.get(available)
        if free is not None and _full(free, signals.value(used) or 0.0):
            return kind
    return partly_full_slots(signals) if partly_full else None


def partly_full_slots(signals: Signals) -> str | None:
    """The type of slots in use on queues that together carry a fifth of the tasks of that type; else None. Workflow
    tasks take milliseconds, so full workflow slots are slow code, and named so where the full workers do not poll;
    where polls are pending beside them, nothing but the slots tells that the workers are full."""
    for kind, _, _ in _SLOTS:
        full = full_queues(signals, kind)
        if full and kind == "workflow":
            polls = by_queue(signals, "poller.pending_polls", task_type=kind)
            full = {queue for queue in full if polls.get(queue, 0.0) >= POLLS_WAIT}
        if full and _carried(signals, full, kind) >= FULL_QUEUES_CARRY:
            return kind
    return None


def full_queues(signals: Signals, kind: str) -> set[str]:
    """The task queues on which the slots of a type are in use, as tally sanitizes their names."""
    free, used = (by_queue(signals, f"workers.{kind}_slots_{which}") for which in ("available", "used"))
    return {queue for queue, n in free.items() if _full(n, used.get(queue, 0.0))}


def _full(free: float, used: float) -> bool:
    return used > 0 and free < max(1.0, FREE_SLOTS * (free + used))


def by_queue(signals: Signals, signal_id: str, **labels: str) -> dict[str, float]:
    """The rows with these labels by task queue."""
    sums: dict[str, float] = {}
    for row in signals.rows(signal_id):
        if labels.items() <= row.labels.items():
            queue = sanitized(row.labels.get("task_queue", ""))
            sums[queue] = sums.get(queue, 0.0) + row.value
    return sums


def _carried(signals: Signals, full: set[str], kind: str) -> float:
    """The share of the tasks of a type that are for these queues, of those added or of those dispatched: servers before
    1.32 do not count as added what no poller waited for."""
    shares = [0.0]
    for signal_id in ("demand.tasks_added_per_sec", "matching.tasks_dispatched_per_sec"):
        rates = by_queue(signals, signal_id, task_type=kind)
        if total := sum(rates.values()):
            shares.append(sum(rates.get(queue, 0.0) for queue in full) / total)
    return max(shares)


def slots_learned(memory: Memory, signals: Signals) -> dict[str, Any]:
    """What memory learns of the type of slots that are all in use now."""
    kind = full_slots(signals, partly_full=memory.partly_full)
    full = {} if kind is None else {"full_slots": kind, "full_at": signals.time}
    return {**full, "partly_full": partly_full_slots(signals) is not None}


def polls_learned(signals: Signals) -> dict[str, Any]:
    """What memory learns of how many workers there are while polls are pending, and when polls and requests were last
    seen."""
    workers, learned = signals.targets.get("worker"), dict[str, Any]()
    if signals.value("poller.pending_polls"):
        learned = {"polled_at": signals.time} | ({"polling_workers": workers} if workers else {})
    return learned | ({"requested_at": signals.time} if signals.value("demand.requests_per_sec") else {})


def members_learned(signals: Signals) -> dict[str, Any]:
    """What memory learns of changes of the server's membership."""
    return {"members_at": signals.time} if signals.value("deploy.membership_changes_per_min") else {}


def bursting(memory: Memory, starts: float | None, now: Instant, window_sec: float, burst_factor: float) -> bool:
    """Whether far more workflows are started than usual. False until the usual rate is known."""
    usual = memory.usual_starts
    if starts is None or not usual or memory.demand_since is None or starts <= burst_factor * usual:
        return False
    known_sec = (now - memory.demand_since).total("seconds")
    return known_sec >= USUAL_AFTER_SEC and (starts - usual) * window_sec >= BURST_STARTS


def demand_learned(
    memory: Memory, starts: float | None, now: Instant, since_sec: float, window_sec: float, burst_factor: float
) -> dict[str, Any]:
    """What memory learns of the usual rate of starts (1/s): the mean at first, then an exponential average that rises
    over half an hour, dragged slowly by a burst that has not lasted as long, and falls over a day: a quiet night does
    not make the morning a burst. Early on, less counts for more: what was seen first may have been a burst."""
    if starts is None:
        return {}
    usual, ticks = memory.usual_starts or 0.0, memory.demand_ticks + 1
    known = memory.demand_since is not None and (now - memory.demand_since).total("seconds") > USUAL_OVER_SEC
    slowly = min(1.0, since_sec / (QUIET_OVER_SEC if known and starts < usual else USUAL_OVER_SEC))
    weight = slowly if known else max(1 / ticks, slowly)
    if ticks <= EARLY_TICKS and starts < usual:
        weight = max(weight, 0.5)
    taken = starts
    lasted = memory.burst_since is not None and (now - memory.burst_since).total("seconds") > USUAL_OVER_SEC
    if ticks > 1 and 0 < burst_factor * usual < starts and not lasted:
        taken, weight = burst_factor * usual, slowly
    bursts = bursting(memory, starts, now, window_sec, burst_factor)
    return {
        "burst_since": (memory.burst_since or now) if bursts else None,
        "burst_at": now if bursts else memory.burst_at,
        "usual_starts": usual + weight * (taken - usual),
        "demand_ticks": ticks,
        "demand_since": memory.demand_since or now,
    }
