"""What the logs said about when something began (requirements §4.1): beside the signals by time, never as their cause.

Only known patterns are named: a mined template is text from outside, of which no more than the number is told
here; and of services only those a Temporal server has."""

from collections.abc import Mapping

from whenever import Instant

from copilot.core.figures import count, span
from copilot.core.logs import Correlation, correlated
from copilot.core.signals import LogPattern, Signals
from copilot.core.telling import BEGAN

BESIDE_SEC = 120.0
SAME_TIME_SEC = 5.0
_MOST = 2
_SERVICES = frozenset({"frontend", "history", "matching", "worker", "server", "internal-frontend"})
_BAD = frozenset({"", "warn", "error", "fatal"})


def beside(signals: Signals, began: Mapping[str, Instant]) -> str:
    """The patterns whose first line lies near the beginning of what gates saw (`began`: by gate); empty where none."""
    patterns = {(p.pattern, p.service): p for p in signals.logs if p.level in _BAD or not p.mined}
    said: dict[tuple[str, str], str] = {}
    for found in correlated(patterns.values(), began, BESIDE_SEC):
        key = (found.pattern, found.service)
        if abs(found.lead_sec) <= BESIDE_SEC and key not in said and len(said) < _MOST:
            said[key] = _words(patterns[key], found)
    return f"In the logs: {'; '.join(said.values())}." if said else ""


def _words(pattern: LogPattern, found: Correlation) -> str:
    what = "of a kind not known before" if pattern.mined else f"“{pattern.pattern}”"
    where = f" from {pattern.service}" if pattern.service in _SERVICES else ""
    lead = found.lead_sec
    when = "as" if abs(lead) < SAME_TIME_SEC else f"{span(abs(lead))} {'before' if lead > 0 else 'after'}"
    return f"{count(pattern.count, 'line')} {what}{where}, the first {when} {BEGAN[found.event]}"
