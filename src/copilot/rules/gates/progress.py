"""The four ways to Critical of requirements §3.1 (unreachable, turned away, stalled, falling behind), and a stall of a
queue that carries too little to make the cluster critical."""

from whenever import Instant

from copilot.explain.numbers import brief, count, per_sec, percent, rate, served_words, span
from copilot.rules.flow import AGES, Flow
from copilot.rules.gates.context import View, flow_evidence, lost, measured, of_queue, unjudged, without
from copilot.rules.memory import QueueMemory
from copilot.rules.model import GateResult, Severity

STORED_TASKS = 3
FEW = 2


def _stalled(view: View, flow: Flow) -> tuple[bool | None, float | None]:
    """Whether the flow's work waits and is not served; and the share of it that is served.

    Served < 10 % of what arrives (of what waits, when nothing arrives), and what waits does not shrink."""
    if flow.served is None or flow.arrives is None or (flow.waiting is None and flow.spooled is None):
        return None, None
    if not _waits(view, flow):
        return False, None
    demand = flow.arrives if flow.arrives > 0 else (flow.waiting or 0.0) / view.window_sec
    share = flow.served / demand if demand > 0 else 1.0
    before = view.past(flow).waiting
    shrinks = flow.waiting is not None and before is not None and flow.waiting < before
    return share < view.thresholds.stalled_served_share and not shrinks, share


def _waits(view: View, flow: Flow) -> bool:
    """Whether work waits. A task proves nothing before it has waited half a window. Gauges lag by up to a minute: where
    the API did not describe the flow, three tasks stored in the window wait too (nobody took them, or served would not
    be as low as a stall needs)."""
    if (flow.waiting or 0.0) > 0 and (flow.age is None or flow.age >= view.window_sec / 2):
        return True
    return not flow.described and (flow.spooled or 0.0) * view.window_sec >= STORED_TASKS


def _stall_result(view: View, name: str, severity: Severity, flow: Flow, share: float | None) -> GateResult:
    threshold = view.thresholds.stalled_served_share
    value = share or 0.0
    stored = (flow.spooled or 0.0) * view.window_sec
    many = flow.waiting or stored
    waits = ("waits" if round(many) == 1 else "wait") if flow.waiting else "were stored"
    age = f", the oldest for {span(flow.age)}" if flow.age else ""
    rates = f"{rate(flow.arrives or 0.0)} arrive and {served_words(flow.served)}"
    where = "in the cluster" if flow is view.cluster else f"on {flow.name if flow.task_type else flow.task_queue}"
    sentence = f"{count(many, 'task')} {waits} {where}{age}: {rates}"
    result = measured(name, severity, value, threshold, "ratio", sentence, flow_evidence(flow), fired=True, low=True)
    return of_queue(result, flow, view)


_STALL_IDS = ("demand.tasks_added_per_sec", "matching.tasks_dispatched_per_sec")


def work_stalled(view: View) -> GateResult:
    """Stalled: work waits and is not served, on the cluster or on queues that carry a good part of it."""
    return _worst_stall(view, "work_stalled", Severity.CRITICAL)


def queue_stalled(view: View) -> GateResult:
    """The same on queues that carry too little to make the cluster critical."""
    return _worst_stall(view, "queue_stalled", Severity.WARNING)


