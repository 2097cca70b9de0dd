"""Channels over apprise: mail, Teams, Telegram, ntfy and many more. Needs the extra `notify`."""

import asyncio
import logging
from dataclasses import dataclass

from copilot.errors import SettingsError
from copilot.notify.decide import Outcome
from copilot.notify.messages import Message
from copilot.notify.webhook import TIMEOUT_SEC, secret
from copilot.settings.notify import NotifySettings

TYPES = {"happy": "success", "stressed": "warning", "critical": "failure", "unknown": "warning"}


@dataclass(frozen=True)
class AppriseChannel:
    """Sends to the apprise URL of the settings."""

    settings: NotifySettings
    timeout_sec: float = 2 * TIMEOUT_SEC

    async def send(self, message: Message) -> Outcome:
        """One message. apprise reports only whether it was delivered. SettingsError if it is not installed."""
        try:
            from apprise import Apprise, NotifyFormat, NotifyType
        except ImportError:
            needs = f"channel {self.settings.name!r} needs apprise: install temporal-sre-copilot[notify]"
            raise SettingsError([needs]) from None
        # Below a warning, its log contains URLs.
        logging.getLogger("apprise").setLevel(logging.WARNING)
        target = Apprise()
        # The first call loads all of apprise's plugins, which takes a second.
        if not await asyncio.to_thread(target.add, secret(self.settings.url, self.settings.url_file)):
            return Outcome(delivered=False, final=True, why="apprise does not know its url")
        kind = NotifyType("info" if message.kind == "test" else TYPES[message.health_state.value])
        text = "\n".join([*message.lines(), *message.links().values()]) or message.headline
        parts = {"body": text, "title": message.headline, "notify_type": kind, "body_format": NotifyFormat.TEXT}
        try:
            async with asyncio.timeout(self.timeout_sec):
                if await target.async_notify(**parts):
                    return Outcome(delivered=True)
        except TimeoutError:
            why = f"apprise did not complete within {self.timeout_sec:g} s"
        else:
            why = "apprise could not deliver it: see the worker's log"
        return Outcome(delivered=False, doubtful=True, why=why)
