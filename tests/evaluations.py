"""Evaluations as the rules would make them, for tests that need one and do not care how it came about."""

from typing import Any

from whenever import Instant

from copilot.rules.model import (
    ActionType,
    BottleneckClassification,
    Coverage,
    Evaluation,
    GateResult,
    HealthAssessment,
    HealthState,
    Issue,
    Narrative,
    ReportedState,
    ServiceHealth,
    Severity,
    Snapshot,
    SuggestedAction,
    Transition,
    Trigger,
    Verdict,
)
from copilot.rules.signals.readings import Missing, MissingCode, Signals

NOON = Instant.from_utc(2026, 11, 22, 12)

HEALTHY: dict[str, float | None] = {
    "state_transitions.throughput_per_sec": 52.4,
    "workflow_completion.completion_rate": 0.992,
    "workflow_completion.success_per_sec": 2.84,
    "workflow_completion.failed_per_sec": 0.02,
    "history.tasks_acked_per_sec": 67.1,
    "history.write_latency_p99_ms": 11.3,
    "frontend.reachable": 1.0,
    "frontend.error_rate_per_sec": 0.0,
    "frontend.request_rate_per_sec": 24.8,
    "frontend.latency_p99_ms": 44.0,
    "matching.workflow_backlog_age_sec": 0.0,
    "matching.activity_backlog_age_sec": 0.0,
    "matching.backlog_count": 0.0,
    "matching.tasks_dispatched_per_sec": 17.5,
    "poller.pending_polls": 34.0,
    "poller.sync_match_rate": 0.998,
    "persistence.latency_p99_ms": 9.7,
    "persistence.error_rate_per_sec": 0.0,
    "demand.starts_per_sec": 2.9,
    "demand.tasks_added_per_sec": 17.6,
    "cache.hit_rate": 0.952,
    "shard.semaphore_latency_p99_ms": 8.0,
    "grpc.in_flight_requests": 2.0,
    "runtime.goroutines": 3470.0,
    "workers.wft_schedule_to_start_p95_ms": 82.0,
    "workers.activity_schedule_to_start_p95_ms": 94.0,
    "workers.workflow_slots_available": 99.0,
    "workers.activity_slots_available": 97.0,
    "workers.workflow_pollers": 12.0,
    "workers.activity_pollers": 10.0,
    "worker_cache.sticky_hit_rate": 0.97,
}
UNREAD = {"connection_pool.wait_count": Missing(code=MissingCode.NO_SOURCE, detail="SQLite has no connection pool")}

WORKERS_GONE: dict[str, float | None] = {
    "state_transitions.throughput_per_sec": 3.1,
    "workflow_completion.success_per_sec": 0.0,
    "history.tasks_acked_per_sec": 6.0,
    "matching.workflow_backlog_age_sec": 95.0,
    "matching.backlog_count": 1204.0,
    "matching.tasks_dispatched_per_sec": 0.0,
    "poller.pending_polls": 0.0,
    "poller.sync_match_rate": None,
    "workers.workflow_pollers": None,
    "workers.activity_pollers": None,
    "workers.workflow_slots_available": None,
    "workers.activity_slots_available": None,
}


def signals(time: Instant = NOON, **changed: float | None) -> Signals:
    """Signals of a healthy cluster; `changed` ids are written with two underscores for the dot."""
    readings = HEALTHY | {name.replace("__", ".", 1): value for name, value in changed.items()}
    return _signals(time, readings)


def _signals(time: Instant, readings: dict[str, float | None]) -> Signals:
    worker_down = Missing(code=MissingCode.TARGET_DOWN, detail="connection refused")
    missing = {i: worker_down for i, v in readings.items() if v is None} | UNREAD
    return Signals(
        time=time,
        readings=readings | dict.fromkeys(UNREAD),
        missing=missing,
        targets={"server": 1, "worker": 1},
    )


