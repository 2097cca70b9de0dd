"""Findings about workers, the load on them, and the code they run."""

from copilot.explain.numbers import brief, per_sec, rate, span, took
from copilot.rules.bottleneck import SERVER_REFUSES, SERVER_SLOW, WORK_WAITS, draining, exhausted_slots, waiting_flows
from copilot.rules.findings.context import Facts, issue, queues_named, waiting_words
from copilot.rules.memory import bursting
from copilot.rules.model import Issue
from copilot.rules.scaling import pollers_over_slots

WAKE_OF_A_BURST_SEC = 300.0
NAMED_QUEUES = 3


def load_burst(facts: Facts) -> Issue | None:
    """Far more workflows are started than usual, or were until a while ago and the work is not done yet. One moment's
    starts stay in their rate for a window: where nothing suffers, only what lasts longer is a burst."""
    view, memory = facts.view, facts.view.memory
    starts, usual = view.signals.value("demand.starts_per_sec"), memory.usual_starts or 0.0
    gates = facts.fired(*WORK_WAITS, "frontend_latency", "persistence_latency", "history_latency")
    since = memory.burst_since
    lasts = since is not None and (view.now - since).total("seconds") >= view.window_sec
    if (lasts or gates) and bursting(memory, starts, view.now, view.window_sec, view.thresholds.burst_factor):
        many = starts or 0.0
        why = f"{per_sec(many, 'workflow start')} arrive where {rate(usual)} are usual."
        if facts.fired("turned_away", "frontend_errors"):
            why += " Some of it may be callers that retry what failed."
        title = f"A burst of load: {brief(many / usual)} times the usual"
        return issue("load_burst", facts, gates, title, why, signals=("demand.starts_per_sec",))
    ago = (view.now - memory.burst_at).total("seconds") if memory.burst_at is not None else None
    if ago is None or ago > WAKE_OF_A_BURST_SEC or not gates:
        return None
    why = f"Until {span(ago)} ago far more workflows were started than the usual {rate(usual)}; they still run."
    return issue(
        "load_burst",
        facts,
        gates,
        "A burst of load that is over, and its work is not",
        why,
        signals=("demand.starts_per_sec",),
    )


def slots_exhausted(facts: Facts) -> Issue | None:
    """Work waits and all slots of a type are taken."""
    kind = exhausted_slots(facts.view)
    gates = facts.fired(*WORK_WAITS)
    if kind is None or not gates:
        return None
    used = facts.view.signals.value(f"workers.{kind}_slots_used")
    ms = facts.view.signals.value("workers.activity_execution_p95_ms") if kind == "activity" else None
    slow = f" Activities take {took(ms)} (p95)." if ms else ""
    many = f"{used:,.0f} " if used else ""
    why = f"All {many}{kind} slots are busy, so workers stop asking for {kind} tasks.{slow}"
    signals = (f"workers.{kind}_slots_available", f"workers.{kind}_slots_used")
    title = f"Workers have no free {kind} slot: {_behind(facts, kind)}"
    return issue("slots_exhausted", facts, gates, title, why, signals=signals)


def _behind(facts: Facts, kind: str = "") -> str:
    """What waits (of one kind), and on which task queues where that is known."""
    flows = waiting_flows(facts.view)
    flows = [f for f in flows if kind and f.task_type == kind] or flows
    queues = sorted({f.task_queue for f in flows if f.task_type})
    return waiting_words(flows, f" on {queues_named(queues)}" if 0 < len(queues) <= NAMED_QUEUES else "")


def workflow_task_failures(facts: Facts) -> Issue | None:
    """Workflow tasks fail or time out in workers, so executions are stuck."""
    if not (gates := facts.fired("workflow_task_failures", "workflow_task_attempts")):
        return None
    row = facts.top_row("worker_tasks.workflow_task_failures_per_sec")
    where = f" of type {row.labels['workflow_type']}" if row and row.labels.get("workflow_type") else ""
    why = f"Workflow code{where} raises or hangs; its tasks are retried for ever: executions are stuck, not failed."
    if facts.view.stuck_for_sec:
        why += " Some have failed for minutes: the workers' log names them and says why."
    if facts.fired(*sorted(SERVER_REFUSES | SERVER_SLOW)):
        why = "They may fail only because the server is slow or refuses; the workflow code need not be at fault."
    return issue("workflow_task_failures", facts, gates, "Workflow tasks fail in the workers", why)


