"""The four ways to critical (frontend unreachable, requests rejected, work stalled, falling behind), and a stall of a
queue too small to make the cluster critical, and of workers that run and do not poll."""

from whenever import Instant

from copilot.rules.flow import AGES, PROGRESS, Flow
from copilot.rules.gates.context import (
    UNSERVED_SHARE,
    Effect,
    Gate,
    GateContext,
    clear,
    flow_evidence,
    lost,
    measured,
    of_queue,
    unjudged,
    without,
)
from copilot.rules.memory import QueueMemory
from copilot.rules.model import GateResult, Severity
from copilot.rules.signals.readings import Signals
from copilot.rules.signals.taxonomy import CREATES_WORK

STORED_TASKS = 3
FEW = 2
_STALL_IDS = ("demand.tasks_added_per_sec", "matching.tasks_dispatched_per_sec")
STUCK_IN_HISTORY = "stuck_in_history"
UNANSWERED = "unanswered"
STOPPED = "stopped"
ONE_QUEUE = "one_queue"
CUT_OFF = "cut_off"
REACHABLE = "frontend.reachable"
POLL_FAILURES = "worker_poll.long_poll_failures_per_sec"
POLLER_FAILS_EVERY_SEC = 120.0
LAST_POLLS_SEC = 90.0
DB_ERRORS = "persistence.error_rate_per_sec"
MISTAKES, ALL_ERRORS = "clients.mistakes_per_sec", "clients.all_errors_per_sec"
LATENCY = "frontend.latency_p99_ms"
FOLLOWS = 0.5
KEEPS_UP = 0.95


def _frontend_unreachable(context: GateContext) -> GateResult:
    """`frontend.reachable` is 0: the frontend does not answer its health check. Where nothing asks it, workers tell."""
    signals = context.signals
    if lacking := without(context, (REACHABLE,)):
        if not cut_off(signals):
            return lacking
        failures = signals.value(POLL_FAILURES) or 0.0
        return GateResult(fired=True, value=failures, unit="1/s", evidence={POLL_FAILURES: failures}, aspect=CUT_OFF)
    reachable = signals.value(REACHABLE) or 0.0
    return GateResult(fired=reachable < 1, value=reachable, threshold=1.0, unit="bool", evidence={REACHABLE: reachable})


def cut_off(signals: Signals) -> bool:
    """Whether workers show that the server is away: none of its pages is read though theirs are, they execute nothing,
    and each of their pollers fails at least every two minutes. A frozen server lets a poll fail after about a minute."""
    if signals.value(REACHABLE) is not None or signals.targets.get("server") != 0 or not signals.targets.get("worker"):
        return False
    pollers = sum(signals.value(f"workers.{kind}_pollers") or 0.0 for kind in ("workflow", "activity"))
    idle = all(signals.value(f"workers.{kind}_execution_p95_ms") is None for kind in ("wft", "activity"))
    return idle and pollers > 0 and (signals.value(POLL_FAILURES) or 0.0) * POLLER_FAILS_EVERY_SEC >= pollers


def server_away(signals: Signals) -> bool:
    """Whether the frontend does not answer its health check, or workers show that the server is away."""
    return signals.value(REACHABLE) == 0 or cut_off(signals)


def _few_rejected(context: GateContext) -> bool:
    """Whether too few requests failed to count, whatever was not read: requests that create work are among all that
    failed and all that were refused."""
    signals = context.signals
    rejected = signals.value("demand.rejected_per_sec")
    failed, refused = signals.value("frontend.error_rate_per_sec"), signals.value("frontend.throttled_per_sec")
    if rejected is None and failed is not None and refused is not None:
        rejected = failed + refused
    return rejected is not None and rejected * context.window_sec < context.thresholds.requests_rejected_min