def scale_workers(**changed: Any) -> SuggestedAction:
    """The advice for a queue nobody polls."""
    fields: dict[str, Any] = {
        "action_type": ActionType.SCALE,
        "target_service": "workers",
        "description": "Start workers for task queue orders; scaling history would not help",
        "confidence": 0.9,
        "risk_level": "low",
        "parameters": {"task_queue": "orders"},
        "runbook": "no_pollers",
    }
    return SuggestedAction(**(fields | changed))


def issue(finding: str = "no_pollers", subject: str = "orders", **changed: Any) -> Issue:
    """A finding with one suggested action."""
    fields: dict[str, Any] = {
        "finding": finding,
        "subject": subject,
        "severity": Severity.CRITICAL,
        "title": f"No pollers on task queue {subject}",
        "description": "1,204 tasks have been waiting for up to 95 s and nobody asks for them.",
        "likely_cause": "All workers of this task queue are gone.",
        "contributing_factors": ("pollers fell from 34 to 0", "tasks are spooled to the database"),
        "related_signals": ("poller.pending_polls", "matching.backlog_count"),
        "suggested_actions": (scale_workers(),),
    }
    return Issue(**(fields | changed))


GATES: dict[str, tuple[Severity, float, float, str, str]] = {
    "work_stalled": (Severity.CRITICAL, 0.99, 0.1, "ratio", "{} of what arrives is served"),
    "turned_away": (Severity.CRITICAL, 0.0, 0.5, "ratio", "{} of requests that bring work fail by the server's fault"),
    "frontend_slow": (Severity.WARNING, 44.0, 1000.0, "ms", "the frontend answers within {} at p99"),
    "persistence_slow": (Severity.WARNING, 9.7, 100.0, "ms", "the database answers within {} at p99"),
}


def gates(*fired: str, unjudged: tuple[str, ...] = ()) -> tuple[GateResult, ...]:
    """All gates of a small rule book, some fired or not judged."""
    results = []
    for name, (severity, value, threshold, unit, sentence) in GATES.items():
        if name in unjudged:
            results.append(GateResult(name=name, severity=severity, fired=None, threshold=threshold, unit=unit,
                                      sentence="its readings are missing"))  # fmt: skip
            continue
        now = value if name not in fired else (0.0 if name == "work_stalled" else threshold * 1.6)
        inside = (now - threshold) / threshold if name == "work_stalled" else (threshold - now) / threshold
        shown = f"{100 * now:g} %" if unit == "ratio" else f"{now:g} {unit}"
        results.append(GateResult(name=name, severity=severity, fired=name in fired, value=now, threshold=threshold,
                                  margin=inside, unit=unit, sentence=sentence.format(shown)))  # fmt: skip
    return tuple(results)


def evaluation(
    state: str = "happy", time: Instant = NOON, *, cluster: str = "default", interval: float = 30.0, **changed: Any
) -> Evaluation:
    """An evaluation in `state` (happy, stressed, critical or unknown) made at `time`; `changed` replaces fields."""
    return Evaluation(**(_fields(state, time, cluster, interval) | changed))


def assessment(
    state: str = "happy", time: Instant = NOON, *, cluster: str = "default", interval: float = 30.0,
    trigger: Trigger = Trigger.STATE_CHANGE, **changed: Any,
) -> HealthAssessment:  # fmt: skip
    """The same as an assessment."""
    return HealthAssessment(**(_fields(state, time, cluster, interval) | {"trigger": trigger} | changed))


def snapshot(of: Evaluation, **changed: Any) -> Snapshot:
    """A snapshot of an evaluation."""
    fields: dict[str, Any] = {
        "evaluation": of,
        "memory_before": {"state": "happy", "since": of.time.format_iso(), "counts": {"fired": 1}},
        "thresholds_hash": "5d41402a",
        "taxonomy_version": "1",
        "rules_version": "1",
    }
    return Snapshot(**(fields | changed))


def evaluation_id(cluster: str, time: Instant) -> str:
    """Cluster and tick, as the rules name an evaluation."""
    return f"{cluster}@{time.format_iso()}"


