"""Gates that stress and never more: work waits, answers are slow, things fail or are refused."""

from dataclasses import replace

from copilot.explain.numbers import measure, per_sec, percent, rate, served_words, span
from copilot.rules.flow import AGES, Flow
from copilot.rules.gates.context import (
    ATTEMPTS,
    COMFORT,
    View,
    flow_evidence,
    lost,
    measured,
    of_queue,
    over,
    unjudged,
    without,
)
from copilot.rules.model import GateResult, Severity
from copilot.rules.thresholds import Tolerance

STORED_TASKS = 5


def work_piling_up(view: View) -> GateResult:
    """More is stored on a queue than is served: work piles up, though no gauge may say so yet (requirements §3.0)."""
    name, limit = "work_piling_up", view.thresholds.piling_up_share
    ids = ("demand.tasks_added_per_sec", "matching.tasks_dispatched_per_sec", "matching.tasks_spooled_per_sec")
    flows = [f for f in view.queues.values() if not view.abandoned(f)] or [view.cluster]
    if ageing := _ageing(view, flows):
        return ageing
    if lacking := without(view, name, Severity.WARNING, ids):
        return lacking
    shares = {f.key: _left_share(f, view.window_sec) for f in flows}
    worst = max(flows, key=lambda f: shares[f.key])
    share = shares[worst.key]
    if share <= limit:
        unsure = _ageing_unseen(view)
        return unsure or measured(
            name, Severity.WARNING, share, limit, "ratio", "what is stored is served", {}, fired=False
        )
    rates = f"{rate(worst.arrives or 0.0)} arrive, {served_words(worst.served)}, the rest is stored"
    sentence = f"work piles up on {worst.name if worst.task_type else worst.task_queue}: {rates}"
    result = measured(name, Severity.WARNING, share, limit, "ratio", sentence, flow_evidence(worst), fired=True)
    return of_queue(result, worst, view)


def _left_share(flow: Flow, window_sec: float) -> float:
    """The share of what arrives that is not served; 0 where too little was stored in the window to tell, or nothing
    waits any more."""
    drained = flow.described and flow.waiting == 0
    if not flow.arrives or flow.served is None or drained or (flow.spooled or 0.0) * window_sec < STORED_TASKS:
        return 0.0
    return max(0.0, 1.0 - flow.served / flow.arrives)


def _ageing(view: View, flows: list[Flow]) -> GateResult | None:
    """The same seen by the oldest task's age, which needs no volume and no rate: in a queue served in order it grows,
    in seconds a second, by the share of what arrives that is not served. It must have waited half a window. None: no
    queue is seen to age so. Gauges that lag are not asked."""
    limit, window = view.thresholds.piling_up_share, view.window_sec
    old = [f for f in flows if f.age is not None and f.age >= window / 2] if view.cluster.described else []
    shares = [(view.past(f).ageing(f.age, window, view.now) or 0.0, f) for f in old]
    share, worst = max(shares, key=lambda found: found[0], default=(0.0, view.cluster))
    if share <= limit:
        return None
    where = worst.name if worst.task_type else worst.task_queue
    sentence = f"work piles up on {where}: its oldest task waits {span(worst.age or 0.0)} and ever longer"
    evidence = flow_evidence(worst)
    result = measured("work_piling_up", Severity.WARNING, share, limit, "ratio", sentence, evidence, fired=True)
    return of_queue(result, worst, view)


def _ageing_unseen(view: View) -> GateResult | None:
    """An unjudged result if readings were lost without which nobody can say that no task waits and ages; None where
    what was read suffices for that."""
    signals = view.signals
    ages = [signals.value(i) for i in AGES]
    young = all(age is not None and age < view.window_sec / 2 for age in ages)
    if young or signals.value("matching.backlog_count") == 0:
        return None
    return lost(view, "work_piling_up", Severity.WARNING, (*AGES, "poller.recent_pollers"))