def unanswered(signals: Signals) -> float:
    """Requests that create work and were begun but not answered in the window (1/s): neither errors nor latencies. 0
    where that cannot be read: no answer at all while work follows means that answers are not counted."""
    requests, answered = (signals.value(f"demand.{which}_per_sec") for which in ("requests", "answered"))
    if requests is None or answered is None:
        return 0.0
    uncounted = answered == 0 and (signals.value("state_transitions.throughput_per_sec") or 0.0) >= FOLLOWS * requests
    return 0.0 if uncounted else max(0.0, requests - answered)


def _not_found(context: GateContext) -> float:
    """Requests whose namespace was not found because the database did not say (1/s); else that is the client's error."""
    signals = context.signals
    if not any(r.labels.get("operation", "").startswith("GetNamespace") for r in signals.rows(DB_ERRORS)):
        return 0.0
    rows = (r for r in signals.rows(MISTAKES) if r.label("error_type").endswith("NamespaceNotFound"))
    return sum(row.value for row in rows if row.labels.get("operation") in CREATES_WORK.split("|"))


def _failing_in_all(context: GateContext) -> float:
    """Requests that create work and fail (1/s), where errors are counted without saying whose they are (Temporal Cloud).
    They are the server's where no work is completed while workers poll, and answers are slow: a client's mistake is
    answered at once, and other work goes on beside it."""
    signals, slow_ms = context.signals, context.thresholds.frontend_latency_p99_ms / 2
    failed = signals.value(ALL_ERRORS)
    if not failed or signals.mentions("frontend.error_rate_per_sec"):
        return 0.0
    done = any(signals.value(i) for i in PROGRESS)
    if done or not signals.value("poller.pending_polls") or (signals.value(LATENCY) or 0.0) < slow_ms:
        return 0.0
    rows = signals.rows(ALL_ERRORS)
    return sum(r.value for r in rows if r.labels.get("operation") in CREATES_WORK.split("|")) if rows else failed


def _requests_rejected(context: GateContext) -> GateResult:
    """`demand.rejected_per_sec` + (`demand.requests_per_sec` − `demand.answered_per_sec`) over
    `demand.requests_per_sec` ≥ `requests_rejected_share`, and at least `requests_rejected_min` of them in a window:
    requests that create work fail by the server's fault, or are not answered. A namespace that is not found while the
    database fails to read it counts as rejected. Of Temporal Cloud, whose `clients.all_errors_per_sec` has the clients'
    mistakes in it, all failures count while no work is completed and answers are slow."""
    ids = ("demand.rejected_per_sec", "demand.requests_per_sec")
    hanging, not_found = unanswered(context.signals), _not_found(context)
    few = (hanging + not_found) * context.window_sec < context.thresholds.requests_rejected_min
    if (lacking := without(context, ids)) and not (few and _few_rejected(context)):
        return lacking
    rejected, requests = (context.signals.value(i) or 0.0 for i in ids)
    failed = rejected + hanging + not_found + (in_all := _failing_in_all(context))
    limit = context.thresholds.requests_rejected_share
    share = min(1.0, failed / requests) if requests > 0 else (1.0 if failed > 0 else 0.0)
    enough = failed * context.window_sec >= context.thresholds.requests_rejected_min
    evidence = {ids[0]: rejected, ids[1]: requests, **({ALL_ERRORS: in_all} if in_all else {})}
    aspect = UNANSWERED if hanging > failed / 2 else ""
    if aspect:
        evidence["demand.answered_per_sec"] = requests - hanging
    return GateResult(
        fired=share >= limit and enough,
        value=share,
        threshold=limit,
        margin=(limit - share) / limit if enough or share < limit else None,
        unit="ratio",
        evidence=evidence,
        aspect=aspect,
    )


def _work_stalled(context: GateContext) -> GateResult:
    """Dispatch rate < `stalled_dispatch_share` of the add rate (of the backlog over a window when nothing is added)
    while there is a backlog that does not shrink, on the cluster or on queues that together carry at least
    `queue_share_critical`; or requests create work and history completes next to none of its tasks. Left-over queues
    with random names do not count."""
    return _worst_stall(context, critical=True)