def _fields(state: str, time: Instant, cluster: str, interval: float) -> dict[str, Any]:
    trouble = state in ("stressed", "critical")
    blind = state == "unknown"
    if blind:
        read = _signals(time, dict.fromkeys(HEALTHY))
    else:
        read = _signals(time, HEALTHY | (WORKERS_GONE if trouble else {}))
    fired = ("work_stalled",) if trouble else ()
    unjudged = tuple(GATES) if blind else ()
    reported = ReportedState(state)
    findings: tuple[Issue, ...] = ()
    if trouble:
        severity = Severity.CRITICAL if state == "critical" else Severity.WARNING
        findings = (
            issue(severity=severity),
            issue("dispatch_slow", "", severity=Severity.WARNING, title="Tasks wait before they are dispatched",
                  description="What matching hands out waited for 40 s at p99.", contributing_factors=(),
                  likely_cause="A consequence of the missing pollers.", suggested_actions=()),
        )  # fmt: skip
    return {
        "evaluation_id": evaluation_id(cluster, time),
        "cluster": cluster,
        "time": time,
        "interval_sec": interval,
        "window_sec": 2 * interval,
        "verdict": Verdict(
            health_state=reported,
            last_known_state=HealthState.HAPPY if blind else HealthState(state),
            since=time.subtract(seconds=180),
            stale=blind,
            coverage=Coverage(
                primary=0.0 if blind else 0.96,
                amplifiers=0.0 if blind else 0.71,
                worker=0.0 if blind else 1.0,
                missing=tuple(HEALTHY)[:8] if blind else ("connection_pool.wait_count",),
            ),
            confidence=0.1 if blind else 0.92,
            gates=gates(*fired, unjudged=unjudged),
            transition=Transition(before=ReportedState.HAPPY, after=reported, time=time, gates=fired)
            if trouble
            else None,
        ),
        "bottleneck": {
            "happy": BottleneckClassification.HEALTHY,
            "unknown": BottleneckClassification.UNKNOWN,
        }.get(state, BottleneckClassification.WORKER_LIMITED),
        "findings": findings,
        "services": _services(state),
        "summary": SUMMARIES[state],
        "narrative": Narrative(
            setting="2.9 workflows start each second.",
            trigger="Pollers of task queue orders vanished." if trouble else "Nothing happened.",
            reactions=("matching spools tasks to the database",) if trouble else (),
            why="Work waits and nobody serves it." if trouble else WHY[state],
            meaning="Workflows stand still until workers are back." if trouble else MEANING[state],
            watch_next="pending polls on orders" if trouble else "nothing in particular",
        ),
        "signals": read,
    }


SUMMARIES = {
    "happy": "All work that arrives is served: 2.9 workflows start and 2.8 finish each second, nothing waits.",
    "stressed": "Tasks on queue orders wait: nobody polls it. The server itself is well.",
    "critical": "Nothing is served on task queue orders: 1,204 tasks wait, the oldest for 95 s, and no worker polls.",
    "unknown": "Nothing could be read for 2 minutes: the metrics page refuses connections.",
}

WHY = {"happy": "What arrives is served.", "unknown": "No page that holds metrics could be read."}
MEANING = {"happy": "The cluster makes progress.", "unknown": "It may be well or not: nobody can tell from here."}


def _services(state: str) -> tuple[ServiceHealth, ...]:
    if state == "unknown":
        return tuple(
            ServiceHealth(name=n, forward_progress="unknown", pressure="unknown")
            for n in ("frontend", "history", "matching", "persistence", "workers")
        )
    trouble = state != "happy"
    return (
        ServiceHealth(name="frontend", forward_progress="ok", pressure="low"),
        ServiceHealth(name="history", forward_progress="ok", pressure="low"),
        ServiceHealth(
            name="matching",
            forward_progress="degraded" if trouble else "ok",
            pressure="moderate" if trouble else "low",
            dominant_signal="matching.backlog_count" if trouble else None,
        ),
        ServiceHealth(name="persistence", forward_progress="ok", pressure="low"),
        ServiceHealth(
            name="workers",
            forward_progress="blocked" if trouble else "ok",
            pressure="low",
            dominant_signal="poller.pending_polls" if trouble else None,
        ),
    )
