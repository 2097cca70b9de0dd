"""Gates that make the cluster stressed and never more: a backlog, slow answers, failures, refusals."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from copilot.rules.flow import AGES, OWN_BACKLOG, OWN_DISPATCHED, OWN_POLLS, Flow
from copilot.rules.gates.context import (
    RECOVERY_MARGIN,
    Component,
    Effect,
    Gate,
    GateContext,
    clear,
    flow_evidence,
    lost,
    measured,
    of_queue,
    over,
    unjudged,
    without,
)
from copilot.rules.gates.progress import FALLING_BEHIND, QUEUE_STALLED, REQUESTS_REJECTED, WORK_STALLED, rising
from copilot.rules.model import GateResult
from copilot.rules.thresholds import Tolerance

STORED_TASKS = 5
TASKS_A_WRITE = 4
ATTEMPTS = "workflow_tasks.attempts_p99"


def _backlog_growing(context: GateContext) -> GateResult:
    """1 − dispatch rate / add rate > `backlog_growing_share` on a queue of which at least 5 tasks were stored in the
    window; or the age of its oldest task grows by more than that share of the time. Gauges may not show it yet."""
    limit = context.thresholds.backlog_growing_share
    ids = ("demand.tasks_added_per_sec", "matching.tasks_dispatched_per_sec", "matching.tasks_spooled_per_sec")
    flows = [f for f in context.queues.values() if not context.abandoned(f)] or [context.cluster]
    if aging := _aging(context, flows):
        return aging
    if lacking := without(context, ids):
        return lacking
    shares = {f.key: _left_share(f, context.window_sec) for f in flows}
    worst = max(flows, key=lambda f: shares[f.key])
    share = shares[worst.key]
    if share <= limit:
        return _aging_unseen(context) or measured(share, limit, "ratio", {}, fired=False)
    return of_queue(measured(share, limit, "ratio", flow_evidence(worst), fired=True), worst, context)


def _left_share(flow: Flow, window_sec: float) -> float:
    """The share of added tasks that is not dispatched, at most what was stored of them; 0 where too few were stored in
    the window to tell, or where the backlog has drained. Before server 1.32 offers are counted as added, some of them
    twice, and writes as stored, which hold several tasks under load."""
    drained = flow.has_api_stats and flow.backlog == 0
    if not flow.add_rate or flow.dispatch_rate is None or drained or (flow.spooled or 0.0) * window_sec < STORED_TASKS:
        return 0.0
    left = min(flow.add_rate - flow.dispatch_rate, TASKS_A_WRITE * (flow.spooled or 0.0))
    return max(0.0, left / flow.add_rate)


def _aging(context: GateContext, flows: list[Flow]) -> GateResult | None:
    """The same seen by the oldest task's age, which needs no volume and no rate: in a queue dispatched in order it
    grows, in seconds a second, by the share of added tasks that is not dispatched. The task must be half a window old.
    None: no queue ages so. Gauges that lag are not used."""
    limit, window = context.thresholds.backlog_growing_share, context.window_sec
    old = [f for f in flows if (f.backlog_age_sec or 0.0) >= window / 2] if context.cluster.has_api_stats else []
    shares = [(context.remembered(f).aging(f.backlog_age_sec, window, context.now) or 0.0, f) for f in old]
    share, worst = max(shares, key=lambda found: found[0], default=(0.0, context.cluster))
    if share <= limit:
        return None
    result = measured(share, limit, "ratio", flow_evidence(worst), fired=True, aspect="aging")
    return of_queue(result, worst, context)


def _aging_unseen(context: GateContext) -> GateResult | None:
    """An unjudged result if readings were lost without which no one can say that no backlog ages; else None."""
    signals = context.signals
    ages = [signals.value(i) for i in AGES]
    young = all(age is not None and age < context.window_sec / 2 for age in ages)
    if young or signals.value("matching.backlog_count") == 0:
        return None
    return lost(context, (*AGES, "poller.recent_pollers"))


def _backlog_age(context: GateContext) -> GateResult:
    """The age of the oldest task > `backlog_age_sec`, on any queue to which tasks are still added. An age that does not
    change while the queue is dispatched belongs to no process: one that lost a partition goes on showing its last."""
    limit = context.thresholds.backlog_age_sec
    queues = [f for f in context.queues.values() if f.backlog_age_sec is not None]
    flows = [f for f in queues if not (context.abandoned(f) or context.ownerless(f))] if queues else [context.cluster]
    if not queues and context.cluster.backlog_age_sec is None:
        return without(context, AGES) or unjudged("missing")
    oldest = max(flows, key=lambda f: f.backlog_age_sec or 0.0, default=context.cluster)
    result = over(context, (oldest.backlog_age_sec or 0.0) if flows else 0.0, limit, "s", ())
    if not result.fired and (unsure := lost(context, AGES)):
        return unsure
    return replace(result, evidence=flow_evidence(oldest), labels=oldest.labels if queues else {})


def _quantile(context: GateContext, signal_id: str, limit: float, unit: str) -> GateResult:
    """A gate on a p99 of completed work: unjudged while it still shows an outage that has just ended."""
    if lacking := without(context, (signal_id,)):
        return lacking
    if context.recovering:
        return unjudged("recovering", signal_id)
    return over(context, context.signals.value(signal_id) or 0.0, limit, unit, (signal_id,))


def _frontend_latency(context: GateContext) -> GateResult:
    """`frontend.latency_p99_ms` > `frontend_latency_p99_ms`, long polls excluded; unjudged without traffic and for one
    window after an outage."""
    return _quantile(context, "frontend.latency_p99_ms", context.thresholds.frontend_latency_p99_ms, "ms")


def _persistence_latency(context: GateContext) -> GateResult:
    """`persistence.latency_p99_ms` > `persistence_latency_p99_ms`; unjudged without traffic and for one window after
    an outage."""
    return _quantile(context, "persistence.latency_p99_ms", context.thresholds.persistence_latency_p99_ms, "ms")


def _history_latency(context: GateContext) -> GateResult:
    """`history.task_queue_latency_p99_sec` > `history_latency_p99_sec`; unjudged without traffic and for one window
    after an outage."""
    signal_id = "history.task_queue_latency_p99_sec"
    return _quantile(context, signal_id, context.thresholds.history_latency_p99_sec, "s")


def _shard_churn(context: GateContext) -> GateResult:
    """`history.shard_churn_rate_per_sec` > `shard_churn_per_sec`."""
    signal_id = "history.shard_churn_rate_per_sec"
    if lacking := without(context, (signal_id,)):
        return lacking
    value = context.signals.value(signal_id) or 0.0
    return over(context, value, context.thresholds.shard_churn_per_sec, "1/s", (signal_id,))


def _workflow_task_attempts(context: GateContext) -> GateResult:
    """`workflow_tasks.attempts_p99` > `workflow_task_attempts_p99`. Each of those has failed before, so it takes no
    volume. Tasks that failed for a minute count until their next attempt is due."""
    limit = context.thresholds.workflow_task_attempts_p99
    now = _quantile(context, ATTEMPTS, limit, "attempts")
    stuck = context.memory.stuck_attempts
    if now.fired or now.unjudged not in (None, "no_traffic") or stuck is None or not context.stuck_for_sec:
        return now
    return measured(stuck, limit, "attempts", now.evidence, fired=True, aspect="backing_off")


def _application_failures(context: GateContext) -> GateResult:
    """`workflow_completion.completion_rate` < `completion_rate`, and at least `completion_min_closes` workflows failed
    or timed out in the window: their own code fails, not the cluster."""
    rate = "workflow_completion.completion_rate"
    bad = ("workflow_completion.failed_per_sec", "workflow_completion.timed_out_per_sec")
    if lacking := without(context, (rate, *bad)):
        return lacking
    value, limit = context.signals.value(rate) or 0.0, context.thresholds.completion_rate
    failed = sum(context.signals.value(i) or 0.0 for i in bad)
    enough = failed * context.window_sec >= context.thresholds.completion_min_closes
    return GateResult(
        fired=value < limit and enough,
        value=value,
        threshold=limit,
        margin=(value - limit) / limit if enough or value >= limit else None,
        unit="ratio",
        evidence={rate: value, **{i: v for i in bad if (v := context.signals.value(i)) is not None}},
    )


def _system_workers_missing(context: GateContext) -> GateResult:
    """The oldest task on one of Temporal's own task queues is older than `backlog_age_sec` and its age rises, while no
    poll is pending there and no task was dispatched; older than `falling_behind_age_sec` where the server does not count
    pending polls (before 1.32)."""
    if lacking := without(context, (OWN_BACKLOG, OWN_DISPATCHED)):
        return lacking
    unserved = [f for f in context.own_queues.values() if _unserved(f, context)]
    if not unserved:
        return clear("s")
    oldest = max(unserved, key=lambda f: f.backlog_age_sec or 0.0)
    limit = _oldest_unserved(context)
    result = over(context, oldest.backlog_age_sec or 0.0, limit, "s", (OWN_BACKLOG, OWN_DISPATCHED, OWN_POLLS))
    return replace(result, labels=oldest.labels)


def _oldest_unserved(context: GateContext) -> float:
    counted = context.signals.value(OWN_POLLS) is not None
    return context.thresholds.backlog_age_sec if counted else context.thresholds.falling_behind_age_sec


def _unserved(flow: Flow, context: GateContext) -> bool:
    age, polls = flow.backlog_age_sec or 0.0, 0.0 if context.signals.value(OWN_POLLS) is None else flow.pending_polls
    unserved = polls == 0 and flow.dispatch_rate == 0 and age > _oldest_unserved(context)
    return unserved and rising(age, context.remembered(flow), context.now)


def _mostly(context: GateContext, *, part: str, whole: str) -> GateResult:
    """`part` over `whole` ≥ `unanswered_share`, and at least `requests_rejected_min` of it in a window."""
    if lacking := without(context, (part, whole)):
        return lacking
    bad, every = (context.signals.value(i) or 0.0 for i in (part, whole))
    limit = context.thresholds.unanswered_share
    share = min(1.0, bad / every) if every > 0 else float(bad > 0)
    enough = bad * context.window_sec >= context.thresholds.requests_rejected_min
    result = over(context, share, limit, "ratio", (part, whole))
    return replace(result, fired=share >= limit and enough, margin=result.margin if enough or share < limit else None)


def _share_gate(part: str, whole: str) -> Callable[[GateContext], GateResult]:
    judge = partial(_mostly, part=part, whole=whole)
    judge.__doc__ = (
        f"`{part}` over `{whole}` ≥ `unanswered_share`, and at least `requests_rejected_min` of them in a window."
    )
    return judge


def _tolerance(
    context: GateContext, *, ids: tuple[str, ...], limit: Callable[[GateContext], Tolerance], demand: str
) -> GateResult:
    """A gate on the sum of some rates against what is tolerated at the present demand. A sum well inside the tolerance
    at no demand at all needs no reading of the demand."""
    read, tolerance = context.signals.readings.get, limit(context)
    value = sum([read(i) or 0.0 for i in ids])
    few = value <= (1 - RECOVERY_MARGIN) * tolerance.at(0.0, context.window_sec)
    if lacking := without(context, ids if few else (*ids, demand)):
        return lacking
    threshold = tolerance.at(context.signals.value(demand) or 0.0, context.window_sec)
    return over(context, value, threshold, "1/s", (*ids, demand))


def _workflow_task_failures(context: GateContext) -> GateResult:
    """`workflow_tasks.failed_per_sec` + `workflow_tasks.timed_out_per_sec` > tolerance `workflow_task_failures` at the
    rate of `demand.tasks_added_per_sec`. Temporal Cloud counts neither timeouts nor attempts, and retries swell the
    tasks added: there, failed ones against `workflow_tasks.completed_per_sec`, or what workers say of themselves."""
    failed, timed_out = "workflow_tasks.failed_per_sec", "workflow_tasks.timed_out_per_sec"
    limit = partial(_tolerance, context, limit=lambda c: c.thresholds.workflow_task_failures)
    if context.signals.mentions(timed_out) or not context.signals.mentions(failed):
        return limit(ids=(failed, timed_out), demand=_TASKS)
    own = "worker_tasks.workflow_task_failures_per_sec"
    more = (context.signals.value(own) or 0.0) > (context.signals.value(failed) or 0.0)
    return limit(ids=(own if more else failed,), demand="workflow_tasks.completed_per_sec")


def _rate_gate(
    name: str,
    ids: tuple[str, ...],
    limit: Callable[[GateContext], Tolerance],
    demand: str,
    component: Component,
    counts: str,
    verb: str,
    began: str,
    *,
    effect: Effect,
    covered_by: frozenset[str] = frozenset(),
    judge: Callable[[GateContext], GateResult] | None = None,
) -> Gate:
    """A gate that is firing when the sum of the rates `ids` exceeds the tolerance `name` at the rate `demand`, or as
    `judge` says."""
    if judge is None:
        judge = partial(_tolerance, ids=ids, limit=limit, demand=demand)
        judge.__doc__ = f"{' + '.join(f'`{i}`' for i in ids)} > tolerance `{name}` at the rate of `{demand}`."
    sees = f"{{value:per_sec {counts}}} {verb}"
    return Gate(
        name, judge, component, sees=sees, clear=sees, began=began, recovered_when=f"fewer than {{threshold:per_sec {counts}}} {verb}",
        counts_events=True, effect=effect, covered_by=covered_by,
    )  # fmt: skip


_REQUESTS, _TASKS = "demand.requests_per_sec", "demand.tasks_added_per_sec"
_COVER_BACKLOG = frozenset({WORK_STALLED.name, QUEUE_STALLED.name, FALLING_BEHIND.name})

BACKLOG_GROWING = Gate(
    "backlog_growing", _backlog_growing, "matching",
    sees={
        "": "the backlog[ of {queue}] grows: {demand.tasks_added_per_sec:rate} added, "
        "{matching.tasks_dispatched_per_sec:rate} dispatched, the rest stored",
        "aging": "the backlog[ of {queue}] grows: its oldest task is {matching.backlog_age_sec:span} old and aging",
    },
    clear="added tasks are dispatched",
    began="the backlog grew",
    recovered_when="tasks[ on {queue}] are dispatched as fast as they are added",
    effect=Effect.BACKLOG, covered_by=_COVER_BACKLOG,
)  # fmt: skip
BACKLOG_AGE = Gate(
    "backlog_age", _backlog_age, "matching",
    sees="the oldest task[ on {queue}] is {value:span} old",
    clear="the oldest task is {value:span} old",
    began="tasks waited too long",
    recovered_when="the oldest task[ on {queue}] is younger than {threshold:span}",
    effect=Effect.BACKLOG, covered_by=_COVER_BACKLOG,
)  # fmt: skip
FRONTEND_ERRORS = _rate_gate(
    "frontend_errors", ("frontend.error_rate_per_sec",), lambda c: c.thresholds.frontend_errors, _REQUESTS,
    "frontend", "request", "fail with server errors", "requests failed",
    effect=Effect.REFUSES, covered_by=frozenset({REQUESTS_REJECTED.name}),
)  # fmt: skip
FRONTEND_LATENCY = Gate(
    "frontend_latency", _frontend_latency, "frontend",
    sees="requests take {value:took} (p99)", clear="requests take {value:took} (p99)",
    began="requests became slow", recovered_when="requests take less than {threshold:took} (p99)",
    of_completed_work=True, effect=Effect.SLOW,
)  # fmt: skip
RATE_LIMITED = _rate_gate(
    "rate_limited", ("frontend.throttled_per_sec",), lambda c: c.thresholds.rate_limited, _REQUESTS,
    "frontend", "request", "are refused, polls included", "requests were refused", effect=Effect.REFUSES,
)  # fmt: skip
PERSISTENCE_ERRORS = _rate_gate(
    "persistence_errors", ("persistence.error_rate_per_sec",), lambda c: c.thresholds.persistence_errors, _REQUESTS,
    "persistence", "database call", "fail", "database calls failed", effect=Effect.REFUSES,
)  # fmt: skip
PERSISTENCE_LATENCY = Gate(
    "persistence_latency", _persistence_latency, "persistence",
    sees="database calls take {value:took} (p99)", clear="database calls take {value:took} (p99)",
    began="the database became slow", recovered_when="database calls take less than {threshold:took} (p99)",
    of_completed_work=True, effect=Effect.SLOW,
)  # fmt: skip
PERSISTENCE_THROTTLED = _rate_gate(
    "persistence_throttled", ("persistence.throttled_per_sec",), lambda c: c.thresholds.persistence_throttled, _TASKS,
    "persistence", "database call", "are refused", "database calls were refused", effect=Effect.REFUSES,
)  # fmt: skip
HISTORY_THROTTLED = _rate_gate(
    "history_throttled", ("history.throttled_per_sec",), lambda c: c.thresholds.history_throttled, _TASKS,
    "history", "history task", "are refused", "history tasks were refused", effect=Effect.REFUSES,
)  # fmt: skip
HISTORY_LATENCY = Gate(
    "history_latency", _history_latency, "history",
    sees="history completes tasks within {value:span} (p99)", clear="history completes tasks within {value:span} (p99)",
    began="history fell behind", recovered_when="history completes tasks within {threshold:span} (p99)",
    of_completed_work=True, effect=Effect.SLOW,
)  # fmt: skip
SHARD_CHURN = Gate(
    "shard_churn", _shard_churn, "history",
    sees="{value:per_sec shard} open or close", clear="{value:per_sec shard} open or close",
    began="shards moved", recovered_when="fewer than {threshold:per_sec shard} open or close",
    effect=Effect.SLOW,
)  # fmt: skip
WORKFLOW_TASK_FAILURES = _rate_gate(
    "workflow_task_failures", ("workflow_tasks.failed_per_sec", "workflow_tasks.timed_out_per_sec"),
    lambda c: c.thresholds.workflow_task_failures, _TASKS,
    "workers", "workflow task", "fail or time out", "workflow tasks failed", effect=Effect.CODE_FAILS,
    judge=_workflow_task_failures,
)  # fmt: skip
WORKFLOW_TASK_ATTEMPTS = Gate(
    "workflow_task_attempts", _workflow_task_attempts, "workers",
    sees={
        "": "workflow tasks need {value:attempts} (p99)",
        "backing_off": "workflow tasks keep failing, at attempt {value:brief} or later, and their next attempt is not due yet",
    },
    clear="workflow tasks need {value:attempts} (p99)",
    began="workflow tasks needed several attempts", recovered_when="workflow tasks need fewer than {threshold:attempts} (p99)",
    of_completed_work=True, effect=Effect.CODE_FAILS,
)  # fmt: skip
ACTIVITY_FAILURES = _rate_gate(
    "activity_failures", ("activity_tasks.failed_per_sec",), lambda c: c.thresholds.activity_failures, _TASKS,
    "workers", "activity attempt", "fail", "activities failed", effect=Effect.CODE_FAILS,
)  # fmt: skip
ACTIVITY_TIMEOUTS = _rate_gate(
    "activity_timeouts", ("activity_tasks.timed_out_per_sec",), lambda c: c.thresholds.activity_timeouts, _TASKS,
    "workers", "activity attempt", "time out", "activities timed out", effect=Effect.CODE_FAILS,
)  # fmt: skip
QUERIES_UNANSWERED = Gate(
    "queries_unanswered", _share_gate("queries.unanswered_per_sec", "queries.requested_per_sec"), "workers",
    sees="{value:percent} of queries and updates ({queries.requested_per_sec:rate}) are not answered",
    clear="queries and updates are answered",
    began="queries were no longer answered", recovered_when="workers answer queries and updates again",
    counts_events=True, effect=Effect.CODE_FAILS,
)  # fmt: skip
LISTS_FAILING = Gate(
    "lists_failing", _share_gate("visibility.lists_failed_per_sec", "visibility.lists_per_sec"), "persistence",
    sees="{value:percent} of {visibility.lists_per_sec:per_sec list or count} of workflows fail",
    clear="workflows can be listed",
    began="lists of workflows failed", recovered_when="workflows can be listed again", counts_events=True,
)  # fmt: skip
APPLICATION_FAILURES = Gate(
    "application_failures", _application_failures, "application",
    sees="{value:percent} of closed workflows succeeded", clear="{value:percent} of closed workflows succeeded",
    began="workflows failed", recovered_when="at least {threshold:percent} of closed workflows succeed",
    effect=Effect.CODE_FAILS,
)  # fmt: skip
SYSTEM_WORKERS_MISSING = Gate(
    "system_workers_missing", _system_workers_missing, "matching",
    sees="the oldest task on Temporal's own {queue} is {value:span} old and none is dispatched",
    clear="Temporal's own tasks are dispatched",
    began="Temporal's own tasks were no longer dispatched",
    recovered_when="the tasks on Temporal's own {queue} are dispatched",
)  # fmt: skip

GATES = (
    BACKLOG_GROWING, BACKLOG_AGE,
    FRONTEND_ERRORS, FRONTEND_LATENCY, RATE_LIMITED,
    PERSISTENCE_ERRORS, PERSISTENCE_LATENCY, PERSISTENCE_THROTTLED,
    HISTORY_THROTTLED, HISTORY_LATENCY, SHARD_CHURN,
    WORKFLOW_TASK_FAILURES, WORKFLOW_TASK_ATTEMPTS, ACTIVITY_FAILURES, ACTIVITY_TIMEOUTS, APPLICATION_FAILURES,
    SYSTEM_WORKERS_MISSING, QUERIES_UNANSWERED, LISTS_FAILING,
)  # fmt: skip
