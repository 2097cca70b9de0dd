"""Contributing factors, ranked by the causal chain: the earliest broken link first, its consequences after it.

One function a finding; each looks at the facts of a tick and says an issue or nothing. Findings may look at amplifiers
and worker signals: they explain, the state is already decided.
"""

from collections.abc import Callable
from dataclasses import dataclass

from copilot.core.actions import actions_for
from copilot.core.assessment import GateResult, Issue, Severity, SuggestedAction
from copilot.core.bottleneck import SERVER_REFUSES, WorkerEvidence, exhausted_slots, polled, waiting_flows
from copilot.core.flow import Flow
from copilot.core.scaling import permitted, pollers_over_slots
from copilot.core.signals import BreakdownRow
from copilot.core.view import View


@dataclass(frozen=True, slots=True)
class Facts:
    """What findings look at: the view, the gates by name, what the workers show, and whether evidence is lacking."""

    view: View
    gates: dict[str, GateResult]
    workers: WorkerEvidence
    blind: bool

    def fired(self, *names: str) -> list[GateResult]:
        """Those of the named gates that fired."""
        return [self.gates[n] for n in names if self.gates[n].fired]

    def top_row(self, signal_id: str) -> BreakdownRow | None:
        """The largest row of a breakdown."""
        rows = self.view.signals.rows(signal_id)
        return max(rows, key=lambda r: r.value, default=None)

    def throttle_cause(self) -> str:
        """The commonest cause history's attempts are refused for."""
        row = self.top_row("history.throttled_per_sec")
        return row.labels.get("resource_exhausted_cause", "") if row else ""


def _issue(
    finding: str,
    facts: Facts,
    gates: list[GateResult],
    title: str,
    why: str,
    *,
    subject: str = "",
    signals: tuple[str, ...] = (),
    parameters: dict[str, str | int | float] | None = None,
) -> Issue:
    critical = any(g.severity is Severity.CRITICAL for g in gates)
    related = tuple(dict.fromkeys((*signals, *(i for g in gates for i in g.evidence))))
    refused = bool(facts.fired(*SERVER_REFUSES))
    offered: tuple[SuggestedAction, ...] = actions_for(finding, parameters or {})
    if refused:
        offered = tuple(a for a in offered if a.target_service != "workers")
    return Issue(
        finding=finding,
        subject=subject,
        severity=Severity.CRITICAL if critical else Severity.WARNING,
        title=title,
        description=" ".join(f"{g.sentence[:1].upper()}{g.sentence[1:]}." for g in gates) or f"{title}.",
        likely_cause=why,
        contributing_factors=tuple(g.name for g in gates),
        related_signals=related,
        suggested_actions=permitted(offered, facts.view.signals),
    )


def _unpolled(facts: Facts) -> list[Flow]:
    """Flows that wait, are hardly served, and that nobody polls."""
    limit = facts.view.thresholds.stalled_served_share
    return [
        f
        for f in waiting_flows(facts.view)
        if polled(f, facts.view.signals) is False and (f.served or 0.0) <= max(limit * (f.arrives or 0.0), 1e-9)
    ]


def server_unreachable(facts: Facts) -> Issue | None:
    if not (gates := facts.fired("unreachable")):
        return None
    why = "The frontend is down, frozen, or cut off from here. Nothing else read now can be trusted."
    return _issue("server_unreachable", facts, gates, "The Temporal frontend does not answer", why)


def metrics_blind(facts: Facts) -> Issue | None:
    if not facts.blind or facts.fired("unreachable"):
        return None
    lost = [f"{i} ({m.detail or m.code.value})" for i, m in facts.view.signals.missing.items()]
    why = (
        f"Too few signals could be read to stand by a verdict: {'; '.join(lost[:2])}." if lost else "Nothing was read."
    )
    return _issue("metrics_blind", facts, [], "The Copilot is blind: the cluster's metrics cannot be read", why)


def persistence_failing(facts: Facts) -> Issue | None:
    if not (gates := facts.fired("persistence_errors")):
        return None
    row = facts.top_row("persistence.error_rate_per_sec")
    what = f" Most of them: {row.labels.get('operation')} with {row.labels.get('error_type')}." if row else ""
    why = f"The database fails calls of the server.{what}"
    consequences = facts.fired("turned_away", "frontend_errors", "work_stalled")
    return _issue("persistence_failing", facts, [*gates, *consequences], "Database calls fail", why)


def persistence_throttled(facts: Facts) -> Issue | None:
    gates = facts.fired("persistence_throttled")
    if facts.throttle_cause().startswith("Persistence"):
        gates += facts.fired("history_throttled")
    if not gates:
        return None
    why = (
        "The server refuses its own database calls by its persistence rate limit: tasks are retried inside history "
        "while workers sit idle. Low latencies and an empty backlog are expected here and mean nothing."
    )
    return _issue("persistence_throttled", facts, gates, "The persistence rate limit holds work back", why)