def _queue_stalled(context: GateContext) -> GateResult:
    """The same as `work_stalled` on queues that carry less than `queue_share_critical`."""
    return _worst_stall(context, critical=False)


def _worst_stall(context: GateContext, *, critical: bool) -> GateResult:
    lacking = without(context, _STALL_IDS)
    stuck = _stuck_in_history(context) if critical else None
    if _no_backlog(context):
        return stuck or clear("ratio")
    certain = stuck if stuck is not None and stuck.fired else None
    if lacking is not None and lacking.unjudged != "no_traffic":
        return certain or lacking
    judged = [(flow, *_stalled(context, flow)) for flow in context.flows]
    stalled = {flow.key: share for flow, stalls, share in judged if stalls}
    together = sum(context.share(f) for f in context.flows[1:] if f.key in stalled and not context.left_over(f))
    big = context.cluster.key in stalled or together >= context.thresholds.queue_share_critical
    if stalled and big is critical:
        first = next(flow for flow in context.flows if flow.key in stalled)
        return _stall_result(context, first, stalled[first.key])
    if critical and all(stalls is None for _, stalls, _ in judged):
        return certain or unjudged("missing")
    inferred = ("poller.recent_pollers",) if any(stalls is None for _, stalls, _ in judged) else ()
    return stuck or lost(context, ("matching.backlog_count", *AGES, *inferred)) or clear("ratio")


def _no_backlog(context: GateContext) -> bool:
    """Whether what was read shows that nothing can be stalled, whatever was not read."""
    signals = context.signals
    ages = [signals.value(i) for i in AGES]
    young = all(a is not None and a < context.window_sec / 2 for a in ages)
    spooled = signals.value("matching.tasks_spooled_per_sec")
    few = spooled is not None and spooled * context.window_sec < STORED_TASKS
    described = context.cluster.has_api_stats and all(f.has_api_stats for f in context.queues.values() if f.spooled)
    backlog = signals.value("matching.backlog_count")
    unloaded = (context.cluster.backlog or 0.0) > (backlog or 0.0)
    return not unloaded and (young or backlog == 0) and (few or described)


def _stalled(context: GateContext, flow: Flow) -> tuple[bool | None, float | None]:
    """Whether the flow has a backlog that is not dispatched (None: unknown), and the share of demand dispatched."""
    if flow.dispatch_rate is None or flow.add_rate is None or (flow.backlog is None and flow.spooled is None):
        return None, None
    if not _has_backlog(context, flow):
        return False, None
    demand = flow.add_rate if flow.add_rate > 0 else (flow.backlog or 0.0) / context.window_sec
    share = flow.dispatch_rate / demand if demand > 0 else 1.0
    before = context.remembered(flow).backlog
    shrinks = flow.backlog is not None and before is not None and flow.backlog < before
    return share < context.thresholds.stalled_dispatch_share and not shrinks, share


def _has_backlog(context: GateContext, flow: Flow) -> bool:
    """Whether there is a backlog to speak of. A task proves nothing before it is half a window old. Gauges lag by up to
    a minute: where the API did not describe the flow, three tasks stored in the window are a backlog too (no poller
    took them, or the dispatch rate would not be as low as a stall needs)."""
    if (flow.backlog or 0.0) > 0 and (flow.backlog_age_sec is None or flow.backlog_age_sec >= context.window_sec / 2):
        return True
    return not flow.has_api_stats and (flow.spooled or 0.0) * context.window_sec >= STORED_TASKS


def _stall_result(context: GateContext, flow: Flow, share: float | None) -> GateResult:
    limit = context.thresholds.stalled_dispatch_share
    aspect = "" if flow.backlog else "stored"
    result = measured(share or 0.0, limit, "ratio", flow_evidence(flow), fired=True, low=True, aspect=aspect)
    return of_queue(result, flow, context)


