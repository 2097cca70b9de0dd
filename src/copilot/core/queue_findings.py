"""Findings about task queues: who polls them, which version waits, what nobody wants any more."""

from copilot.core.assessment import Issue
from copilot.core.bottleneck import SERVER_REFUSES, WORK_WAITS, draining, exhausted_slots, polled, waiting_flows
from copilot.core.facts import Facts, issue
from copilot.core.flow import Flow


def _named(queues: list[str]) -> str:
    """`task queue a`, `task queues a, b and c`."""
    listed = " and ".join(filter(None, (", ".join(queues[:-1]), *queues[-1:])))
    return f"task queue{'s' if len(queues) > 1 else ''} {listed}"


def _waiting(flows: list[Flow]) -> str:
    """How many tasks wait and how long the oldest has, in words."""
    waiting = sum(f.waiting or 0.0 for f in flows)
    oldest = max((f.age or 0.0 for f in flows), default=0.0)
    count = f"{waiting:.0f} tasks waiting" if waiting else "tasks waiting"
    return f"{count}, the oldest for {oldest:.0f} s" if oldest else count


def _unpolled(facts: Facts) -> list[Flow]:
    """Flows that wait, are hardly served, and that nobody polls."""
    limit = facts.view.thresholds.stalled_served_share
    return [
        f
        for f in waiting_flows(facts.view)
        if polled(f, facts.view.signals) is False
        and f.served is not None
        and f.served <= max(limit * (f.arrives or 0.0), 1e-9)
    ]


def no_pollers(facts: Facts) -> Issue | None:
    """Work waits on task queues that no worker polls."""
    gates = facts.fired(*WORK_WAITS)
    unpolled = _unpolled(facts)
    if not gates or not unpolled or exhausted_slots(facts.view) or facts.fired(*SERVER_REFUSES):
        return None
    queues = sorted({f.task_queue for f in unpolled if f.task_type})
    where = _named(queues) if queues else "the task queues"
    seen = " Their metrics pages are gone too." if facts.view.signals.targets.get("worker") == 0 else ""
    return issue(
        "no_pollers",
        facts,
        gates,
        f"No pollers on {where}: {_waiting(unpolled)}",
        f"No worker asks for these tasks.{seen} The server is not the problem.",
        subject=", ".join(queues),
        signals=("poller.pending_polls",),
        parameters={"task_queue": ", ".join(queues)} if queues else None,
    )


def version_without_pollers(facts: Facts) -> Issue | None:
    """Tasks wait for a worker version nobody runs, while other versions are polled for."""
    signals = facts.view.signals
    polled_by: dict[tuple[str, str, str], set[str]] = {}
    for row in signals.rows("version.pollers"):
        if row.value > 0:
            polled_by.setdefault(_queue_of(row.labels), set()).add(row.labels.get("worker_version", ""))
    stranded = [
        row
        for row in signals.rows("version.backlog_count")
        if row.value > 0
        and (others := polled_by.get(_queue_of(row.labels)))
        and row.labels.get("worker_version", "") not in others
    ]
    gates = facts.fired(*WORK_WAITS)
    if not stranded or not gates or facts.fired(*SERVER_REFUSES):
        return None
    versions = sorted({row.labels.get("worker_version", "") for row in stranded})
    queues = sorted({row.labels.get("task_queue", "") for row in stranded})
    polling = sorted(set().union(*(polled_by[_queue_of(row.labels)] for row in stranded)))
    return issue(
        "version_without_pollers",
        facts,
        gates,
        f"No worker runs version {', '.join(versions)} on {_named(queues)}: "
        f"{sum(row.value for row in stranded):.0f} tasks waiting",
        f"Workers poll as {', '.join(polling)}; these tasks are for another version. The server is not the problem.",
        subject=", ".join(queues),
        signals=("version.backlog_count", "version.pollers"),
        parameters={"task_queue": ", ".join(queues), "worker_version": ", ".join(versions)},
    )


def _queue_of(labels: dict[str, str]) -> tuple[str, str, str]:
    return labels.get("namespace", ""), labels.get("task_queue", ""), labels.get("task_type", "")


def backlog_draining(facts: Facts) -> Issue | None:
    """Work that piled up is being served faster than new work comes."""
    gates = facts.fired(*WORK_WAITS)
    if not gates or not draining(facts.view) or facts.fired(*SERVER_REFUSES):
        return None
    flows = waiting_flows(facts.view)
    arrives, served = (sum(rates) for rates in zip(*((f.arrives or 0.0, f.served or 0.0) for f in flows), strict=True))
    return issue(
        "backlog_draining",
        facts,
        gates,
        f"A backlog drains: {_waiting(flows)}",
        f"Workers serve {served:.2g} tasks/s and {arrives:.2g}/s arrive, so what piled up before goes down by itself.",
    )


def abandoned_queue(facts: Facts) -> Issue | None:
    """Old tasks wait on a queue on which nothing arrives: listed, and moves nothing (requirements §3.1)."""
    flows = [f for f in facts.view.queues.values() if (f.waiting or 0.0) > 0 and facts.view.abandoned(f)]
    if not flows:
        return None
    queues = sorted({f.task_queue for f in flows})
    return issue(
        "abandoned_queue",
        facts,
        [],
        f"Nothing arrives on {_named(queues)}, and old tasks wait there: {_waiting(flows)}",
        "Nobody adds to the queue any more, so it is left out of the verdict.",
        subject=", ".join(queues),
        signals=("matching.backlog_count",),
        parameters={"task_queue": ", ".join(queues)},
    )
