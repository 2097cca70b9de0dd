"""Addresses and keys of channels, read when they are needed: a file that is changed counts from the next message on."""

import asyncio
from collections.abc import Collection, Mapping
from pathlib import Path

import httpx
from pydantic import SecretStr
from whenever import Instant

from copilot.errors import SettingsError
from copilot.notify.decide import Outcome
from copilot.notify.messages import bounded
from copilot.redaction.redactor import redacted
from copilot.settings.notify import http_address


def secret(given: SecretStr | None, file: Path | None) -> str:
    """What was given, or stands in the file. SettingsError if the file cannot be read or is empty."""
    if file is None:
        return given.get_secret_value() if given is not None else ""
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SettingsError([f"{file} cannot be read: {why}"]) from None
    if not text:
        raise SettingsError([f"{file} is empty"])
    return text


WITHIN_SEC = 10.0
TRY_AGAIN = (408, 425, 429)
SAID, ANSWER_BYTES = 120, 4_096
USER_AGENT = "temporal-sre-copilot"


async def post(
    url: str,
    content: bytes,
    headers: Mapping[str, str],
    *,
    secrets: Collection[str] = (),
    within_sec: float = WITHIN_SEC,
) -> Outcome:
    """One POST of JSON. Any 2xx is delivered; 408, 425, 429 and 5xx are to be tried again, after what Retry-After
    says; all else is final, redirects too. `secrets` are hidden in what is said of an answer."""
    if not http_address(url):
        return Outcome(delivered=False, final=True, why="its url is no http:// or https:// address")
    address = httpx.URL(url)
    login = httpx.BasicAuth(address.username, address.password) if address.userinfo else None
    # The path is often a secret, and HTTP clients log addresses: it travels beside the address.
    request = httpx.Request(
        "POST",
        address.copy_with(raw_path=b"/", userinfo=b"", fragment=None),
        content=content,
        headers={"Content-Type": "application/json", "User-Agent": USER_AGENT, **headers},
        extensions={"target": address.raw_path},
    )
    try:
        async with asyncio.timeout(within_sec), httpx.AsyncClient(timeout=None, follow_redirects=False) as client:
            answer = await client.send(request, stream=True, auth=login)
            try:
                said = await _beginning(answer)
            finally:
                await answer.aclose()
    except TimeoutError:
        return Outcome(delivered=False, doubtful=True, why=f"no answer from {address.host} within {within_sec:g} s")
    except (httpx.ConnectError, httpx.UnsupportedProtocol, httpx.ProxyError) as error:
        return Outcome(delivered=False, why=f"{address.host} cannot be reached ({_reason(error)})")
    except httpx.HTTPError as error:
        return Outcome(delivered=False, doubtful=True, why=f"{address.host}: {_reason(error)}")
    return _judged(answer, _hidden(said, (*secrets, url)))


async def _beginning(answer: httpx.Response) -> str:
    """The first of what was answered."""
    kept = b""
    async for piece in answer.aiter_bytes():
        kept += piece
        if len(kept) >= ANSWER_BYTES:
            break
    return kept[:ANSWER_BYTES].decode("utf-8", errors="replace")


def _judged(answer: httpx.Response, said: str) -> Outcome:
    if answer.is_success:
        return Outcome(delivered=True)
    status = answer.status_code
    why = f"answered {status} {answer.reason_phrase}".rstrip() + (f": {said}" if said else "")
    again = status in TRY_AGAIN or status >= 500
    wait = retry_after_sec(answer.headers.get("Retry-After", ""), Instant.now()) if again else None
    return Outcome(delivered=False, final=not again, doubtful=status >= 500, why=why, retry_after_sec=wait)


def retry_after_sec(text: str, now: Instant) -> float | None:
    """What a Retry-After header asks for: seconds, or a moment (RFC 9110 §10.2.3). None if it says nothing."""
    if text.isascii() and text.strip().isdigit():
        return float(text[:9])
    try:
        return max(0.0, (Instant.parse_rfc2822(text) - now).total("seconds"))
    except ValueError:
        return None


def _hidden(said: str, secrets: Collection[str]) -> str:
    for each in secrets:
        if each:
            said = said.replace(each, "‹secret›")
    return bounded(redacted(said), SAID)


def _reason(error: httpx.HTTPError) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionRefusedError):
            return "connection refused"
        if "CERTIFICATE" in str(cause).upper():
            return "its certificate is not trusted"
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