def backlog_age(view: View) -> GateResult:
    """Work waits longer than it should, on any queue that work still arrives on."""
    name, limit = "backlog_age", view.thresholds.backlog_age_sec
    queues = [f for f in view.queues.values() if f.age is not None]
    flows = [f for f in queues if not view.abandoned(f)] if queues else [view.cluster]
    if not queues and view.cluster.age is None:
        return without(view, name, Severity.WARNING, AGES) or unjudged(name, Severity.WARNING, "missing")
    oldest = max(flows, key=lambda f: f.age or 0.0, default=view.cluster)
    age = (oldest.age or 0.0) if flows else 0.0
    where = "" if age == 0 else f" on {oldest.name if oldest.task_type else oldest.task_queue}"
    result = over(
        view,
        name,
        age,
        limit,
        "s",
        f"the oldest waiting task{where} is {span(age)} old" if age > 0 else "nothing waits",
        (),
    )
    if not result.fired and (unsure := lost(view, name, Severity.WARNING, AGES)):
        return unsure
    return replace(result, evidence=flow_evidence(oldest), labels=oldest.labels if queues else {})


def _quantile_gate(view: View, name: str, signal_id: str, limit: float, unit: str, what: str) -> GateResult:
    """A gate on a p99 of finished work: ignored while the outage it may tell of has just ended."""
    if lacking := without(view, name, Severity.WARNING, (signal_id,)):
        return lacking
    value = view.signals.value(signal_id) or 0.0
    if view.recovering:
        return unjudged(name, Severity.WARNING, "recovering", "its p99 still tells of the outage that is over")
    return over(view, name, value, limit, unit, f"{what} {measure(value, unit)} (p99)", (signal_id,))


def frontend_latency(view: View) -> GateResult:
    """Answers are slow."""
    limit = view.thresholds.frontend_latency_p99_ms
    return _quantile_gate(view, "frontend_latency", "frontend.latency_p99_ms", limit, "ms", "answers take")


def persistence_latency(view: View) -> GateResult:
    """The database is slow."""
    limit = view.thresholds.persistence_latency_p99_ms
    return _quantile_gate(view, "persistence_latency", "persistence.latency_p99_ms", limit, "ms", "database calls take")


def history_latency(view: View) -> GateResult:
    """History finishes its tasks late."""
    limit, signal_id = view.thresholds.history_latency_p99_sec, "history.task_queue_latency_p99_sec"
    return _quantile_gate(view, "history_latency", signal_id, limit, "s", "history's tasks are done within")


def _tolerance_gate(
    view: View, name: str, ids: tuple[str, ...], tolerance: Tolerance, demand_id: str, what: tuple[str, str]
) -> GateResult:
    """A gate on the sum of some rates against what is tolerated at the demand there is. What is well within the
    tolerance of no demand at all needs no reading of the demand."""
    read = view.signals.readings.get
    value = sum([read(i) or 0.0 for i in ids])
    few = value <= (1 - COMFORT) * tolerance.at(0.0, view.window_sec)
    if lacking := without(view, name, Severity.WARNING, ids if few else (*ids, demand_id)):
        return lacking
    limit = tolerance.at(view.signals.value(demand_id) or 0.0, view.window_sec)
    return over(view, name, value, limit, "1/s", f"{per_sec(value, what[0])} {what[1]}", (*ids, demand_id))


def frontend_errors(view: View) -> GateResult:
    """Requests fail by the server's fault."""
    ids, of = ("frontend.error_rate_per_sec",), "demand.requests_per_sec"
    return _tolerance_gate(view, "frontend_errors", ids, view.thresholds.frontend_errors, of, ("request", "fail"))


def rate_limited(view: View) -> GateResult:
    """Requests or polls are refused by a rate limit (which no error counter shows)."""
    ids, of = ("frontend.throttled_per_sec",), "demand.requests_per_sec"
    return _tolerance_gate(
        view, "rate_limited", ids, view.thresholds.rate_limited, of, ("request", "are refused, polls among them")
    )


