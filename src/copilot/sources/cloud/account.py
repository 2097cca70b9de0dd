"""The metrics endpoint of one account of Temporal Cloud, read at most once a minute whoever asks.

An account allows 180 reads an hour to all that scrape it. All clusters of an installation share one read, and all its
workers, through the state store: who claims a minute reads it and stores the page, the others take it from there. While
the store does not answer, each worker reads once a minute by itself.
"""

import asyncio
import gzip
import hashlib
import logging
from collections.abc import Callable, Collection
from pathlib import Path

import httpx
from pydantic import SecretStr
from whenever import Instant

from copilot.errors import SettingsError, SourceError, StoreError
from copilot.http_failures import retry_after_sec
from copilot.metrics.cloud import CloudMinute, SharedPage, SharedPages, parse_page
from copilot.rules.signals.cloud import FAMILIES
from copilot.rules.signals.readings import MissingCode
from copilot.settings.cloud import KEY_VARIABLE, CloudSettings
from copilot.sources import ThrottledLog, time_limit
from copilot.sources.http import BearerToken, fetch, status_error, system_trust, unreadable
from copilot.telemetry.spans import SourceClient

EVERY_SEC = 60.0
"""Between two reads: 60 an hour, a third of what an account allows."""
TIMEOUT_SEC = 6.0
WAIT_FOR_OTHER_SEC, LOOK_AGAIN_SEC = 3.0, 0.25
"""How long a worker waits for the page that another one reads, and how often it looks."""
MAX_PAGE_BYTES = 32_000_000
MAX_POINTS = 30_000
LONGEST_PAUSE_SEC = 3600.0
COMPLETENESS = "X-Completeness"
_INCOMPLETE = {
    "limited": f"the page is cut off at {MAX_POINTS:,} points: watch fewer namespaces of this account",
    "unknown": "Temporal Cloud does not know whether the page is complete",
}
log = logging.getLogger(__name__)