def rate_limited(facts: Facts) -> Issue | None:
    gates = facts.fired("rate_limited")
    if not facts.throttle_cause().startswith("Persistence"):
        gates += facts.fired("history_throttled")
    if not gates:
        return None
    row = facts.top_row("frontend.throttled_per_sec")
    cause = row.labels.get("resource_exhausted_cause", "") if row else facts.throttle_cause()
    operation = f", most often {row.labels['operation']}" if row and row.labels.get("operation") else ""
    limit = f"A rate limit ({cause or 'unnamed'})"
    why = f"{limit} refuses requests{operation}. Polls go first, so workers starve while idle."
    return _issue("rate_limited", facts, gates, "A rate limit refuses requests and polls", why)


def frontend_errors(facts: Facts) -> Issue | None:
    gates = facts.fired("turned_away", "frontend_errors")
    if not gates or facts.fired("persistence_errors") or facts.fired("rate_limited"):
        return None
    row = facts.top_row("frontend.error_rate_per_sec")
    most = f" Most often: {row.labels.get('operation')}." if row else ""
    why = f"The server fails requests by its own fault, often because its database or a shard is away.{most}"
    return _issue("frontend_errors", facts, gates, "Requests fail by the server's fault", why)


def no_pollers(facts: Facts) -> Issue | None:
    gates = facts.fired("work_stalled", "queue_stalled", "falling_behind", "backlog_age")
    unpolled = _unpolled(facts)
    if not gates or not unpolled or exhausted_slots(facts.view.signals) or facts.fired(*SERVER_REFUSES):
        return None
    flow = unpolled[0]
    down = facts.view.signals.targets.get("worker") == 0
    seen = " Their metrics pages are gone too." if down else ""
    queues = ", ".join(dict.fromkeys(f.task_queue for f in unpolled if f.task_type))
    where = f"task queue {queues}" if queues else "the task queues"
    why = f"No worker asks for tasks on {where}.{seen} The server is not the problem."
    waiting = f"{flow.waiting:.0f} tasks waiting" if flow.waiting else "tasks waiting"
    age = f" for {flow.age:.0f} s" if flow.age else ""
    return _issue(
        "no_pollers",
        facts,
        gates,
        f"No pollers on {where}, {waiting}{age}",
        why,
        subject=queues,
        signals=("poller.pending_polls",),
        parameters={"task_queue": queues} if queues else None,
    )


def load_burst(facts: Facts) -> Issue | None:
    signals, memory = facts.view.signals, facts.view.memory
    starts, usual = signals.value("demand.starts_per_sec"), memory.usual_starts
    factor = facts.view.thresholds.burst_factor
    if starts is None or not usual or memory.demand_ticks < 4 or starts <= factor * usual:
        return None
    if (starts - usual) * facts.view.window_sec < 30:
        return None
    gates = facts.fired("backlog_age", "falling_behind", "frontend_latency", "persistence_latency", "history_latency")
    why = f"{starts:.2g} workflow starts/s arrive, {starts / usual:.1f} times the usual {usual:.2g}/s."
    return _issue("load_burst", facts, gates, "A burst of load", why, signals=("demand.starts_per_sec",))


def slots_exhausted(facts: Facts) -> Issue | None:
    kind = exhausted_slots(facts.view.signals)
    gates = facts.fired("work_stalled", "queue_stalled", "falling_behind", "backlog_age")
    spooled = (facts.view.signals.value("matching.tasks_spooled_per_sec") or 0) > 0
    if kind is None or not (gates or spooled):
        return None
    used = facts.view.signals.value(f"workers.{kind}_slots_used") or 0
    took = facts.view.signals.value("workers.activity_execution_p95_ms") if kind == "activity" else None
    slow = f" Activities take {took / 1000:.2g} s (p95)." if took else ""
    why = f"All {used:.0f} {kind} slots are busy, so workers stop asking for {kind} tasks.{slow}"
    signals = (f"workers.{kind}_slots_available", f"workers.{kind}_slots_used")
    return _issue("slots_exhausted", facts, gates, f"Workers are full: no free {kind} slot", why, signals=signals)


def persistence_slow(facts: Facts) -> Issue | None:
    if not (gates := facts.fired("persistence_latency")):
        return None
    why = "Database calls take long; everything the server does waits for them."
    return _issue("persistence_slow", facts, gates, "The database is slow", why)


def shard_churn(facts: Facts) -> Issue | None:
    if not (gates := facts.fired("shard_churn")):
        return None
    why = "Shards are opened and closed: history hosts come and go, or lose their leases."
    return _issue("shard_churn", facts, gates, "Shards move between history hosts", why)


