"""When a demo run injects which fault: `workers-down@60s-120s`, counted from the first verdict."""

import re
from dataclasses import dataclass

from copilot.core.errors import CopilotError
from copilot.local.faults import fault_named

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class PlanError(CopilotError):
    """A duration or a planned fault cannot be read; the text says how to write it."""


@dataclass(frozen=True)
class PlannedFault:
    """Inject `name` so many seconds after the first verdict; clear it at `until_sec` (None: leave it)."""

    name: str
    at_sec: float = 0.0
    until_sec: float | None = None


def seconds(text: str) -> float:
    """The seconds of `90s`, `1.5m`, `2h`, `500ms` or a bare number; PlanError otherwise."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise PlanError(f"{text!r} is no duration: write 90s, 1.5m or 2h")
    return float(match[1]) * _SECONDS[match[2] or "s"]


def planned_fault(text: str) -> PlannedFault:
    """Read NAME, NAME@60s or NAME@60s-120s; PlanError or FaultError otherwise."""
    name, _, times = text.partition("@")
    fault = fault_named(name)
    if not times:
        if text.endswith("@"):
            raise PlanError(f"{text!r} names no time: write {name}@60s or {name}@60s-120s")
        return PlannedFault(name)
    start, _, end = times.partition("-")
    planned = PlannedFault(name, seconds(start), seconds(end) if end else None)
    if planned.until_sec is not None and planned.until_sec <= planned.at_sec:
        raise PlanError(f"{text!r} ends before it begins")
    if planned.until_sec is not None and fault.lasts_sec is not None:
        raise PlanError(f"{name} ends by itself: write {name}@{start}")
    return planned
