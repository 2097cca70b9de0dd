"""From gates and memory to a state (requirements §3)."""

from copilot.core.signals import Frozen


class Memory(Frozen):
    """What the state machine remembers between ticks. `Memory()` remembers nothing."""
