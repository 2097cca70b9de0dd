"""What a person could do about each finding."""

from functools import lru_cache
from typing import Literal

from copilot.explain.numbers import listed
from copilot.rules.model import ActionType, SuggestedAction

_Risk = Literal["low", "medium", "high"]
_Action = tuple[ActionType, str, str, float, _Risk]

_ACTIONS: dict[str, tuple[_Action, ...]] = {
    "server_unreachable": (
        (ActionType.ALERT, "frontend", "See whether the server's processes run and answer; look at host and network. Leave the workers: they connect again by themselves.", 0.9, "low"),
        (ActionType.RESTART, "frontend", "Restart the server if its process hangs or is gone.", 0.6, "medium"),
    ),
    "metrics_blind": (
        (ActionType.CONFIGURE, "metrics", "Restore the metrics endpoint or the way to it; until then look by hand, and take silence neither for health nor for an outage.", 0.9, "low"),
    ),
    "persistence_failing": (
        (ActionType.ALERT, "persistence", "Look at the database: locks, disk, failover, credentials. Restarting workers or server does not help.", 0.85, "low"),
    ),
    "persistence_throttled": (
        (ActionType.CONFIGURE, "history", "Raise the persistence rate limits, if the database has room for it. More workers do not help.", 0.8, "medium"),
    ),
    "rate_limited": (
        (ActionType.CONFIGURE, "frontend", "Raise the namespace's request rate limit, or lower what calls it. More workers only poll more.", 0.85, "medium"),
    ),
    "frontend_errors": (
        (ActionType.ALERT, "persistence", "Look at the database and at the history service's log first. Restarting workers does not help.", 0.75, "low"),
    ),
    "no_pollers": (
        (ActionType.SCALE, "workers", "Start workers for {where}, or mend the deployment that runs them. Leave the server.", 0.9, "low"),
    ),
    "version_without_pollers": (
        (ActionType.SCALE, "workers", "Start workers {version}, or make a version current that has some. More workers of the others do not help.", 0.9, "low"),
    ),
    "backlog_draining": (
        (ActionType.ALERT, "workers", "Wait and watch it go down; leave workers and server alone.", 0.8, "low"),
    ),
    "abandoned_queue": (
        (ActionType.CONFIGURE, "application", "End the workflows that wait there, or name the queue in ignore_task_queues.", 0.6, "high"),
    ),
    "membership_change": (
        (ActionType.ALERT, "server", "If nobody deployed or scaled, see why the process ended; else wait two minutes.", 0.7, "low"),
    ),
    "client_mistakes": (
        (ActionType.ALERT, "application", "Tell the callers' team; nothing is to be done on the cluster.", 0.8, "low"),
    ),
    "load_burst": (
        (ActionType.ALERT, "clients", "Find out who starts so much, and whether it will last.", 0.7, "low"),
        (ActionType.SCALE, "workers", "Add workers if the load is there to stay.", 0.5, "low"),
    ),
    "slots_exhausted": (
        (ActionType.SCALE, "workers", "Add workers or slots; find what holds the slots. Do not stop the full workers first.", 0.85, "low"),
    ),
    "shard_churn": (
        (ActionType.ALERT, "history", "See whether history hosts restart or lose contact with each other.", 0.7, "low"),
    ),
    "persistence_slow": (
        (ActionType.ALERT, "persistence", "Look at the database's load, slow queries and disk. More workers add load.", 0.75, "low"),
    ),
    "history_backlog": (
        (ActionType.ALERT, "history", "See what history's tasks wait for: database, locks, throttling.", 0.65, "low"),
    ),
    "workflow_task_failures": (
        (ActionType.RESTART, "workers", "Roll back the last worker release; stuck executions then go on by themselves. Do not terminate them.", 0.8, "medium"),
    ),
    "retry_storm": (
        (ActionType.ALERT, "application", "Look at what the failing activity depends on; it is retried by itself. Restarting workers does not help.", 0.8, "low"),
    ),
    "sticky_cache_thrash": (
        (ActionType.CONFIGURE, "workers", "Raise the workers' workflow cache, or add workers.", 0.75, "low"),
    ),
    "worker_slow": (
        (ActionType.SCALE, "workers", "Add workers, or find what their code waits for.", 0.7, "low"),
    ),
    "frontend_slow": (
        (ActionType.ALERT, "frontend", "Look at the history service and the database behind the slow calls.", 0.6, "low"),
    ),
    "poller_executor_mismatch": (
        (ActionType.CONFIGURE, "workers", "Set fewer pollers than slots.", 0.8, "low"),
    ),
    "application_failures": (
        (ActionType.ALERT, "application", "Tell the team that owns the failing workflow type.", 0.85, "low"),
    ),
}  # fmt: skip


_VERSIONS = {"": "of that version", "unversioned": "of the current version"}


def _named(parameters: dict[str, str | int | float]) -> dict[str, str]:
    """What an action's words leave open."""
    queues = [name for name in str(parameters.get("task_queue", "")).split(", ") if name]
    where = f"task queue{'s' if len(queues) > 1 else ''} {listed(queues)}" if queues else "the task queue"
    wanted = str(parameters.get("worker_version", ""))
    return {"where": where, "version": _VERSIONS.get(wanted, f"of version {wanted}")}


WAIT_AND_SEE = SuggestedAction(
    action_type=ActionType.ALERT,
    target_service="server",
    description="Nothing needs doing now: see that it stays so, and find out why it happened.",
    confidence=0.7,
    risk_level="low",
)
"""What is to be done about what is over."""
LOOK_BY_HAND = WAIT_AND_SEE.model_copy(
    update={"description": "Too little can be read to say whether it is over: look by hand until more can."}
)
"""What is to be done about what may be over, or not."""


def actions_for(finding: str, parameters: dict[str, str | int | float]) -> tuple[SuggestedAction, ...]:
    """The actions for a finding, best first; scaling is always up."""
    return _made(finding, tuple(parameters.items()))


@lru_cache(maxsize=256)
def _made(finding: str, parameters: tuple[tuple[str, str | int | float], ...]) -> tuple[SuggestedAction, ...]:
    """They stay the same for as long as an incident lasts."""
    return tuple(
        SuggestedAction(
            action_type=kind,
            target_service=target,
            description=text.format(**_named(dict(parameters))),
            confidence=confidence,
            risk_level=risk,
            parameters={**dict(parameters), **({"direction": "up"} if kind is ActionType.SCALE else {})},
            runbook=finding,
        )
        for kind, target, text, confidence, risk in _ACTIONS.get(finding, ())
    )
