"""What answers look like, for /openapi.json: a cluster whose workers are gone. A test holds them to their models."""

from typing import Any

Example = dict[str, Any]

ERROR: Example = {
    "error": {
        "code": "bad_parameter",
        "message": "'yesterday' is no time: write 2026-11-22T12:00:00Z, a date, or epoch seconds or milliseconds",
        "field": "start",
        "request_id": "5f0c2a9be1d4473a",
    }
}
_SAID: Example = {
    "cluster": "production",
    "evaluation_id": "production@2026-11-22T12:00:00Z",
    "health_state": "critical",
    "timestamp": "2026-11-22T12:00:00Z",
    "stale": False,
    "degraded": False,
    "degraded_because": None,
}
_SUMMARY = "Nothing is served on task queue orders: 1,204 tasks wait, the oldest for 95 s, and no worker polls."
_ACTION: Example = {
    "action_type": "scale",
    "target_service": "workers",
    "description": "Start workers for task queue orders; scaling history would not help",
    "confidence": 0.9,
    "risk_level": "low",
    "parameters": {"task_queue": "orders"},
    "runbook": "no_pollers",
    "source": "rules",
}
_PATTERN: Example = {
    "pattern": "reservoir discard",
    "count": 128,
    "service": "history",
    "last_seen": "2026-11-22T11:59:58Z",
    "level": "error",
}
_RANGE: Example = {"start": "2026-11-22T11:00:00Z", "end": "2026-11-22T12:00:04Z"}

STATUS: Example = {
    **_SAID,
    "last_known_state": "critical",
    "since": "2026-11-22T11:58:00Z",
    "age_sec": 4.2,
    "coverage": {"primary": 0.96, "amplifiers": 0.71, "worker": 0.5, "missing": ["poller.sync_match_rate"]},
    "confidence": 0.96,
    "bottleneck": "worker_limited",
    "top_factor": "no_pollers",
    "trigger": "state_change",
    "primary_signals": {"matching": {"backlog_count": 1204.0}, "poller": {"sync_match_rate": None}},
    "amplifiers": {"cache": {"hit_rate": 0.95}},
    "worker_signals": {"workers": {"workflow_pollers": None}},
    "gates": [
        {
            "name": "work_stalled",
            "severity": "critical",
            "fired": True,
            "value": 0.0,
            "threshold": 0.1,
            "margin": -1.0,
            "unit": "ratio",
            "sentence": "0 % of what arrives is served",
            "evidence": {"demand.tasks_added_per_sec": 12.4},
            "labels": {"namespace": "default", "task_queue": "orders", "task_type": "workflow"},
        }
    ],
    "log_patterns": [_PATTERN],
    "recommended_actions": [_ACTION],
    "summary": _SUMMARY,
    "explained_by": "rules",
    "issue_count": 1,
}
SERVICES: Example = {
    **_SAID,
    "services": [
        {"name": "history", "forward_progress": "ok", "pressure": "low"},
        {
            "name": "workers",
            "forward_progress": "blocked",
            "pressure": "low",
            "dominant_signal": "poller.pending_polls",
            "artifact_signals": [],
        },
    ],
}
ISSUES: Example = {
    **_SAID,
    "open": {"critical": 1, "warning": 0},
    "truncated": False,
    "issues": [
        {
            "id": "0b5c9f5e-6a53-5c2f-8b5f-2f6f2c6b7a10",
            "finding": "no_pollers",
            "subject": "orders",
            "severity": "critical",
            "title": "No pollers on task queue orders",
            "description": "1,204 tasks have been waiting for up to 95 s and nobody asks for them.",
            "likely_cause": "All workers of this task queue are gone.",
            "contributing_factors": ["pollers fell from 34 to 0"],
            "related_signals": ["poller.pending_polls"],
            "suggested_actions": [_ACTION],
            "first_seen": "2026-11-22T11:57:00Z",
            "last_seen": "2026-11-22T12:00:00Z",
            "resolved_at": None,
        }
    ],
}
SUMMARY: Example = {
    **_SAID,
    "summary": _SUMMARY,
    "narrative": {
        "setting": "2.9 workflows start each second.",
        "trigger": "Pollers of task queue orders vanished.",
        "reactions": ["matching spools tasks to the database"],
        "why": "Work waits and nobody serves it.",
        "meaning": "Workflows stand still until workers are back.",
        "watch_next": "pending polls on orders",
    },
    "explained_by": "rules",
}
TIMELINE: Example = {
    **_SAID,
    **_RANGE,
    "timeline": [
        {
            "timestamp": "2026-11-22T11:59:30Z",
            "health_state": "stressed",
            "stale": False,
            "bottleneck": "worker_limited",
            "top_factor": "no_pollers",
        }
    ],
}
SERIES: Example = {
    "cluster": "production",
    "id": "matching.backlog_count",
    "kind": "primary",
    "unit": "count",
    "meaning": "Tasks that wait in matching",
    **_RANGE,
    "points": [{"time": "2026-11-22T11:59:30Z", "value": 810.0}, {"time": "2026-11-22T12:00:00Z", "value": None}],
    "degraded": False,
    "degraded_because": None,
}
PATTERNS: Example = {**_SAID, "patterns": [_PATTERN]}
CLUSTERS: Example = {
    "clusters": [
        {
            **_SAID,
            "since": "2026-11-22T11:58:00Z",
            "age_sec": 4.2,
            "bottleneck": "worker_limited",
            "top_factor": "no_pollers",
            "summary": _SUMMARY,
        }
    ]
}
EVALUATION: Example = {
    "evaluation_id": "production@2026-11-22T12:00:00Z",
    "time": "2026-11-22T12:00:00Z",
    "health_state": "critical",
    "stale": False,
    "coverage": 0.96,
    "bottleneck": "worker_limited",
    "fired_gates": ["work_stalled"],
    "top_factor": "no_pollers",
    "readings": {"matching.backlog_count": 1204.0, "poller.sync_match_rate": None},
}
GUIDE: Example = {
    "name": "no_pollers",
    "title": "Nobody polls a task queue",
    "markdown": "# Nobody polls a task queue\n",
}

BY_MODEL = {
    "ErrorBody": ERROR,
    "Status": STATUS,
    "Services": SERVICES,
    "Issues": ISSUES,
    "Summary": SUMMARY,
    "Timeline": TIMELINE,
    "SignalSeries": SERIES,
    "LogPatterns": PATTERNS,
    "Clusters": CLUSTERS,
    "EvaluationLine": EVALUATION,
    "Guides": {"guides": [{"name": "no_pollers", "title": "Nobody polls a task queue"}]},
    "Guide": GUIDE,
    "ModelsToday": {
        "since": "2026-11-22T00:00:00Z",
        "spent": {"calls": 9, "input_tokens": 61000, "output_tokens": 5200, "cost_usd": 0.38, "unserved": 1},
        "daily_usd": 5.0,
        "daily_tokens": 2000000,
        "degraded_because": None,
    },
    "Well": {"status": "ok"},
}
