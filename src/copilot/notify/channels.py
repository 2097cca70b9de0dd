"""A channel delivers messages over one protocol. Which notifications it gets, and when, is decided in decide.py."""

from typing import Protocol

from copilot.notify.apprise_channel import AppriseChannel
from copilot.notify.decide import Outcome
from copilot.notify.messages import Message
from copilot.notify.pagerduty import PagerDuty
from copilot.notify.slack import Slack
from copilot.notify.webhook import Webhook
from copilot.settings.notify import NotifySettings


class Channel(Protocol):
    """Where messages can be sent."""

    async def send(self, message: Message) -> Outcome:
        """Try once to deliver it, within seconds. A failure of the other side is an outcome, without secrets, and never
        raises. SettingsError: a secret's file cannot be read, or an extra is not installed."""


KINDS = {"webhook": Webhook, "slack": Slack, "pagerduty": PagerDuty, "apprise": AppriseChannel}


def channel(settings: NotifySettings) -> Channel:
    """The channel of these settings. It reads no file and connects to nothing before the first message."""
    made: Channel = KINDS[settings.kind](settings)
    return made