def _worst_stall(view: View, name: str, severity: Severity) -> GateResult:
    lacking = without(view, name, severity, _STALL_IDS)
    if _nothing_waits(view):
        stuck = _stuck_in_history(view) if severity is Severity.CRITICAL else None
        return stuck or GateResult(name=name, severity=severity, fired=False, unit="ratio", sentence="nothing waits")
    if lacking is not None and lacking.unjudged != "no_traffic":
        return lacking
    judged = [(flow, *_stalled(view, flow)) for flow in view.flows]
    stalled = {flow.key: share for flow, stalls, share in judged if stalls}
    together = sum(view.share(f) for f in view.flows[1:] if f.key in stalled)
    big = view.cluster.key in stalled or together >= view.thresholds.queue_share_critical
    if stalled and big is (severity is Severity.CRITICAL):
        first = next(flow for flow in view.flows if flow.key in stalled)
        return _stall_result(view, name, severity, first, stalled[first.key])
    unknown = all(stalls is None for _, stalls, _ in judged)
    if unknown and severity is Severity.CRITICAL:
        return unjudged(name, severity, "missing", "nothing says what waits")
    stuck = _stuck_in_history(view) if severity is Severity.CRITICAL else None
    inferred = ("poller.recent_pollers",) if any(stalls is None for _, stalls, _ in judged) else ()
    if unsure := stuck or lost(view, name, severity, ("matching.backlog_count", *AGES, *inferred)):
        return unsure
    sentence = "what arrives is served" if severity is Severity.CRITICAL else "no small queue is left unserved"
    return GateResult(name=name, severity=severity, fired=False, unit="ratio", sentence=sentence)


def _nothing_waits(view: View) -> bool:
    """Whether what was read shows that nothing can be stalled, whatever was not read."""
    signals = view.signals
    ages = [signals.value(i) for i in AGES]
    young = all(a is not None and a < view.window_sec / 2 for a in ages)
    spooled = signals.value("matching.tasks_spooled_per_sec")
    few = spooled is not None and spooled * view.window_sec < STORED_TASKS
    described = view.cluster.described and all(f.described for f in view.queues.values() if f.spooled)
    return (young or signals.value("matching.backlog_count") == 0) and (few or described)


def _stuck_in_history(view: View) -> GateResult | None:
    """Work is asked for, history tries and finishes next to nothing, so nothing even reaches the task queues. None:
    that is not so. A result that is not judged: what was read cannot tell."""
    signals, limit = view.signals, view.thresholds.stalled_served_share
    ids = (
        "demand.starts_per_sec",
        "demand.requests_per_sec",
        "matching.tasks_dispatched_per_sec",
        "history.task_processing_rate_per_sec",
        "history.tasks_acked_per_sec",
    )
    starts, requests, served, tried, acked = values = [signals.value(i) for i in ids]
    asked = max((v for v in (starts, requests) if v is not None), default=0.0)
    excluded = (
        (None not in (starts, requests) and asked * view.window_sec < FEW)
        or (tried is not None and tried * view.window_sec < FEW)
        or (None not in (starts, requests) and served is not None and served >= limit * asked)
        or (tried is not None and acked is not None and acked >= limit * tried)
    )
    if excluded:
        return None
    if starts is None or requests is None or served is None or tried is None or acked is None:
        return without(view, "work_stalled", Severity.CRITICAL, ids)
    evidence = {i: v for i, v in zip(ids, values, strict=True) if v is not None}
    history = f"history finishes {brief(acked)} of {brief(tried)} task attempts/s"
    sentence = f"{per_sec(asked, 'request')} that bring work arrive; {history} and {served_words(served)}"
    return measured(
        "work_stalled", Severity.CRITICAL, served / asked, limit, "ratio", sentence, evidence, fired=True, low=True
    )


def _rising(age: float, past: QueueMemory, now: Instant) -> bool:
    """Whether the age has grown over the last minute and a half by more than noise: a second or 2 %, and of an age so
    great that 2 % of it takes long to grow by, a twentieth of the time it was watched."""
    if not past.ages:
        return False
    since, before = past.ages[0]
    return age - before > max(1.0, min(0.02 * age, 0.05 * (now - since).total("seconds")))


def _oldest(age: float) -> str:
    return f"the oldest task waits {span(age)}" if age > 0 else "nothing waits"


