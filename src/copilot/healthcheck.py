"""Whether a process of ours is alive, as whoever runs containers asks every few seconds: the worker by a file that it
touches, the API by an answer. Neither says how the watched cluster is, nor whether Temporal or the store are there: a
container that is killed because another one is away helps nobody."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx

from copilot.errors import StartError

TOUCH_EVERY_SEC = 5.0
STALE_AFTER_SEC = 60.0
ANSWER_SEC = 4.0


@contextlib.asynccontextmanager
async def touched(file: Path | None, every_sec: float = TOUCH_EVERY_SEC) -> AsyncIterator[None]:
    """Touch `file` now and every `every_sec` seconds from the event loop, so that one that hangs is seen; remove it at
    the end. None: do nothing. StartError when it cannot be written."""
    if file is None:
        yield
        return
    try:
        _mark(file)
    except OSError as error:
        raise StartError(f"worker.alive_file {file} cannot be written ({error.strerror})") from error
    task = asyncio.create_task(_touch(file, every_sec), name="touch the file of life")
    try:
        yield
    finally:
        task.cancel()
        _remove(file)


async def _touch(file: Path, every_sec: float) -> None:
    while True:
        await asyncio.sleep(every_sec)
        with contextlib.suppress(OSError):
            _mark(file)


def _mark(file: Path) -> None:
    file.touch()


def _remove(file: Path) -> None:
    file.unlink(missing_ok=True)


def worker_silent(file: Path) -> str | None:
    """None when the worker touched `file` within the last minute, else what is wrong."""
    try:
        age = time.time() - file.stat().st_mtime
    except OSError:
        return f"{file} is not there: the worker has not begun, or has ended"
    return f"the worker has not touched {file} for {age:.0f} s" if age > STALE_AFTER_SEC else None


def api_silent(place: str) -> str | None:
    """None when the API at host:port answers /healthz with 200 here, by HTTP or by HTTPS, else what is wrong. Its
    certificate is not looked at: it was made for those who come from elsewhere."""
    said = [_answer(f"{scheme}://{place}/healthz") for scheme in ("http", "https")]
    return None if None in said else f"the API at {place} does not answer as it should: {said[0]}"


def _answer(url: str) -> str | None:
    try:
        answer = httpx.get(url, timeout=ANSWER_SEC, verify=False, trust_env=False)
    except httpx.HTTPError as error:
        return str(error) or type(error).__name__
    return None if answer.status_code == 200 else f"status {answer.status_code}"
