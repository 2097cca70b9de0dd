"""Temporal Cloud's metrics endpoint, as strict as the real one: bearer keys, filters, delay, labels, limits.

Minutes come from a server's own page, read at the begin and the end of a minute, or from the signals of a recording.
What the endpoint shows is told by its reference (docs.temporal.io/cloud/metrics/openmetrics), not by our table.
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Self
from urllib.parse import parse_qs, urlsplit

from whenever import Instant, TimeDelta

from copilot.rules.signals.readings import Signals
from tests.fakes.http import Request, read_request, response
from tests.fakes.serving import serving

ACCOUNT = "a1b2c"
REGION = "aws-us-east-1"
V1 = "temporal_cloud_v1_"
DELAY = TimeDelta(minutes=2)
MAX_POINTS = 30_000
READS_PER_HOUR = 180
OPT_IN = ("temporal_activity_type", "temporal_worker_deployment_name", "temporal_worker_build_id")
Sample = tuple[str, dict[str, str], float]

# A server's counter, its labels there → the label here, and the family.
LABELS = {"taskqueue": "temporal_task_queue", "workflowType": "temporal_workflow_type", "task_type": "task_type"}
COUNTERS: dict[str, tuple[str, ...]] = {
    "workflow_success": ("workflow_success_count", "taskqueue", "workflowType"),
    "workflow_failed": ("workflow_failed_count", "taskqueue", "workflowType"),
    "workflow_timeout": ("workflow_timeout_count", "taskqueue", "workflowType"),
    "workflow_terminate": ("workflow_terminate_count", "taskqueue", "workflowType"),
    "workflow_cancel": ("workflow_cancel_count", "taskqueue", "workflowType"),
    "activity_success": ("activity_success_count", "taskqueue", "workflowType"),
    "activity_task_fail": ("activity_task_fail_count", "taskqueue", "workflowType"),
    "activity_task_timeout": ("activity_task_timeout_count", "taskqueue", "workflowType", "timeout_type"),
    "poll_success": ("poll_success_count", "taskqueue", "task_type", "operation"),
    "poll_success_sync": ("poll_success_sync_count", "taskqueue", "task_type", "operation"),
    "poll_timeouts": ("poll_timeout_count", "taskqueue", "task_type", "operation"),
    "service_requests": ("service_request_count", "operation"),
    "service_error_with_type": ("service_error_count", "operation"),
}
_LINE = re.compile(r"^(\w+)\{(.*)\} (\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def parsed(page: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The samples of a server's page by name and labels."""
    lines = (m for line in page.decode().splitlines() if (m := _LINE.match(line)))
    return {(m[1], tuple(sorted(_LABEL.findall(m[2])))): float(m[3]) for m in lines}


def minute_of_pages(before: bytes, after: bytes, seconds: float = 60.0, *, namespace: str = "default") -> list[Sample]:
    """What Cloud would show of a namespace of a server, by its own page at the begin and the end of a minute."""
    then, now = parsed(before), parsed(after)
    sums: defaultdict[tuple[str, tuple[tuple[str, str], ...]], float] = defaultdict(float)
    buckets: defaultdict[str, defaultdict[float, float]] = defaultdict(lambda: defaultdict(float))
    for (name, labels), value in now.items():
        of = dict(labels)
        if of.get("namespace") != namespace or of.get("service_name") not in (None, "frontend", "history", "matching"):
            continue
        family, *kept = COUNTERS.get(name, ("",))
        grown = (value - then.get((name, labels), 0.0)) / seconds
        own = name.startswith("service_") and of.get("service_name") != "frontend"
        if family and grown > 0 and not own and of.get("operation") != "ActivityTaskExpired":
            sums[family, _named(of, kept)] += grown
        elif name == "service_latency_bucket" and not own and grown > 0:
            buckets[of["operation"]][float(of["le"])] += grown
        elif name == "service_pending_requests" and not own and of["operation"].startswith("Poll") and value:
            sums["service_pending_requests", _named(of, ("operation",))] += value
        elif name == "approximate_backlog_count" and value:
            sums["approximate_backlog_count", _named(of, ("taskqueue", "task_type"))] += value
    found = [(f"{V1}{family}", dict(labels), value) for (family, labels), value in sums.items()]
    for operation, of_operation in buckets.items():
        for q in (50, 95, 99):
            found.append((f"{V1}service_latency_p{q}", {"operation": operation}, _quantile(q / 100, of_operation)))
    return found


def _named(labels: Mapping[str, str], kept: Iterable[str]) -> tuple[tuple[str, str], ...]:
    text = {LABELS.get(name, name): labels[name] for name in kept if labels.get(name)}
    return tuple(sorted({**text, **({"task_type": text["task_type"].lower()} if "task_type" in text else {})}.items()))


def _quantile(q: float, buckets: Mapping[float, float]) -> float:
    wanted = q * buckets[math.inf]
    return next((bound for bound in sorted(buckets) if buckets[bound] >= wanted and bound < math.inf), max(
        (b for b in buckets if b < math.inf), default=0.0))  # fmt: skip


