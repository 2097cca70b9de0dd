"""Worker scaling rules (requirements §3.7): no suggestion from any source may break them.

Enforced so far: NEVER_SCALE_DOWN_AT_ZERO. A poller/executor mismatch is a finding (worker_findings.py); the sticky
queue warning and the restart to redistribute are still to be built."""

from collections.abc import Iterable
from enum import StrEnum

from copilot.core.assessment import ActionType, SuggestedAction
from copilot.core.signals import Signals


class ScalingRule(StrEnum):
    """The rules' names."""

    NEVER_SCALE_DOWN_AT_ZERO = "never_scale_down_at_zero"
    STICKY_QUEUE_WARNING = "sticky_queue_warning"
    RESTART_TO_REDISTRIBUTE = "restart_to_redistribute"
    POLLER_EXECUTOR_MISMATCH = "poller_executor_mismatch"


def pollers_over_slots(signals: Signals) -> str | None:
    """`workflow` or `activity` where more pollers ask for tasks than there are slots to run them, else None."""
    for kind in ("workflow", "activity"):
        pollers = signals.value(f"workers.{kind}_pollers")
        free, used = signals.value(f"workers.{kind}_slots_available"), signals.value(f"workers.{kind}_slots_used")
        if None not in (pollers, free, used) and (pollers or 0) > (free or 0) + (used or 0) > 0:
            return kind
    return None


def broken_rule(action: SuggestedAction, signals: Signals) -> ScalingRule | None:
    """The rule an action would break, else None: workers are never scaled down while no slot is free, nobody polls, or
    nothing says how many slots are free."""
    down = action.action_type is ActionType.SCALE and action.parameters.get("direction") == "down"
    if not down or action.target_service != "workers":
        return None
    free = [signals.value(f"workers.{k}_slots_available") for k in ("workflow", "activity")]
    idle = all(f is not None and f > 0 for f in free) and (signals.value("poller.pending_polls") or 0) > 0
    return None if idle else ScalingRule.NEVER_SCALE_DOWN_AT_ZERO


def permitted(actions: Iterable[SuggestedAction], signals: Signals) -> tuple[SuggestedAction, ...]:
    """The actions that break no rule."""
    return tuple(a for a in actions if broken_rule(a, signals) is None)
