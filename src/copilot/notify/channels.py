"""Channels as the settings name them."""

from copilot.notify import Channel
from copilot.notify.apprise_channel import AppriseChannel
from copilot.notify.pagerduty import PagerDuty
from copilot.notify.slack import Slack
from copilot.notify.webhook import Webhook
from copilot.settings.notify import NotifySettings

KINDS = {"webhook": Webhook, "slack": Slack, "pagerduty": PagerDuty, "apprise": AppriseChannel}


def channel(settings: NotifySettings) -> Channel:
    """The channel. Nothing is read or connected before the first message."""
    made: Channel = KINDS[settings.kind](settings)
    return made
