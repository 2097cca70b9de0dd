"""What is reported of a cause when it is no longer over its limit: it is past only when it is seen to be gone.

Below its limit is not gone: a request that fails now and then, because a connection still hangs, is the same incident.
"""

from collections.abc import Iterable
from typing import Literal

from copilot.rules.findings.registry import (
    BY_NAME,
    EXPLAINS,
    LOOK_BY_HAND,
    NOT_OVER,
    WAIT_AND_SEE,
    action,
    without_actions,
)
from copilot.rules.gates.context import RECOVERY_MARGIN
from copilot.rules.gates.registry import COUNTS_EVENTS
from copilot.rules.model import ActionType, Detected, GateResult, OfferedAction, Severity


def still_seen(cause: Detected, gates: Iterable[GateResult]) -> bool:
    """Whether one of the cause's gates is firing, could not be judged because its input is missing, is close to its
    threshold, or still counts an event."""
    return any(_still(gate) for gate in gates if gate.name in cause.contributing_factors)


def as_remembered(cause: Detected, gates: Iterable[GateResult]) -> Detected:
    """A cause that is still the best guess: what is risky to do is not advised where none of its gates is firing."""
    if any(gate.fired and not gate.unjudged for gate in gates if gate.name in cause.contributing_factors):
        return cause
    safe = (a for a in cause.actions if (known := action(cause.finding, a.key)) and known.risk == "low")
    return cause.model_copy(update={"actions": tuple(safe)})


def may_come_back(cause: Detected) -> bool:
    """Whether the cause is seen by counts of events, of which there may be none for a while."""
    return not COUNTS_EVENTS.isdisjoint(cause.contributing_factors)


def _still(gate: GateResult) -> bool:
    if gate.fired or gate.unjudged == "missing":
        return True
    if gate.name in COUNTS_EVENTS:
        return bool(gate.value)
    return gate.margin is not None and gate.margin < RECOVERY_MARGIN


def as_past(cause: Detected) -> Detected:
    """A cause that is seen to be gone."""
    return _milder(cause, "past", (OfferedAction(key=WAIT_AND_SEE.key),))


def as_fading(cause: Detected) -> Detected:
    """A cause that is within its limits and not seen to be gone: what can be looked at stays advised, nothing else."""
    finding = BY_NAME.get(cause.finding)
    looks = {known.key for known in finding.actions if known.kind is ActionType.ALERT} if finding else set()
    offered = tuple(known for known in cause.actions if known.key in looks)
    return _milder(cause, "fading", offered or (OfferedAction(key=NOT_OVER.key),))


def as_unsure(cause: Detected) -> Detected:
    """A cause that was seen last, when too little can be read to tell whether it is still there."""
    return cause.model_copy(update={"phase": "unsure", "actions": (OfferedAction(key=LOOK_BY_HAND.key),)})


def as_consequences(before: Detected, found: tuple[Detected, ...], *, seen: bool) -> tuple[Detected, ...]:
    """The findings with `before` as their cause, where it was the server's and explains the first of them that rests on
    gates. `seen`: whether it is still seen itself. Workers that were the cause and still do not keep up are not over."""
    of_server = before.finding in BY_NAME and BY_NAME[before.finding].component not in ("workers", "application")
    consequences = EXPLAINS.get(before.finding, frozenset()) if of_server else frozenset()
    first = next((d for d in found if d.contributing_factors), None)
    if first is None or first.finding not in consequences or any(d.finding == before.finding for d in found):
        return found
    after = _milder(before, "after", (OfferedAction(key=WAIT_AND_SEE.key),))
    return (as_fading(before) if seen else after, *without_actions(found, consequences))


def _milder(cause: Detected, phase: Literal["fading", "past", "after"], actions: tuple[OfferedAction, ...]) -> Detected:
    return cause.model_copy(update={"severity": Severity.WARNING, "phase": phase, "actions": actions})