def retry_storm(facts: Facts) -> Issue | None:
    """Activity attempts fail and are retried."""
    if not (gates := facts.fired("activity_failures")):
        return None
    row = facts.top_row("activity_tasks.failed_per_sec")
    which = f"Activity {row.labels['activityType']}" if row and row.labels.get("activityType") else "An activity"
    why = f"{which} fails most; what it depends on is probably down. The work waits, it is not lost."
    return issue("retry_storm", facts, gates, "Activities fail and are retried", why)


def sticky_cache_thrash(facts: Facts) -> Issue | None:
    """Workers push workflows out of their cache and replay them."""
    signals = facts.view.signals
    evicted, missed = (
        signals.value("worker_cache.forced_evictions_per_sec"),
        signals.value("worker_cache.sticky_miss_per_sec"),
    )
    hits = signals.value("worker_cache.sticky_hit_rate")
    if not evicted or not missed or hits is None or hits > 0.95 or min(evicted, missed) * facts.view.window_sec < 3:
        return None
    why = f"Workers push {per_sec(evicted, 'workflow')} out of their cache and replay {rate(missed)} from history."
    ids = ("worker_cache.forced_evictions_per_sec", "worker_cache.sticky_hit_rate")
    return issue("sticky_cache_thrash", facts, [], "The workers' workflow cache is too small", why, signals=ids)


def worker_slow(facts: Facts) -> Issue | None:
    """Workers poll and have slots, and do not keep up."""
    gates = facts.fired(*WORK_WAITS)
    excused = (
        facts.workers.nobody_polls
        or facts.workers.slots_exhausted
        or draining(facts.view)
        or facts.fired(*SERVER_REFUSES)
        or facts.fired("frontend_latency")
        or any(facts.lasts(gate.name) for gate in facts.fired(*sorted(SERVER_SLOW)))
    )
    if not gates or excused:
        return None
    activity = waiting_flows(facts.view)[0].task_type == "activity"
    ms = facts.view.signals.value(f"workers.{'activity' if activity else 'wft'}_execution_p95_ms")
    slow = f" {'An activity' if activity else 'A workflow task'} takes {took(ms)} (p95)." if ms else ""
    free = " and have free slots" if facts.workers.slots_exhausted is False else ""
    why = f"They poll{free}, and take less than arrives.{slow}"
    return issue("worker_slow", facts, gates, f"Workers do not keep up: {_behind(facts)}", why)


def poller_executor_mismatch(facts: Facts) -> Issue | None:
    """Workers run more pollers than slots."""
    if (kind := pollers_over_slots(facts.view.signals)) is None:
        return None
    why = f"Pollers hold every {kind} slot of idle workers: those configured beyond the slots can only wait."
    ids = (f"workers.{kind}_pollers", f"workers.{kind}_slots_available")
    return issue(
        "poller_executor_mismatch", facts, [], f"Workers run as many {kind} pollers as slots, or more", why, signals=ids
    )


def application_failures(facts: Facts) -> Issue | None:
    """Workflows fail by their own code."""
    if not (gates := facts.fired("application_failures")):
        return None
    row = facts.top_row("workflow_completion.failed_per_sec")
    which = f" Most often: {row.labels['workflowType']}." if row and row.labels.get("workflowType") else ""
    failed = facts.view.signals.value("workflow_completion.failed_per_sec") or 0.0
    why = f"{per_sec(failed, 'workflow')} end in failure, served as they should be: no fault of the cluster.{which}"
    return issue("application_failures", facts, gates, "Workflows fail by their own code", why)
