"""The `heartbeat` channels: posts to a service that reports when they stop, while the Copilot itself is well.

The API sends them, because it sees the work of all others: a fresh verdict needs the worker, the loops and the
Copilot's own Temporal. The state store is not needed for a verdict, nor for a heartbeat.
"""

import asyncio
import logging
from collections.abc import Sequence

from copilot.api.live import VerdictCache
from copilot.errors import CopilotError
from copilot.loops.definitions import notify_id
from copilot.loops.live import NOT_RUNNING
from copilot.notify.channels import send_heartbeat
from copilot.notify.decide import Outcome
from copilot.settings.notify import NotifySettings

EVERY_SEC = 30.0

log = logging.getLogger(__name__)


def silent_because(cache: VerdictCache, channel: NotifySettings, clusters: Sequence[str]) -> str:
    """Why no heartbeat is sent now: a cluster without a fresh verdict, a loop that does not run, or a channel that
    refuses notifications. Empty if one is to be sent."""
    for cluster in filter(channel.matches, clusters):
        view = cache.view(cluster)
        if view.evaluation is None or view.evaluation.verdict.stale:
            return f"{cluster} has no fresh verdict"
        for loop, problem in view.loops.items():
            if problem == NOT_RUNNING or (problem and loop == notify_id(cluster)):
                return f"{loop}: {problem}"
    return ""


async def beat(
    cache: VerdictCache, channels: Sequence[NotifySettings], clusters: Sequence[str], every_sec: float = EVERY_SEC
) -> None:
    """Send the heartbeats of all channels until cancelled; what fails is logged when it changes."""
    before = dict.fromkeys((c.name for c in channels), "")
    while True:
        for channel in channels:
            why = silent_because(cache, channel, clusters)
            if not why:
                try:
                    outcome = await send_heartbeat(channel)
                except CopilotError as error:
                    outcome = Outcome(delivered=False, why=str(error))
                why = outcome.why
            if why and why != before[channel.name]:
                log.warning("no heartbeat to %s: %s", channel.name, why,
                            extra={"event": "heartbeat.not_sent", "channel": channel.name})  # fmt: skip
            before[channel.name] = why
        await asyncio.sleep(every_sec)
