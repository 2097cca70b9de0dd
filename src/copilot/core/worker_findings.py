"""Findings about workers, the load on them, and the code they run."""

from copilot.core.assessment import Issue
from copilot.core.bottleneck import SERVER_REFUSES, SERVER_SLOW, WORK_WAITS, draining, exhausted_slots
from copilot.core.facts import Facts, issue
from copilot.core.memory import bursting
from copilot.core.scaling import pollers_over_slots

WAKE_OF_A_BURST_SEC = 300.0


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
        why = f"{many:.2g} workflow starts/s arrive, {many / usual:.1f} times the usual {usual:.2g}/s."
        return issue("load_burst", facts, gates, "A burst of load", why, signals=("demand.starts_per_sec",))
    ago = (view.now - memory.burst_at).total("seconds") if memory.burst_at is not None else None
    if ago is None or ago > WAKE_OF_A_BURST_SEC or not gates:
        return None
    why = f"Until {ago:.0f} s ago far more workflows were started than the usual {usual:.2g}/s; they still run."
    return issue("load_burst", facts, gates, "The wake of a burst of load", why, signals=("demand.starts_per_sec",))


def slots_exhausted(facts: Facts) -> Issue | None:
    """Work waits and all slots of a type are taken."""
    kind = exhausted_slots(facts.view)
    gates = facts.fired(*WORK_WAITS)
    if kind is None or not gates:
        return None
    used = facts.view.signals.value(f"workers.{kind}_slots_used")
    took = facts.view.signals.value("workers.activity_execution_p95_ms") if kind == "activity" else None
    slow = f" Activities take {took / 1000:.2g} s (p95)." if took else ""
    count = f"{used:.0f} " if used else ""
    why = f"All {count}{kind} slots are busy, so workers stop asking for {kind} tasks.{slow}"
    signals = (f"workers.{kind}_slots_available", f"workers.{kind}_slots_used")
    return issue("slots_exhausted", facts, gates, f"Workers are full: no free {kind} slot", why, signals=signals)


def workflow_task_failures(facts: Facts) -> Issue | None:
    """Workflow tasks fail or time out in workers, so executions are stuck."""
    if not (gates := facts.fired("workflow_task_failures", "workflow_task_attempts")):
        return None
    row = facts.top_row("worker_tasks.workflow_task_failures_per_sec")
    where = f" of type {row.labels['workflow_type']}" if row and row.labels.get("workflow_type") else ""
    why = f"Workflow code{where} raises or hangs; its tasks are retried for ever: executions are stuck, not failed."
    return issue("workflow_task_failures", facts, gates, "Workflow tasks fail in the workers", why)


def retry_storm(facts: Facts) -> Issue | None:
    """Activity attempts fail and are retried."""
    if not (gates := facts.fired("activity_failures")):
        return None
    row = facts.top_row("activity_tasks.failed_per_sec")
    which = f"Activity {row.labels['activityType']}" if row and row.labels.get("activityType") else "An activity"
    why = f"{which} fails and is retried; what it depends on is probably down. The work waits, it is not lost."
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
    why = f"Workers push {evicted:.2g} workflows/s out of their cache and replay {missed:.2g}/s from history."
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
    took = facts.view.signals.value("workers.wft_execution_p95_ms")
    slow = f" A workflow task takes {took:.0f} ms (p95)." if took else ""
    why = f"Workers poll and have slots, and take less than arrives.{slow}"
    return issue("worker_slow", facts, gates, "Workers do not keep up", why)


def poller_executor_mismatch(facts: Facts) -> Issue | None:
    """Workers run more pollers than slots."""
    if (kind := pollers_over_slots(facts.view.signals)) is None:
        return None
    why = f"Pollers hold every {kind} slot of idle workers: those configured beyond the slots can only wait."
    ids = (f"workers.{kind}_pollers", f"workers.{kind}_slots_available")
    return issue("poller_executor_mismatch", facts, [], f"As many {kind} pollers as slots, or more", why, signals=ids)


def application_failures(facts: Facts) -> Issue | None:
    """Workflows fail by their own code."""
    if not (gates := facts.fired("application_failures")):
        return None
    row = facts.top_row("workflow_completion.failed_per_sec")
    which = f" Most often: {row.labels['workflowType']}." if row and row.labels.get("workflowType") else ""
    failed = facts.view.signals.value("workflow_completion.failed_per_sec") or 0.0
    why = f"{failed:.2g} workflows/s end in failure, served as they should be: no fault of the cluster.{which}"
    return issue("application_failures", facts, gates, "Workflows fail by their own code", why)