def _stuck_in_history(context: GateContext) -> GateResult | None:
    """Requests create work, history tries and completes next to nothing, so nothing even reaches the task queues. None:
    that is not so. An unjudged result: what was read cannot tell."""
    if nothing_follows := _nothing_follows(context):
        return nothing_follows
    signals, limit = context.signals, context.thresholds.stalled_dispatch_share
    ids = (
        "demand.starts_per_sec",
        "demand.requests_per_sec",
        "matching.tasks_dispatched_per_sec",
        "history.task_processing_rate_per_sec",
        "history.tasks_acked_per_sec",
    )
    starts, requests, dispatched, tried, acked = values = [signals.value(i) for i in ids]
    demand = max((v for v in (starts, requests) if v is not None), default=0.0)
    excluded = (
        (None not in (starts, requests) and demand * context.window_sec < FEW)
        or (tried is not None and tried * context.window_sec < FEW)
        or (None not in (starts, requests) and dispatched is not None and dispatched >= limit * demand)
        or (tried is not None and acked is not None and acked >= limit * tried)
    )
    if excluded:
        return None
    if dispatched is None or None in values:
        return without(context, ids)
    evidence = {i: v for i, v in zip(ids, values, strict=True) if v is not None}
    return measured(dispatched / demand, limit, "ratio", evidence, fired=True, low=True, aspect=STUCK_IN_HISTORY)


def _nothing_follows(context: GateContext) -> GateResult | None:
    """Workflows are started and hardly any state transition follows, though each start is one, nor any other progress:
    starts are refused, or hang, in a way that no error and no latency shows. Starts that clients got wrong are left
    out. None: not so. An unjudged result: the transitions were lost, so no one can say."""
    signals, of_history = context.signals, "state_transitions.throughput_per_sec"
    starts, transitions = signals.value("demand.starts_per_sec"), signals.value(of_history)
    if starts is None:
        return None
    progress = max(transitions or 0.0, *(signals.value(i) or 0.0 for i in PROGRESS))
    wanted = starts - max(0.0, (signals.value(MISTAKES) or 0.0) - _not_found(context))
    if wanted * context.window_sec < context.thresholds.requests_rejected_min or progress >= FOLLOWS * wanted:
        return None
    if transitions is None:
        return lost(context, (of_history,))
    ids = (
        *_STALL_IDS,
        "demand.requests_per_sec",
        "history.task_processing_rate_per_sec",
        "history.tasks_acked_per_sec",
    )
    evidence = {i: v for i in ids if (v := signals.value(i)) is not None}
    return measured(progress / wanted, FOLLOWS, "ratio", evidence, fired=True, low=True, aspect=STUCK_IN_HISTORY)


def _polls_lost(context: GateContext) -> GateResult:
    """`poller.pending_polls` and `matching.tasks_dispatched_per_sec` are 0 while as many workers' pages are read as when
    there were polls: the workers run and do not reach the server. Or no worker's page tells, and `demand.requests_per_sec`
    is 0 too, though there were requests until the last poll: a quiet night ends the requests first. Or the same of one
    queue that carried at least a twentieth of the work, while others go on."""
    ids = ("poller.pending_polls", "matching.tasks_dispatched_per_sec")
    if lacking := without(context, ids):
        return lacking
    polls, dispatched = (context.signals.value(i) or 0.0 for i in ids)
    before, workers = context.memory.polling_workers, context.signals.targets.get("worker", 0)
    still, evidence = polls == 0 and dispatched == 0, dict(zip(ids, (polls, dispatched), strict=True))
    if still and not workers and _stopped_at_once(context):
        return GateResult(fired=True, value=polls, unit="count", evidence=evidence, aspect=STOPPED)
    fired = still and before is not None and 0 < before <= workers
    if not fired and (lost_queue := next((f for f in context.flows[1:] if _lost_polls(f, context)), None)):
        result = GateResult(fired=True, value=0.0, unit="count", evidence=flow_evidence(lost_queue), aspect=ONE_QUEUE)
        return of_queue(result, lost_queue, context)
    return GateResult(fired=fired, value=polls, unit="count", evidence=evidence)