class CloudAccount:
    """One account's endpoint, for these namespaces. `shared`: where other workers find the pages; None: nowhere.
    `clock` is the time. SettingsError: there is no API key, or its file cannot be read."""

    def __init__(
        self,
        settings: CloudSettings,
        namespaces: Collection[str],
        *,
        shared: SharedPages | None = None,
        clock: Callable[[], Instant] = Instant.now,
    ) -> None:
        key = settings.key
        if key is None:
            raise SettingsError([f"cloud: there is no API key: set api_key, api_key_file or {KEY_VARIABLE}"])
        self._url = httpx.URL(settings.metrics_url).copy_merge_params(
            [*(("namespaces", n) for n in sorted(namespaces)), *(("metrics", f) for f in sorted(FAMILIES))]
        )
        self._client = SourceClient(
            "cloud",
            verify=system_trust(settings.metrics_url),
            auth=BearerToken(key.get_secret_value() if isinstance(key, SecretStr) else _readable(key)),
        )
        self._key = hashlib.sha256(f"{settings.metrics_url} {sorted(namespaces)}".encode()).hexdigest()[:32]
        self._shared = shared
        self._clock = clock
        self._lock = asyncio.Lock()
        self._held: SharedPage | None = None
        self._minute: CloudMinute | None = None
        self._log = ThrottledLog(log, "cloud.pages_not_shared")

    async def newest(self) -> CloudMinute:
        """The newest minute, read now where that is due. SourceError: why there is none."""
        async with self._lock:
            if self._held is None or self._clock() >= self._held.next_at:
                await self._advance()
            assert self._held is not None
            if self._held.failure_code is not None:
                raise SourceError(self._held.failure_code, self._held.failure)
            if self._minute is None:
                self._minute = minute_of(self._held.page.decode(), self._held.completeness)
            return self._minute

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _hold(self, page: SharedPage) -> None:
        if self._held is None or page.page != self._held.page or page.completeness != self._held.completeness:
            self._minute = None
        self._held = page

    async def _advance(self) -> None:
        """Read the page that is due, or take the one that another worker reads."""
        if self._shared is None:
            self._hold(await self._read())
            return
        try:
            now = self._clock()
            if await self._shared.claim_page(self._key, now, now.add(seconds=EVERY_SEC)):
                page = await self._read()
                self._hold(page)
                await self._shared.share_page(self._key, _packed(page))
            else:
                await self._take()
        except StoreError as error:
            self._log.warning("Temporal Cloud's pages are not shared with other workers: %s", error)
            if self._held is None or self._clock() >= self._held.next_at:
                self._hold(await self._read())

    async def _take(self) -> None:
        """The page that another worker read, or reads just now: what was read before where that takes long."""
        assert self._shared is not None
        loop = asyncio.get_running_loop()
        end, before = loop.time() + WAIT_FOR_OTHER_SEC, self._held
        while True:
            found = await self._shared.shared_page(self._key)
            late = loop.time() >= end
            if (
                found is not None
                and (found.page or found.failure)
                and (before is None or late or _packed(before).page != found.page)
            ):
                self._hold(_unpacked(found))
                return
            if late:
                waiting = "no worker has read Temporal Cloud's metrics yet"
                until = self._clock().add(seconds=LOOK_AGAIN_SEC)
                self._hold(before or SharedPage(next_at=until, failure_code=MissingCode.TIMEOUT, failure=waiting))
                return
            await asyncio.sleep(LOOK_AGAIN_SEC)

    async def _read(self) -> SharedPage:
        """One GET. A failure is a page without metrics; 429 says when the next read may be."""
        next_at, completeness = self._clock().add(seconds=EVERY_SEC), "unknown"
        pause = EVERY_SEC

        def refused(response: httpx.Response, _: bytes) -> SourceError:
            nonlocal pause
            if response.status_code == 429:
                pause = retry_after(response.headers.get("retry-after", ""))
                detail = f"Temporal Cloud's limit of reads is used up (HTTP 429): the next read is in {pause:.0f} s"
                return SourceError(MissingCode.DROPPED, f"{detail}; who else reads this account's metrics?")
            if response.status_code in (401, 403):
                return SourceError(MissingCode.FORBIDDEN, _REFUSED[response.status_code])
            return status_error(response, expected="metrics endpoint of Temporal Cloud")

        async def note(response: httpx.Response) -> None:
            nonlocal completeness
            completeness = response.headers.get(COMPLETENESS, "unknown").strip().lower()

        self._client.event_hooks = {"response": [note]}
        try:
            async with time_limit(TIMEOUT_SEC):
                body, _ = await fetch(
                    self._client,
                    "GET",
                    self._url,
                    refusal=refused,
                    max_bytes=MAX_PAGE_BYTES,
                    what="page",
                    headers={"Accept": "application/openmetrics-text"},
                )
            minute_of(body.decode(errors="replace"), completeness)
        except SourceError as error:
            later = self._clock().add(seconds=max(pause, EVERY_SEC))
            detail = f"Temporal Cloud's metrics ({self._url.host}): {error.detail}"
            return SharedPage(next_at=later, failure_code=error.code, failure=detail)
        return SharedPage(next_at=next_at, completeness=completeness, page=body)


_REFUSED = {
    401: "the API key is refused (HTTP 401): is it whole, and not expired?",
    403: "the API key may not read metrics (HTTP 403): give its service account the role Metrics Read-Only",
}


def retry_after(header: str) -> float:
    """Seconds until the next read, by a Retry-After header; a minute where it does not say."""
    seconds = retry_after_sec(header, Instant.now())
    return min(max(seconds or EVERY_SEC, EVERY_SEC), LONGEST_PAUSE_SEC)


def minute_of(text: str, completeness: str) -> CloudMinute:
    """The minute on a page. SourceError (parse): it is not one of Temporal Cloud's; an empty page is no minute."""
    try:
        found = parse_page(text)
    except ValueError as error:
        raise unreadable(str(error)) from error
    if found is None:
        what = "HTML instead of metrics" if text.lstrip().startswith("<") else "nothing of Temporal Cloud on the page"
        raise unreadable(f"{what}: are the namespaces right, and may the key read them?")
    at, samples = found
    if not at:
        raise unreadable("the samples have no time")
    incomplete = "" if completeness == "complete" else _INCOMPLETE.get(completeness, _INCOMPLETE["unknown"])
    return CloudMinute(Instant.from_timestamp(at), samples, incomplete)


def _readable(file: Path) -> Path:
    try:
        file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"cloud.api_key_file {file} cannot be read"]) from error
    return file


def _packed(page: SharedPage) -> SharedPage:
    return page.model_copy(update={"page": gzip.compress(page.page, mtime=0) if page.page else b""})


def _unpacked(page: SharedPage) -> SharedPage:
    return page.model_copy(update={"page": gzip.decompress(page.page) if page.page else b""})