def history_throttled(view: View) -> GateResult:
    """History's own attempts are refused by a limit."""
    ids, of = ("history.throttled_per_sec",), "demand.tasks_added_per_sec"
    return _tolerance_gate(
        view, "history_throttled", ids, view.thresholds.history_throttled, of, ("history task", "are refused")
    )


def persistence_errors(view: View) -> GateResult:
    """Database calls fail."""
    ids, of = ("persistence.error_rate_per_sec",), "demand.requests_per_sec"
    return _tolerance_gate(
        view, "persistence_errors", ids, view.thresholds.persistence_errors, of, ("database call", "fail")
    )


def persistence_throttled(view: View) -> GateResult:
    """Database calls are refused by the server's own limit."""
    ids, of = ("persistence.throttled_per_sec",), "demand.tasks_added_per_sec"
    limit = view.thresholds.persistence_throttled
    return _tolerance_gate(view, "persistence_throttled", ids, limit, of, ("database call", "are refused"))


def shard_churn(view: View) -> GateResult:
    """Shards move."""
    signal_id = "history.shard_churn_rate_per_sec"
    if lacking := without(view, "shard_churn", Severity.WARNING, (signal_id,)):
        return lacking
    value = view.signals.value(signal_id) or 0.0
    sentence = f"{per_sec(value, 'shard')} open or close"
    return over(view, "shard_churn", value, view.thresholds.shard_churn_per_sec, "1/s", sentence, (signal_id,))


def workflow_task_failures(view: View) -> GateResult:
    """Workflow tasks fail or time out in workers: executions are stuck, not failed."""
    ids = ("workflow_tasks.failed_per_sec", "workflow_tasks.timed_out_per_sec")
    of, limit = "demand.tasks_added_per_sec", view.thresholds.workflow_task_failures
    return _tolerance_gate(view, "workflow_task_failures", ids, limit, of, ("workflow task", "fail or time out"))


def workflow_task_attempts(view: View) -> GateResult:
    """Workflow tasks need several attempts: each has failed before, so it takes no volume to tell. Those that failed
    for a minute still count while their next attempt is not due."""
    name, limit = "workflow_task_attempts", view.thresholds.workflow_task_attempts_p99
    seen = _quantile_gate(view, name, ATTEMPTS, limit, "attempts", "workflow tasks need")
    stuck, left = view.memory.stuck_attempts, view.stuck_for_sec
    if seen.fired or seen.unjudged not in (None, "no_traffic") or stuck is None or not left:
        return seen
    sentence = f"workflow tasks failed at attempt {11 if stuck > 10 else 6} or later and are tried again within "
    sentence += span(left)
    return measured(name, Severity.WARNING, stuck, limit, "attempts", sentence, seen.evidence, fired=True)


def activity_failures(view: View) -> GateResult:
    """Activity attempts fail and are retried."""
    ids, of = ("activity_tasks.failed_per_sec",), "demand.tasks_added_per_sec"
    return _tolerance_gate(
        view, "activity_failures", ids, view.thresholds.activity_failures, of, ("activity attempt", "fail")
    )


def application_failures(view: View) -> GateResult:
    """Most workflows that close do so without success: the application's problem (requirements §3.4)."""
    name, rate = "application_failures", "workflow_completion.completion_rate"
    bad = ("workflow_completion.failed_per_sec", "workflow_completion.timed_out_per_sec")
    if lacking := without(view, name, Severity.WARNING, (rate, *bad)):
        return lacking
    value, limit = view.signals.value(rate) or 0.0, view.thresholds.completion_rate
    failed = sum(view.signals.value(i) or 0.0 for i in bad)
    enough = failed * view.window_sec >= view.thresholds.completion_min_closes
    return GateResult(
        name=name,
        severity=Severity.WARNING,
        fired=value < limit and enough,
        value=value,
        threshold=limit,
        margin=(value - limit) / limit if enough or value >= limit else None,
        unit="ratio",
        sentence=f"{percent(value)} of the workflows that closed succeeded",
        evidence={rate: value, **{i: v for i in bad if (v := view.signals.value(i)) is not None}},
    )