def _lost_polls(flow: Flow, context: GateContext) -> bool:
    """Whether a queue that carried a part of the work lost its polls and its workflow tasks at the same time, within a
    day, while as many workers' pages are read as then: its workers run and do not reach the server. Workers that are full
    of activities go on polling for workflow tasks."""
    past, workers = context.remembered(flow), context.signals.targets.get("worker", 0)
    if flow.task_type != "workflow" or not flow.task_queue or flow.pending_polls != 0:
        return False
    if flow.dispatch_rate != 0 or flow.add_rate != 0 or flow.backlog or flow.pollers:
        return False
    if past.last_polled is None or past.last_added is None or not past.workers or past.workers > workers:
        return False
    part = (past.usual_share or 0.0) >= UNSERVED_SHARE
    together = abs((past.last_polled - past.last_added).total("seconds")) <= LAST_POLLS_SEC
    return (
        part
        and together
        and (context.now - past.last_polled).total("seconds") <= context.thresholds.abandoned_after_sec
    )


def _stopped_at_once(context: GateContext) -> bool:
    """Whether nothing is requested and there is no backlog, and there were requests until a long poll's length before
    the last poll, within a day."""
    polled, wanted = context.memory.polled_at, context.memory.requested_at
    busy = context.signals.value("demand.requests_per_sec") or context.cluster.backlog or context.cluster.spooled
    if busy or polled is None or wanted is None or (polled - wanted).total("seconds") > LAST_POLLS_SEC:
        return False
    return (context.now - polled).total("seconds") <= context.thresholds.abandoned_after_sec


def _falling_behind(context: GateContext) -> GateResult:
    """The oldest task is older than `falling_behind_age_sec` and its age rises over the last 90 s, while the dispatch
    rate is below 95 % of the add rate (less may be one partition of many), on queues that together carry at least
    `queue_share_critical` (on the cluster, where no queue is known)."""
    limit = context.thresholds.falling_behind_age_sec
    lacking = without(context, _STALL_IDS)
    ages = [context.signals.value(i) for i in AGES]
    if all(a is not None and a <= limit for a in ages) or context.signals.value("matching.backlog_count") == 0:
        return measured(max(a or 0.0 for a in ages), limit, "s", {}, fired=False)
    if lacking is not None and lacking.unjudged != "no_traffic":
        return lacking
    flows = [f for f in context.flows if not context.left_over(f)]
    known = [f for f in flows if None not in (f.backlog_age_sec, f.add_rate, f.dispatch_rate)]
    judged = [f for f in known if f is not context.cluster] or known
    if not judged:
        return unjudged("missing")
    behind = [f for f in judged if _behind(context, f)]
    if behind and sum(context.share(f) for f in behind) >= context.thresholds.queue_share_critical:
        first = behind[0]
        result = measured(first.backlog_age_sec or 0.0, limit, "s", flow_evidence(first), fired=True)
        return of_queue(result, first, context)
    if unsure := lost(context, AGES):
        return unsure
    if behind:
        return clear("s")
    return measured(max(f.backlog_age_sec or 0.0 for f in judged), limit, "s", {}, fired=False)


def _behind(context: GateContext, flow: Flow) -> bool:
    """Whether a flow's oldest task is too old and getting older while fewer tasks are dispatched than added."""
    age = flow.backlog_age_sec or 0.0
    grows = rising(age, context.remembered(flow), context.now)
    behind = (flow.dispatch_rate or 0.0) < KEEPS_UP * (flow.add_rate or 0.0)
    return age > context.thresholds.falling_behind_age_sec and grows and behind


def rising(age: float, before: QueueMemory, now: Instant) -> bool:
    """Whether the age has grown over the last minute and a half by more than noise: a second or 2 %, and for an age of
    which 2 % take long to grow, a twentieth of the time it was watched."""
    if not before.ages:
        return False
    since, then = before.ages[0]
    return age - then > max(1.0, min(0.02 * age, 0.05 * (now - since).total("seconds")))


