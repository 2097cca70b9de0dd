"""Worker scaling rules (requirements §3.7): no suggestion from any source may break them.

- NEVER_SCALE_DOWN_AT_ZERO: workers are not scaled down while no slot is free, nobody polls, or nothing says so.
- STICKY_QUEUE_WARNING: a cached workflow's tasks go to the worker that holds it. Workers added take new work only, and
  workers removed leave their workflows to be replayed: a suggestion to scale workers says so where caches are in use.
- RESTART_TO_REDISTRIBUTE: what old workers hold reaches added ones only when the old ones are restarted one by one, so
  scaling up full workers comes with that suggestion, after the scaling and never instead of it.
- POLLER_EXECUTOR_MISMATCH: pollers are not to outnumber slots; a suggestion that would raise pollers alone is dropped
  while they do.
"""

from collections.abc import Iterable
from enum import StrEnum

from copilot.rules.model import ActionType, SuggestedAction
from copilot.rules.signals.readings import Signals


class ScalingRule(StrEnum):
    """The rules' names."""

    NEVER_SCALE_DOWN_AT_ZERO = "never_scale_down_at_zero"
    STICKY_QUEUE_WARNING = "sticky_queue_warning"
    RESTART_TO_REDISTRIBUTE = "restart_to_redistribute"
    POLLER_EXECUTOR_MISMATCH = "poller_executor_mismatch"


def pollers_over_slots(signals: Signals) -> str | None:
    """`workflow` or `activity` where pollers are not fewer than slots, else None. SDKs let only as many poll as there
    are free slots, so a surplus shows as pollers on every slot of idle workers."""
    for kind in ("workflow", "activity"):
        pollers = signals.value(f"workers.{kind}_pollers")
        free, used = signals.value(f"workers.{kind}_slots_available"), signals.value(f"workers.{kind}_slots_used")
        if None not in (pollers, free, used) and (pollers or 0) >= (free or 0) + (used or 0) > 0:
            return kind
    return None


def slots_used_up(signals: Signals) -> bool:
    """Whether the workers have no slot left of one type or the other."""
    return any(signals.value(f"workers.{kind}_slots_available") == 0 for kind in ("workflow", "activity"))


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


def permitted(actions: Iterable[SuggestedAction], signals: Signals) -> tuple[SuggestedAction, ...]:
    """The actions that break no rule, with what the rules have to add to them."""
    kept: list[SuggestedAction] = []
    for action in actions:
        if broken_rule(action, signals) is None:
            kept.extend(_advised(action, signals))
    return tuple(kept)


def _advised(action: SuggestedAction, signals: Signals) -> list[SuggestedAction]:
    """The action; where workers that hold cached workflows are scaled, with the sticky queue warning, and the restart
    that lets added workers share what full ones hold."""
    cached = (signals.value("worker_cache.sticky_size") or 0) >= 1
    if action.action_type is not ActionType.SCALE or action.target_service != "workers" or not cached:
        return [action]
    up = action.parameters.get("direction") != "down"
    moves = (
        "workflows that run stay with the workers that cache them"
        if up
        else "what they cache is replayed by the others"
    )
    warned = action.model_copy(
        update={
            "description": f"{action.description} Mind the sticky queues: {moves}.",
            "parameters": {**action.parameters, "rule": ScalingRule.STICKY_QUEUE_WARNING.value},
        }
    )
    if not up or not slots_used_up(signals):
        return [warned]
    restart = action.model_copy(
        update={
            "action_type": ActionType.RESTART,
            "description": "If the added workers stay idle, restart the old ones one by one, so that work spreads.",
            "confidence": round(action.confidence / 2, 2),
            "parameters": {"rule": ScalingRule.RESTART_TO_REDISTRIBUTE.value},
        }
    )
    return [warned, restart]
