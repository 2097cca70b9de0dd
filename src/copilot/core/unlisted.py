"""What can be known of a queue that a full breakdown leaves out (at most 20 rows an id, largest first): more than it
seems. Nobody serves what nobody polls for; in a queue that is served in order, the oldest task ages as fast as the
clock only while nothing is served; and of what is not served, what arrived is what more waits."""

from collections.abc import Iterable, Mapping

from whenever import Instant

from copilot.core.flow import Flow
from copilot.core.memory import NEVER_SEEN, QueueMemory

UNSERVED_AGEING = 0.9


def infer(
    flows: Iterable[Flow], past: Mapping[str, QueueMemory], described: bool, window_sec: float, now: Instant
) -> None:
    """Fill in what is served and arrives on queues of which it is not listed. `described`: Temporal's API told of
    queues in this tick, so that counts and ages are of now."""
    for flow in flows:
        before = past.get(flow.key, NEVER_SEEN)
        if flow.served is None and (flow.pollers == 0 or (described and _unserved(flow, before, window_sec, now))):
            flow.served = 0.0
        if flow.arrives is None and flow.served == 0 and described and flow.waiting is not None:
            flow.arrives = _arrived(flow.waiting, before, now)


def _unserved(flow: Flow, past: QueueMemory, window_sec: float, now: Instant) -> bool:
    ageing = past.ageing(flow.age, window_sec, now)
    return ageing is not None and ageing >= UNSERVED_AGEING


def _arrived(waiting: float, past: QueueMemory, now: Instant) -> float | None:
    """What arrived since the queue was seen last, in 1/s; None where it was not."""
    if past.waiting is None or past.last_seen is None or now <= past.last_seen:
        return None
    return max(0.0, waiting - past.waiting) / (now - past.last_seen).total("seconds")