FRONTEND_UNREACHABLE = Gate(
    "frontend_unreachable", _frontend_unreachable, "frontend",
    sees={"": "the frontend does not answer its health check",
        CUT_OFF: "no page of the server is read, and the workers' polls fail ({value:brief}/s)"},
    clear="the frontend answers its health check",
    began="the frontend stopped answering",
    recovered_when="the frontend answers",
    worst=Severity.CRITICAL, immediate=True, blocks=True, effect=Effect.REFUSES,
)  # fmt: skip
REQUESTS_REJECTED = Gate(
    "requests_rejected", _requests_rejected, "frontend",
    sees={
        "": "{value:percent} of {demand.requests_per_sec:per_sec request} that create work fail with server errors",
        UNANSWERED: "{value:percent} of {demand.requests_per_sec:per_sec request} that create work are not answered",
    },
    clear="[{value:percent} of {demand.requests_per_sec:per_sec request} that create work fail with server errors]",
    began="requests were rejected",
    recovered_when="requests are accepted again",
    worst=Severity.CRITICAL, immediate=True, counts_events=True, blocks=True, effect=Effect.REFUSES,
)  # fmt: skip
_RATES = "[: {demand.tasks_added_per_sec:rate} added, {matching.tasks_dispatched_per_sec:rate} dispatched]"
_STALLED = {
    "": "{matching.backlog_count:count task} in the backlog[ of {queue}]"
    "[, the oldest {matching.backlog_age_sec:span} old]" + _RATES,
    "stored": "tasks are stored and not dispatched[ on {queue}]" + _RATES,
    STUCK_IN_HISTORY: "{demand.requests_per_sec:per_sec request} create work, and history completes "
    "{history.tasks_acked_per_sec:brief} of {history.task_processing_rate_per_sec:brief} task attempts/s; "
    "{matching.tasks_dispatched_per_sec:per_sec task} dispatched",
}
_DISPATCHED_AGAIN = "the backlog[ on {queue}] is dispatched"
WORK_STALLED = Gate(
    "work_stalled", _work_stalled, "matching",
    sees=_STALLED,
    clear="work is dispatched",
    began="work was no longer dispatched",
    recovered_when=_DISPATCHED_AGAIN,
    worst=Severity.CRITICAL, immediate=True, effect=Effect.BACKLOG,
)  # fmt: skip
FALLING_BEHIND = Gate(
    "falling_behind", _falling_behind, "matching",
    sees="the oldest task[ on {queue}] is {value:span} old and aging" + _RATES,
    clear="the oldest task is {value:span} old",
    began="the backlog grew too old",
    recovered_when="the oldest task[ on {queue}] is younger than {threshold:span}",
    worst=Severity.CRITICAL, effect=Effect.BACKLOG,
    covered_by=frozenset({WORK_STALLED.name, "queue_stalled"}),
)  # fmt: skip
QUEUE_STALLED = Gate(
    "queue_stalled", _queue_stalled, "matching",
    sees=_STALLED,
    clear="no small queue is stalled",
    began="a queue was no longer dispatched",
    recovered_when=_DISPATCHED_AGAIN,
    effect=Effect.BACKLOG,
    covered_by=frozenset({WORK_STALLED.name}),
)  # fmt: skip

POLLS_LOST = Gate(
    "polls_lost", _polls_lost, "workers",
    sees={"": "workers run and none of them polls", STOPPED: "requests and polls stopped at the same time",
        ONE_QUEUE: "workflow tasks and polls stopped at the same time[ on {queue}]"},
    clear="workers poll",
    began="workers stopped polling",
    recovered_when="workers poll again",
    effect=Effect.BACKLOG,
)  # fmt: skip

GATES = (FRONTEND_UNREACHABLE, REQUESTS_REJECTED, WORK_STALLED, FALLING_BEHIND, QUEUE_STALLED, POLLS_LOST)
