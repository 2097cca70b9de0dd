"""A webhook of the operator's own: the message as JSON, signed (docs/notifications.md)."""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

from whenever import Instant

from copilot.notify.decide import Outcome
from copilot.notify.messages import Notice
from copilot.notify.posting import WITHIN_SEC, post, secret
from copilot.settings.notify import NotifySettings

EVENT_ID, TIMESTAMP, SIGNATURE = "Copilot-Event-Id", "Copilot-Timestamp", "Copilot-Signature"


@dataclass(frozen=True)
class Webhook:
    """Posts to the url of the settings."""

    settings: NotifySettings
    within_sec: float = WITHIN_SEC
    now: Callable[[], Instant] = Instant.now

    async def send(self, notice: Notice) -> Outcome:
        """One POST; the event id is the same for every attempt, the timestamp is the attempt's."""
        url = secret(self.settings.url, self.settings.url_file)
        key = secret(self.settings.secret, self.settings.secret_file)
        body = notice.model_dump_json().encode()
        timestamp = str(self.now().timestamp())
        headers = {EVENT_ID: notice.event_id, TIMESTAMP: timestamp, SIGNATURE: signature(key, timestamp, body)}
        return await post(url, body, headers, secrets=(key,), within_sec=self.within_sec)


def signature(key: str, timestamp: str, body: bytes) -> str:
    """`sha256=` and the HMAC-SHA256, in hexadecimal, of the timestamp, a dot and the body."""
    return "sha256=" + hmac.new(key.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
