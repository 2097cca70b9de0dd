"""Findings about task queues: who polls them, which version waits, what nobody wants any more."""

from copilot.explain.numbers import count, listed, per_sec, rate
from copilot.rules.bottleneck import SERVER_REFUSES, WORK_WAITS, draining, exhausted_slots, polled, waiting_flows
from copilot.rules.findings.context import Facts, issue, queues_named, waiting_words
from copilot.rules.flow import Flow
from copilot.rules.model import Issue

NOT_THE_SERVER = "The server is not the problem."
UNVERSIONED = "unversioned"


def _unpolled(facts: Facts) -> list[Flow]:
    """Flows that wait, are hardly served, and that nobody polls; where the API knows of no poller, what was served is
    of earlier in the rate window."""
    limit = facts.view.thresholds.stalled_served_share
    return [
        f
        for f in waiting_flows(facts.view)
        if polled(f, facts.view.signals) is False
        and f.served is not None
        and (f.pollers == 0 or f.served <= max(limit * (f.arrives or 0.0), 1e-9))
    ]


def no_pollers(facts: Facts) -> Issue | None:
    """Work waits on task queues that no worker polls."""
    gates = facts.fired(*WORK_WAITS)
    unpolled = _unpolled(facts)
    if not gates or not unpolled or exhausted_slots(facts.view) or facts.fired(*SERVER_REFUSES):
        return None
    queues = sorted({f.task_queue for f in unpolled if f.task_type})
    where = queues_named(queues) if queues else "the task queues"
    seen = " Their metrics pages are gone too." if facts.view.signals.targets.get("worker") == 0 else ""
    return issue(
        "no_pollers",
        facts,
        gates,
        f"No worker polls {where}: {waiting_words(unpolled)}",
        f"The workers are gone, cannot connect, or poll another queue.{seen} {NOT_THE_SERVER}",
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
    waiting = round(sum(row.value for row in stranded))
    polling = sorted(set().union(*(polled_by[_queue_of(row.labels)] for row in stranded)))
    return issue(
        "version_without_pollers",
        facts,
        gates,
        f"{_whom(versions)} {queues_named(queues)}: {count(waiting, 'task')} {'waits' if waiting == 1 else 'wait'}",
        f"Workers there poll as {listed(polling)}; these tasks are for {_those(versions)}. {NOT_THE_SERVER}",
        subject=", ".join(queues),
        signals=("version.backlog_count", "version.pollers"),
        parameters={"task_queue": ", ".join(queues), "worker_version": ", ".join(versions)},
    )


def _whom(versions: list[str]) -> str:
    if versions == [UNVERSIONED]:
        return "No worker runs the version of the tasks on"
    return f"No worker runs version {listed(versions)} on"


def _those(versions: list[str]) -> str:
    return (
        "no version, or for a current one that never polled there"
        if versions == [UNVERSIONED]
        else f"version {listed(versions)}"
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
        f"A backlog drains: {waiting_words(flows)}",
        f"{per_sec(served, 'task')} are served and {rate(arrives)} arrive, so what piled up goes down by itself.",
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
        f"Old tasks lie on {queues_named(queues)}, where nothing arrives: {waiting_words(flows)}",
        "Nobody adds to the queue any more, so it is left out of the verdict.",
        subject=", ".join(queues),
        signals=("matching.backlog_count",),
        parameters={"task_queue": ", ".join(queues)},
    )
