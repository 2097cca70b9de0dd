"""Whatever apprise can reach: mail, Teams, Telegram, ntfy and a hundred more. Needs the extra `notify`."""

import asyncio
import logging
from dataclasses import dataclass

from copilot.errors import SettingsError
from copilot.notify.decide import Outcome
from copilot.notify.messages import Notice
from copilot.notify.posting import WITHIN_SEC, secret
from copilot.settings.notify import NotifySettings

TYPES = {"happy": "success", "stressed": "warning", "critical": "failure", "unknown": "warning"}


@dataclass(frozen=True)
class AppriseChannel:
    """Sends by the apprise url of the settings."""

    settings: NotifySettings
    within_sec: float = 2 * WITHIN_SEC

    async def send(self, notice: Notice) -> Outcome:
        """One message. apprise says only whether it was delivered. SettingsError where it is not installed."""
        try:
            from apprise import Apprise, NotifyFormat, NotifyType
        except ImportError:
            raise SettingsError(
                [f"channel {self.settings.name!r} needs apprise: install temporal-sre-copilot[notify]"]
            ) from None
        # What it logs below a warning holds addresses.
        logging.getLogger("apprise").setLevel(logging.WARNING)
        to = Apprise()
        # The first one reads all of apprise's plugins, which takes a second.
        if not await asyncio.to_thread(to.add, secret(self.settings.url, self.settings.url_file)):
            return Outcome(delivered=False, final=True, why="its url is none that apprise knows")
        kind = NotifyType("info" if notice.kind == "test" else TYPES[notice.health_state.value])
        try:
            async with asyncio.timeout(self.within_sec):
                done = await to.async_notify(
                    body=text(notice), title=notice.headline, notify_type=kind, body_format=NotifyFormat.TEXT
                )
        except TimeoutError:
            return Outcome(delivered=False, doubtful=True, why=f"apprise did not end within {self.within_sec:g} s")
        if done:
            return Outcome(delivered=True)
        return Outcome(delivered=False, doubtful=True, why="apprise could not deliver it: the worker's log says why")


def text(notice: Notice) -> str:
    """The message as lines of plain text."""
    lines = [
        notice.summary,
        f"Cause: {notice.finding.title}" if notice.finding else "",
        f"Do first: {notice.action.description}" if notice.action else "",
        notice.links.page or "",
        notice.links.guide or "",
    ]
    return "\n".join(line for line in lines if line) or notice.headline
