"""POSTs of JSON, and the `webhook` channel: the message as it is, signed (docs/notifications.md).

URLs and keys are read for every message, so that a changed file counts from the next one on.
"""

import asyncio
import contextlib
import hashlib
import hmac
from collections.abc import Collection, Mapping
from pathlib import Path

import httpx
from pydantic import SecretStr
from whenever import Instant

from copilot.errors import SettingsError
from copilot.http_failures import causes, retry_after_sec
from copilot.notify.decide import Outcome
from copilot.notify.messages import Message, bounded
from copilot.redaction.redactor import redacted
from copilot.settings.notify import NotifySettings
from copilot.settings.sources import valid_http_url

EVENT_ID, TIMESTAMP, SIGNATURE = "Copilot-Event-Id", "Copilot-Timestamp", "Copilot-Signature"
TIMEOUT_SEC = 10.0
RETRYABLE = (408, 425, 429)
MAX_WHY, MAX_BODY_BYTES = 120, 4_096
USER_AGENT = "temporal-sre-copilot"


async def send(settings: NotifySettings, message: Message, timeout_sec: float = TIMEOUT_SEC) -> Outcome:
    """One POST to the URL of the settings. The event id is the same for every attempt; the timestamp is the attempt's.
    The signature is `sha256=` and the HMAC-SHA256, in hexadecimal, of the timestamp, a dot and the body."""
    url, key = secret(settings.url, settings.url_file), secret(settings.secret, settings.secret_file)
    body, timestamp = message.model_dump_json().encode(), str(Instant.now().timestamp())
    signature = hmac.new(key.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    headers = {EVENT_ID: message.event_id, TIMESTAMP: timestamp, SIGNATURE: f"sha256={signature}"}
    return await post(url, body, headers, secrets=(key,), timeout_sec=timeout_sec)


def secret(given: SecretStr | None, file: Path | None) -> str:
    """The value given, or the content of the file. SettingsError if the file cannot be read or is empty."""
    if file is None:
        return given.get_secret_value() if given is not None else ""
    try:
        text = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError([f"{file} cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise SettingsError([f"{file} cannot be read: it is not UTF-8 text"]) from None
    if not text:
        raise SettingsError([f"{file} is empty"])
    return text


async def post(
    url: str,
    content: bytes,
    headers: Mapping[str, str],
    *,
    secrets: Collection[str] = (),
    timeout_sec: float = TIMEOUT_SEC,
) -> Outcome:
    """One POST of JSON. Any 2xx is a delivery; 408, 425, 429 and 5xx can be retried, after the time in Retry-After;
    anything else is final, redirects too. `secrets` are hidden in the outcome."""
    outcome, _ = await exchange(url, content, headers, secrets=secrets, timeout_sec=timeout_sec)
    return outcome


async def exchange(
    url: str,
    content: bytes,
    headers: Mapping[str, str],
    *,
    secrets: Collection[str] = (),
    timeout_sec: float = TIMEOUT_SEC,
    max_bytes: int = MAX_BODY_BYTES,
) -> tuple[Outcome, str]:
    """The same, with the first `max_bytes` of the answer; empty where it was no delivery."""
    if not valid_http_url(url):
        return Outcome(delivered=False, final=True, why="its url is not an http:// or https:// URL"), ""
    address = httpx.URL(url)
    login = httpx.BasicAuth(address.username, address.password) if address.userinfo else None
    # The path is often a secret, and HTTP clients log URLs: it is passed beside the URL.
    request = httpx.Request(
        "POST",
        address.copy_with(raw_path=b"/", userinfo=b"", fragment=None),
        content=content,
        headers={"Content-Type": "application/json", "User-Agent": USER_AGENT, **headers},
        extensions={"target": address.raw_path},
    )
    try:
        async with asyncio.timeout(timeout_sec), httpx.AsyncClient(timeout=None, follow_redirects=False) as client:
            response = await client.send(request, stream=True, auth=login)
            async with contextlib.aclosing(response):
                text = (await anext(response.aiter_bytes(max_bytes), b"")).decode("utf-8", errors="replace")
    except TimeoutError:
        return Outcome(
            delivered=False, doubtful=True, why=f"no answer from {address.host} within {timeout_sec:g} s"
        ), ""
    except (httpx.ConnectError, httpx.UnsupportedProtocol, httpx.ProxyError) as error:
        return Outcome(delivered=False, why=f"{address.host} cannot be reached ({_reason(error)})"), ""
    except httpx.HTTPError as error:
        return Outcome(delivered=False, doubtful=True, why=f"{address.host}: {_reason(error)}"), ""
    if response.is_success:
        return Outcome(delivered=True), text
    for each in filter(None, (*secrets, url)):
        text = text.replace(each, "‹secret›")
    status, text = response.status_code, bounded(redacted(text), MAX_WHY)
    why = redacted(f"answered {status} {response.reason_phrase}".rstrip() + (f": {text}" if text else ""))
    retryable = status in RETRYABLE or status >= 500
    wait = retry_after_sec(response.headers.get("Retry-After", ""), Instant.now()) if retryable else None
    return Outcome(delivered=False, final=not retryable, doubtful=status >= 500, why=why, retry_after_sec=wait), ""


def _reason(error: httpx.HTTPError) -> str:
    for cause in causes(error):
        if isinstance(cause, ConnectionRefusedError):
            return "connection refused"
        if "CERTIFICATE" in str(cause).upper():
            return "its certificate is not trusted"
    return type(error).__name__
