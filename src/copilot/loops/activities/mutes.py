"""The mutes of a cluster, as the notifying loop's activities read and advance them.

While the state store does not answer, those that were read last still hold back: a store that is down neither wakes
people nor silences anything that nobody has silenced.
"""

import asyncio
import logging
from collections.abc import Sequence
from itertools import groupby

from whenever import Instant

from copilot.errors import StoreError
from copilot.notify.decide import Notification
from copilot.rules.incident_log import IncidentEntry
from copilot.rules.mutes import HeldBack, Judged, MuteEvent, MuteLife, Seen, judge
from copilot.store.base import Store
from copilot.store.mutes import ALERTMANAGER

READ_SEC = 3.0
LOOK_BACK_HOURS = 2
"""Mutes that ended so long ago still count: what is firing is sent when one ends, and a summary is retried."""

log = logging.getLogger(__name__)


class MutesRead:
    """The mutes in a store, and those read last of each cluster."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last: dict[str, list[MuteLife]] = {}

    async def judged(self, cluster: str, now: Seen) -> Judged:
        """The cluster's mutes against what is seen; what happens to them is stored. Never raises."""
        try:
            async with asyncio.timeout(READ_SEC):
                self._last[cluster] = await self._store.mutes(cluster, now.time.subtract(hours=LOOK_BACK_HOURS))
        except (StoreError, TimeoutError) as error:
            log.warning(
                "%s: mutes cannot be read: %s", cluster, str(error) or "no answer", extra={"event": "mutes.not_read"}
            )
        judged = judge(self._last.get(cluster, ()), now)
        self._last[cluster] = list(judged.lives)
        for mute_id, events in groupby(judged.events, key=lambda e: e.mute_id):
            life = next(life for life in judged.lives if life.mute.id == mute_id)
            await self._save(life, *events)
        return judged

    async def hold(self, cluster: str, life: MuteLife, channel: str, notification: Notification, now: Instant) -> None:
        """Remember a notification that is not sent; once, however often it is held back. Never raises."""
        held = HeldBack(
            channel=channel, notification=notification.kind, state=notification.state,
            event_id=notification.event_id(cluster),
        )  # fmt: skip
        event = MuteEvent(mute_id=life.mute.id, kind="held", at=now, held=held)
        if event.key not in {e.key for e in life.held}:
            await self._save(life, event)

    async def silenced_there(self, cluster: str, links: Sequence[str], now: Instant) -> None:
        """Remember which of Alertmanager's own silences hold back the cluster's alerts. Never raises."""
        document = {"time": now.format_iso(), "links": list(links)}
        try:
            async with asyncio.timeout(READ_SEC):
                await self._store.save_inspection(cluster, ALERTMANAGER, now, document)
        except (StoreError, TimeoutError) as error:
            log.warning("%s: not stored: %s", cluster, str(error) or "no answer", extra={"event": "mutes.not_stored"})

    async def record(self, cluster: str, entry: IncidentEntry) -> None:
        """Remember what came of a notification. Never raises."""
        try:
            async with asyncio.timeout(READ_SEC):
                await self._store.save_incident_entry(cluster, entry)
        except (StoreError, TimeoutError) as error:
            log.warning("%s: not stored: %s", cluster, str(error) or "no answer", extra={"event": "notify.not_stored"})

    async def _save(self, life: MuteLife, *events: MuteEvent) -> None:
        try:
            async with asyncio.timeout(READ_SEC):
                await self._store.save_mute_events(life.mute, events)
        except (StoreError, TimeoutError) as error:
            log.warning(
                "%s: not stored: %s", life.mute.id, str(error) or "no answer", extra={"event": "mutes.not_stored"}
            )
