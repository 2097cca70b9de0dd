"""The chain from a cause to work not done (requirements §3.11), link by link, with the numbers in it.

Slots fill, so workers stop polling, so tasks wait, so workflows do not complete; or the server refuses, so its history
finishes nothing, so nothing is served. Only links that are seen broken are told, the earliest first.
"""

from collections.abc import Iterator

from copilot.core.bottleneck import SERVER_REFUSES, WORK_WAITS, exhausted_slots, waiting_flows
from copilot.core.facts import Facts

_REFUSALS = {
    "unreachable": "the frontend does not answer",
    "persistence_errors": "the database fails calls",
    "persistence_throttled": "the persistence rate limit refuses database calls",
    "history_throttled": "history's attempts are refused by a limit",
    "rate_limited": "a rate limit refuses requests and polls",
    "frontend_errors": "the server fails requests",
    "turned_away": "requests that bring work are turned away",
}

# What a cause explains: found beside it, these are its wake and not causes of their own.
WAKE: dict[str, frozenset[str]] = {
    cause: wake
    for causes, wake in (
        (
            ("server_unreachable", "persistence_failing", "persistence_throttled", "rate_limited", "frontend_errors"),
            frozenset(
                {
                    "frontend_errors",
                    "membership_change",
                    "shard_churn",
                    "persistence_slow",
                    "history_backlog",
                    "frontend_slow",
                    "worker_slow",
                    "workflow_task_failures",
                    "sticky_cache_thrash",
                }
            ),
        ),
        (
            ("load_burst", "persistence_slow"),
            frozenset({"slots_exhausted", "persistence_slow", "history_backlog", "frontend_slow", "worker_slow"}),
        ),
        (("no_pollers", "version_without_pollers", "slots_exhausted"), frozenset({"worker_slow", "history_backlog"})),
        (("sticky_cache_thrash", "workflow_task_failures"), frozenset({"worker_slow"})),
        (("membership_change",), frozenset({"shard_churn", "history_backlog", "frontend_slow", "worker_slow"})),
    )
    for cause in causes
}


def chain(facts: Facts) -> tuple[str, ...]:
    """The broken links in the order of cause and effect; fewer than two are no chain."""
    links = tuple(_links(facts))
    return links if len(links) > 1 else ()


def _links(facts: Facts) -> Iterator[str]:
    view = facts.view
    refusing = [name for name in _REFUSALS if name in SERVER_REFUSES and facts.gates[name].fired]
    if refusing:
        yield _REFUSALS[refusing[0]]
        yield from _history(facts)
    elif (kind := exhausted_slots(view)) is not None:
        used = view.signals.value(f"workers.{kind}_slots_used")
        count = f"{used:.0f} " if used else ""
        yield f"all {count}{kind} slots are busy"
        yield f"workers stop polling for {kind} tasks"
    elif facts.workers.nobody_polls:
        yield "no worker polls"
    if facts.fired(*WORK_WAITS):
        age = max((f.age or 0.0 for f in waiting_flows(view)), default=0.0)
        yield f"tasks wait, the oldest for {age:.0f} s" if age else "tasks wait"
    starts = view.signals.value("demand.starts_per_sec")
    done = view.signals.value("workflow_completion.success_per_sec")
    if starts and done is not None and done < 0.5 * starts:
        yield f"{done:.2g} workflows/s complete while {starts:.2g}/s start"


def _history(facts: Facts) -> Iterator[str]:
    tried = facts.view.signals.value("history.task_processing_rate_per_sec")
    acked = facts.view.signals.value("history.tasks_acked_per_sec")
    if tried and acked is not None and acked < 0.5 * tried:
        yield f"history finishes {acked:.2g} of {tried:.2g} task attempts/s"