def falling_behind(view: View) -> GateResult:
    """Falling behind: served < arrivals, and the oldest task's age is over two minutes and rising, on queues that carry
    a good part of the work (on the cluster, where nothing is known of queues)."""
    name, severity, limit = "falling_behind", Severity.CRITICAL, view.thresholds.falling_behind_age_sec
    lacking = without(view, name, severity, _STALL_IDS)
    ages = [view.signals.value(i) for i in AGES]
    young = all(a is not None and a <= limit for a in ages) or view.signals.value("matching.backlog_count") == 0
    if young:
        age = max(a or 0.0 for a in ages)
        return measured(name, severity, age, limit, "s", _oldest(age), {}, fired=False)
    if lacking is not None and lacking.unjudged != "no_traffic":
        return lacking
    known = [f for f in view.flows if f.age is not None and f.arrives is not None and f.served is not None]
    judged = [f for f in known if f is not view.cluster] or known
    if not judged:
        return unjudged(name, severity, "missing", "nothing says how old the waiting work is")
    behind = [f for f in judged if _behind(view, f)]
    if behind and sum(view.share(f) for f in behind) >= view.thresholds.queue_share_critical:
        flow, age = behind[0], behind[0].age or 0.0
        rates = f"{rate(flow.arrives or 0.0)} arrive, {served_words(flow.served)}"
        where = flow.name if flow.task_type else flow.task_queue
        sentence = f"the oldest task on {where} waits {span(age)} and rising: {rates}"
        result = measured(name, severity, age, limit, "s", sentence, flow_evidence(flow), fired=True)
        return of_queue(result, flow, view)
    if unsure := lost(view, name, severity, AGES):
        return unsure
    if behind:
        said = f"too little falls behind: {', '.join(sorted({f.task_queue for f in behind}))}"
        return GateResult(name=name, severity=severity, fired=False, unit="s", sentence=said)
    age = max(f.age or 0.0 for f in judged)
    return measured(name, severity, age, limit, "s", _oldest(age), {}, fired=False)


def _behind(view: View, flow: Flow) -> bool:
    """Whether a flow's oldest task is too old and getting older while less is served than arrives."""
    old = (flow.age or 0.0) > view.thresholds.falling_behind_age_sec
    return old and _rising(flow.age or 0.0, view.past(flow), view.now) and (flow.served or 0.0) < (flow.arrives or 0.0)


def _few_rejected(view: View) -> bool:
    """Whether too few requests failed to speak of turning away, whatever was not read: those that bring work are among
    all that failed and all that were refused."""
    signals = view.signals
    rejected = signals.value("demand.rejected_per_sec")
    failed, refused = signals.value("frontend.error_rate_per_sec"), signals.value("frontend.throttled_per_sec")
    if rejected is None and failed is not None and refused is not None:
        rejected = failed + refused
    return rejected is not None and rejected * view.window_sec < view.thresholds.turned_away_min_requests


def turned_away(view: View) -> GateResult:
    """Turned away: at least half of the requests that bring work fail by the server's fault."""
    name, severity = "turned_away", Severity.CRITICAL
    ids = ("demand.rejected_per_sec", "demand.requests_per_sec")
    if (lacking := without(view, name, severity, ids)) and not _few_rejected(view):
        return lacking
    rejected, requests = view.signals.value(ids[0]) or 0.0, view.signals.value(ids[1]) or 0.0
    limit = view.thresholds.turned_away_share
    share = min(1.0, rejected / requests) if requests > 0 else (1.0 if rejected > 0 else 0.0)
    enough = rejected * view.window_sec >= view.thresholds.turned_away_min_requests
    return GateResult(
        name=name,
        severity=severity,
        fired=share >= limit and enough,
        value=share,
        threshold=limit,
        margin=(limit - share) / limit if enough or share < limit else None,
        unit="ratio",
        sentence=f"{percent(share)} of {per_sec(requests, 'request')} that bring work fail by the server's fault",
        evidence={ids[0]: rejected, ids[1]: requests},
    )


def unreachable(view: View) -> GateResult:
    """Unreachable: the frontend does not answer its health check."""
    name, severity, signal_id = "unreachable", Severity.CRITICAL, "frontend.reachable"
    if lacking := without(view, name, severity, (signal_id,)):
        return lacking
    reachable = view.signals.value(signal_id) or 0.0
    return GateResult(
        name=name,
        severity=severity,
        fired=reachable < 1,
        value=reachable,
        threshold=1.0,
        unit="bool",
        sentence="the frontend answers" if reachable >= 1 else "the frontend does not answer its health check",
        evidence={signal_id: reachable},
    )
