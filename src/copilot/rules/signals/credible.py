"""Readings that cannot be true together are missing: they neither fire a gate nor clear one.

Sources of such readings: a back end that switches between replicas of a counter (one rate is hundreds of times the
requests' own), and recordings of a release that took a family the server does not emit for a zero.
"""

from collections.abc import Iterator

from copilot.rules.signals.readings import Missing, MissingCode, Signals

AT_MOST_TIMES = 10.0
"""How many times its whole a part may seem to be: requests that hung for long are answered, and fail, together."""

ANSWERS_TIMES = 3.0
"""The same where each must have been dispatched shortly before."""

LEAST_WHOLE = 1.0
FEW = 0.1

REJECTED, FAILED = "demand.rejected_per_sec", "workflow_tasks.failed_per_sec"
_PARTS = (
    ("frontend.error_rate_per_sec", "frontend.request_rate_per_sec"),
    (REJECTED, "demand.requests_per_sec"),
    ("persistence.error_rate_per_sec", "persistence.request_rate_per_sec"),
    ("persistence.throttled_per_sec", "persistence.request_rate_per_sec"),
    ("history.throttled_per_sec", "history.task_processing_rate_per_sec"),
    (FAILED, "matching.tasks_dispatched_per_sec"),
    ("workflow_tasks.timed_out_per_sec", "matching.tasks_dispatched_per_sec"),
    ("activity_tasks.failed_per_sec", "matching.tasks_dispatched_per_sec"),
)
"""What is counted, and what it is a part of (1/s)."""
_SUMS = {REJECTED: "frontend.error_rate_per_sec"}
"""What else counts the same events."""


def credible(signals: Signals) -> Signals:
    """The signals without the readings that cannot be true, which are missing with the contradiction as the reason."""
    doubts = dict(_impossible(signals))
    doubts.update((i, Missing(code=MissingCode.NO_SOURCE, detail=why)) for i, why in _not_emitted(signals))
    return signals.without(doubts) if doubts else signals


def _impossible(signals: Signals) -> Iterator[tuple[str, Missing]]:
    for part, whole in _PARTS:
        value, of = signals.value(part), signals.value(whole)
        if value is not None and of is not None and value > _times(part) * max(of, LEAST_WHOLE):
            detail = f"{value:.3g}/s beside {whole} {of:.3g}/s cannot be true; was a counter replaced?"
            yield part, Missing(code=MissingCode.PARSE, detail=detail)
            if (total := _SUMS.get(part)) and (signals.value(total) or 0.0) >= value / 2:
                yield total, Missing(code=MissingCode.PARSE, detail=detail)


def _times(part: str) -> float:
    return ANSWERS_TIMES if part == FAILED else AT_MOST_TIMES


def _not_emitted(signals: Signals) -> Iterator[tuple[str, str]]:
    """Zeros of families that the server seems not to emit."""
    read = signals.readings.get
    dispatched, starts = read("matching.tasks_dispatched_per_sec") or 0.0, read("demand.starts_per_sec") or 0.0
    if dispatched <= FEW:
        return
    if read("demand.tasks_added_per_sec") == 0 and starts > FEW:
        why = f"0/s cannot be true: {starts:.3g} workflows/s start and {dispatched:.3g} tasks/s are dispatched"
        yield "demand.tasks_added_per_sec", why
        if read("matching.tasks_spooled_per_sec") == 0:
            yield "matching.tasks_spooled_per_sec", "the server counts no added tasks, so none of them as stored"
    polling = (read("workers.workflow_pollers") or 0.0) + (read("workers.activity_pollers") or 0.0)
    # Heartbeats are up to minutes old: only what workers' pages say now contradicts.
    if read("poller.pending_polls") == 0 and polling and signals.targets.get("worker"):
        why = f"0 cannot be true: workers have {polling:.3g} polls open and {dispatched:.3g} tasks/s are dispatched"
        yield "poller.pending_polls", why
