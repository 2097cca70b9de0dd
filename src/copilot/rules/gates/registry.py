"""All gates, in the order of the rules, and what follows from their records."""

from copilot.rules.gates import pressure, progress
from copilot.rules.gates.context import Component, Effect, Gate, GateContext
from copilot.rules.model import GateResult, Severity

GATES: tuple[Gate, ...] = (*progress.GATES, *pressure.GATES)
BY_NAME = {gate.name: gate for gate in GATES}
CRITICAL = frozenset(gate.name for gate in GATES if gate.worst is Severity.CRITICAL)
IMMEDIATE = frozenset(gate.name for gate in GATES if gate.immediate)
OF_COMPLETED_WORK = frozenset(gate.name for gate in GATES if gate.of_completed_work)

COUNTS_EVENTS = frozenset(gate.name for gate in GATES if gate.counts_events)


def with_effect(effect: Effect) -> tuple[str, ...]:
    """Names of the gates with an effect, in the order of the rules."""
    return tuple(gate.name for gate in GATES if gate.effect is effect)


SERVER_REFUSES = with_effect(Effect.REFUSES)
SERVER_SLOW = with_effect(Effect.SLOW)
BACKLOG = with_effect(Effect.BACKLOG)
CODE_FAILS = with_effect(Effect.CODE_FAILS)


def of_component(component: Component) -> tuple[str, ...]:
    """Names of a component's own gates; a backlog is matching's symptom and no one's own."""
    return tuple(gate.name for gate in GATES if gate.component == component and gate.effect is not Effect.BACKLOG)


def judge(context: GateContext) -> tuple[GateResult, ...]:
    """The results of all gates, in the order of the rules."""
    return tuple(gate.result(context) for gate in GATES)