def history_backlog(facts: Facts) -> Issue | None:
    gates = facts.fired("history_latency")
    stalled = facts.gates["work_stalled"]
    if stalled.fired and "history.tasks_acked_per_sec" in stalled.evidence:
        gates = [stalled, *gates]
    if not gates or facts.fired(*SERVER_REFUSES):
        return None
    why = "History finishes its tasks late or not at all; nothing downstream can be faster."
    return _issue("history_backlog", facts, gates, "History is behind with its tasks", why)


def frontend_slow(facts: Facts) -> Issue | None:
    gates = facts.fired("frontend_latency")
    if not gates:
        return None
    wait = facts.view.signals.value("shard.semaphore_latency_p99_ms")
    shard = f" Requests wait {wait:.0f} ms (p99) for their shard's write slot." if wait and wait > 100 else ""
    why = f"The server answers slowly.{shard}"
    return _issue("frontend_slow", facts, gates, "The frontend answers slowly", why)


def workflow_task_failures(facts: Facts) -> Issue | None:
    if not (gates := facts.fired("workflow_task_failures")):
        return None
    row = facts.top_row("worker_tasks.workflow_task_failures_per_sec")
    where = f" of type {row.labels['workflow_type']}" if row and row.labels.get("workflow_type") else ""
    why = f"Workflow code{where} raises or hangs; its tasks are retried for ever: executions are stuck, not failed."
    return _issue("workflow_task_failures", facts, gates, "Workflow tasks fail in the workers", why)


def worker_slow(facts: Facts) -> Issue | None:
    gates = facts.fired("work_stalled", "falling_behind", "queue_stalled", "backlog_age")
    excused = facts.workers.nobody_polls or facts.workers.slots_exhausted or facts.fired(*SERVER_REFUSES)
    if not gates or excused:
        return None
    took = facts.view.signals.value("workers.wft_execution_p95_ms")
    slow = f" A workflow task takes {took:.0f} ms (p95)." if took else ""
    why = f"Workers poll and have slots, and take less than arrives.{slow}"
    return _issue("worker_slow", facts, gates, "Workers do not keep up", why)


def sticky_cache_thrash(facts: Facts) -> Issue | None:
    signals = facts.view.signals
    evicted, missed = (
        signals.value("worker_cache.forced_evictions_per_sec"),
        signals.value("worker_cache.sticky_miss_per_sec"),
    )
    hits = signals.value("worker_cache.sticky_hit_rate")
    if not evicted or not missed or hits is None or hits > 0.8 or min(evicted, missed) * facts.view.window_sec < 15:
        return None
    why = f"Workers push {evicted:.2g} workflows/s out of their cache and replay {missed:.2g}/s from history."
    ids = ("worker_cache.forced_evictions_per_sec", "worker_cache.sticky_hit_rate")
    return _issue("sticky_cache_thrash", facts, [], "The workers' workflow cache is too small", why, signals=ids)


def retry_storm(facts: Facts) -> Issue | None:
    if not (gates := facts.fired("activity_failures")):
        return None
    row = facts.top_row("activity_tasks.failed_per_sec")
    which = f"Activity {row.labels['activityType']}" if row and row.labels.get("activityType") else "An activity"
    why = f"{which} fails and is retried; what it depends on is probably down. The work waits, it is not lost."
    return _issue("retry_storm", facts, gates, "Activities fail and are retried", why)


def poller_executor_mismatch(facts: Facts) -> Issue | None:
    if (kind := pollers_over_slots(facts.view.signals)) is None:
        return None
    why = f"Workers run more {kind} pollers than they have {kind} slots: the surplus can only wait."
    ids = (f"workers.{kind}_pollers", f"workers.{kind}_slots_available")
    return _issue("poller_executor_mismatch", facts, [], f"More {kind} pollers than slots", why, signals=ids)


def application_failures(facts: Facts) -> Issue | None:
    if not (gates := facts.fired("application_failures")):
        return None
    row = facts.top_row("workflow_completion.failed_per_sec")
    which = f" Most often: {row.labels['workflowType']}." if row and row.labels.get("workflowType") else ""
    why = f"Workflows fail by their own code. The platform serves them as it should.{which}"
    return _issue("application_failures", facts, gates, "Workflows fail by their own code", why)


FINDINGS: tuple[Callable[[Facts], Issue | None], ...] = (
    server_unreachable,
    metrics_blind,
    persistence_failing,
    persistence_throttled,
    rate_limited,
    frontend_errors,
    no_pollers,
    load_burst,
    slots_exhausted,
    shard_churn,
    persistence_slow,
    history_backlog,
    workflow_task_failures,
    retry_storm,
    sticky_cache_thrash,
    worker_slow,
    frontend_slow,
    poller_executor_mismatch,
    application_failures,
)


def findings(facts: Facts) -> tuple[Issue, ...]:
    """All that was found, the likeliest cause first."""
    return tuple(issue for find in FINDINGS if (issue := find(facts)) is not None)