# By signal of a recording: the family it becomes, and labels that Cloud's series have.
OF_SIGNALS: dict[str, tuple[str, dict[str, str]]] = {
    "workflow_completion.success_per_sec": ("workflow_success_count", {"temporal_workflow_type": "Order"}),
    "workflow_completion.failed_per_sec": ("workflow_failed_count", {"temporal_workflow_type": "Order"}),
    "workflow_completion.timed_out_per_sec": ("workflow_timeout_count", {"temporal_workflow_type": "Order"}),
    "workflow_completion.terminated_per_sec": ("workflow_terminate_count", {"temporal_workflow_type": "Order"}),
    "activity_tasks.completed_per_sec": ("activity_success_count", {}),
    "activity_tasks.failed_per_sec": ("activity_task_fail_count", {}),
    "activity_tasks.timed_out_per_sec": ("activity_task_timeout_count", {"timeout_type": "start_to_close"}),
    "demand.requests_per_sec": ("service_request_count", {"operation": "StartWorkflowExecution"}),
    "frontend.throttled_per_sec": ("service_request_throttled_count", {"operation": "PollWorkflowTaskQueue"}),
    "demand.rejected_per_sec": ("service_request_throttled_count", {"operation": "StartWorkflowExecution"}),
    "poller.pending_polls": ("service_pending_requests", {"operation": "PollWorkflowTaskQueue"}),
}


def minute_of_signals(signals: Signals) -> list[Sample]:
    """What Cloud would show of a recorded tick."""
    found = []
    for signal_id, (family, labels) in OF_SIGNALS.items():
        value = signals.value(signal_id) or 0.0
        if signal_id == "frontend.throttled_per_sec":
            value = max(0.0, value - (signals.value("demand.rejected_per_sec") or 0.0))
        if value:
            found.append((V1 + family, labels, value))
    for row in signals.rows("matching.tasks_dispatched_per_sec"):
        named = {"temporal_task_queue": row.labels.get("task_queue", ""), "task_type": row.labels.get("task_type", "")}
        found.append((f"{V1}poll_success_count", named, row.value))
    for q in (95, 99):
        if ms := signals.value(f"frontend.latency_p{q}_ms"):
            found.append((f"{V1}service_latency_p{q}", {"operation": "StartWorkflowExecution"}, ms / 1000))
    return found


@dataclass
class CloudEndpoint:
    """The endpoint. `clock` is the time, `minutes` what was counted by the minute's begin, `keys` the keys with the
    status each gets (200: it may read); `values` stand in every minute (limits). `fail`: a status for all requests."""

    clock: Callable[[], Instant]
    minutes: dict[Instant, list[Sample]] = field(default_factory=dict)
    values: list[Sample] = field(default_factory=list)
    keys: dict[str, int] = field(default_factory=lambda: {"key": 200})
    namespace: str = f"shop.{ACCOUNT}"
    max_points: int = MAX_POINTS
    completeness: str = "complete"
    fail: str = ""
    reads: list[Instant] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    url: str = ""

    def add(self, at: Instant, samples: Iterable[Sample]) -> None:
        """What was counted in the minute that `at` is in."""
        self.minutes[floor(at)] = list(samples)

    def answer(self, request: Request) -> bytes:
        """The answer to a request, with its head."""
        now, parts = self.clock(), urlsplit(request.path)
        self.requests.append(request)
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        status = self.keys.get(key, 401) if scheme == "Bearer" else 401
        if self.fail or status != 200:
            reason = {401: "401 Unauthorized", 403: "403 Forbidden"}.get(status, "500 Internal Server Error")
            return response(self.fail or reason, b'{"message": "refused"}')
        self.reads = [t for t in self.reads if now - t < TimeDelta(hours=1)]
        if len(self.reads) >= READS_PER_HOUR:
            left = (self.reads[0].add(hours=1) - now).total("seconds")
            return response("429 Too Many Requests", b"", f"Retry-After: {math.ceil(left)}")
        self.reads.append(now)
        if parts.path == "/v1/descriptors":
            return response("200 OK", json.dumps({"descriptors": []}).encode(), "Content-Type: application/json")
        if parts.path != "/v1/metrics":
            return response("404 Not Found", b"")
        lines, limited = self._lines(now, parse_qs(parts.query))
        head = (
            "Content-Type: application/openmetrics-text; version=1.0.0",
            f"X-Completeness: {'limited' if limited else self.completeness}",
        )
        return response("200 OK", "\n".join([*lines, "# EOF", ""]).encode(), *head)

    def _lines(self, now: Instant, asked: Mapping[str, list[str]]) -> tuple[list[str], bool]:
        at = floor(now - DELAY)
        namespaces, metrics, labels = (asked.get(name, []) for name in ("namespaces", "metrics", "labels"))
        if namespaces and not any(fnmatchcase(self.namespace, n) for n in namespaces):
            return [], False
        lines = []
        for family, own, value in sorted([*self.minutes.get(at, []), *self.values], key=lambda s: (s[0], str(s[1]))):
            if metrics and family not in metrics:
                continue
            of = {"temporal_account": ACCOUNT, "temporal_namespace": self.namespace, "region": REGION, **own}
            shown = ",".join(f'{k}="{v}"' for k, v in of.items() if k not in OPT_IN or k in labels)
            lines.append(f"{family}{{{shown}}} {value:.6g} {int(at.timestamp()) * 1000}")
        return lines[: self.max_points], len(lines) > self.max_points

    @asynccontextmanager
    async def run(self) -> AsyncIterator[Self]:
        """Serve on a free port."""

        async def serve(reader: object, writer: object) -> None:
            while True:
                writer.write(self.answer(await read_request(reader)))  # type: ignore[attr-defined,arg-type]
                await writer.drain()  # type: ignore[attr-defined]

        async with serving(serve) as port:
            self.url = f"http://127.0.0.1:{port}/v1/metrics"
            yield self


def floor(at: Instant) -> Instant:
    """The begin of the minute."""
    return Instant.from_timestamp(int(at.timestamp()) // 60 * 60)


def limits(**values: float) -> list[Sample]:
    """Value families, as `action_limit=500`."""
    return [(V1 + name, {}, value) for name, value in values.items()]
