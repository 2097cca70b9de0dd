"""Worker scaling rules: no suggestion from any source may break them.

- NEVER_SCALE_DOWN_AT_ZERO: workers are not scaled down while no slot is free, there are no pollers, or nothing tells.
- STICKY_QUEUE_WARNING: tasks of a cached workflow go to the worker that caches it. Added workers take new work only,
  and workflows of removed workers are replayed: a suggestion to scale workers says so where caches are in use.
- RESTART_TO_REDISTRIBUTE: what old workers cache reaches added ones only when the old ones restart one by one, so
  scaling up full workers comes with that suggestion, after the scaling and never instead of it.
- POLLER_EXECUTOR_MISMATCH: pollers must not outnumber slots; a suggestion that raises only pollers is dropped while
  they do.
"""

from collections.abc import Iterable
from enum import StrEnum, auto

from copilot.rules.findings.context import Action
from copilot.rules.model import ActionType, OfferedAction, SuggestedAction
from copilot.rules.signals.readings import Signals


class ScalingRule(StrEnum):
    """The rules' names."""

    NEVER_SCALE_DOWN_AT_ZERO = auto()
    STICKY_QUEUE_WARNING = auto()
    RESTART_TO_REDISTRIBUTE = auto()
    POLLER_EXECUTOR_MISMATCH = auto()


RESTART_TO_REDISTRIBUTE = Action(
    "restart_to_redistribute", ActionType.RESTART, "workers",
    "If the added workers stay idle, restart the old ones one by one, so that work spreads.", 0.4,
)  # fmt: skip


def pollers_over_slots(signals: Signals) -> str | None:
    """`workflow` or `activity` where there are at least as many pollers as slots, else None. SDKs let only as many poll
    as there are free slots, so a surplus shows as pollers on every slot of idle workers."""
    for kind in ("workflow", "activity"):
        pollers = signals.value(f"workers.{kind}_pollers")
        free, used = signals.value(f"workers.{kind}_slots_available"), signals.value(f"workers.{kind}_slots_used")
        if None not in (pollers, free, used) and (pollers or 0) >= (free or 0) + (used or 0) > 0:
            return kind
    return None


def broken_rule(action: SuggestedAction, signals: Signals) -> ScalingRule | None:
    """The rule an action would break, else None."""
    if action.target_service != "workers":
        return None
    if action.parameters.get("raise") == "pollers" and pollers_over_slots(signals) is not None:
        return ScalingRule.POLLER_EXECUTOR_MISMATCH
    if action.action_type is not ActionType.SCALE or action.parameters.get("direction") != "down":
        return None
    free = [signals.value(f"workers.{k}_slots_available") for k in ("workflow", "activity")]
    idle = all(f is not None and f > 0 for f in free) and (signals.value("poller.pending_polls") or 0) > 0
    return None if idle else ScalingRule.NEVER_SCALE_DOWN_AT_ZERO


def offered(actions: Iterable[Action], signals: Signals) -> tuple[OfferedAction, ...]:
    """The actions with what the rules add to them: where workers that cache workflows are scaled up, the sticky queue
    warning, and for full workers the restart that spreads their work."""
    cached = (signals.value("worker_cache.sticky_size") or 0) >= 1
    full = any(signals.value(f"workers.{kind}_slots_available") == 0 for kind in ("workflow", "activity"))
    result: list[OfferedAction] = []
    for action in actions:
        scales = cached and action.kind is ActionType.SCALE and action.target == "workers"
        rule = ScalingRule.STICKY_QUEUE_WARNING.value if scales else ""
        result.append(OfferedAction(key=action.key, rule=rule))
        if scales and full:
            rule = ScalingRule.RESTART_TO_REDISTRIBUTE.value
            result.append(OfferedAction(key=RESTART_TO_REDISTRIBUTE.key, rule=rule))
    return tuple(result)
