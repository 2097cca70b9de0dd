"""Thresholds of the gates: the priors of requirements §2 as defaults, any of them can be set in copilot.toml."""

from copilot.core.signals import Frozen


class Thresholds(Frozen):
    """To be filled by the rules."""
