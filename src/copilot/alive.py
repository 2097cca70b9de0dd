"""Whether a process of ours is alive, as whoever runs containers asks every few seconds: the worker by a file that it
touches, the API by an answer. Neither says how the watched cluster is, nor whether Temporal or the store are there: a
container that is killed because another one is away helps nobody."""

import asyncio
import contextlib
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

from copilot.core.errors import StartError

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


def api_silent(url: str) -> str | None:
    """None when GET /healthz below `url` answers 200, else what is wrong."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/healthz", timeout=ANSWER_SEC) as answer:
            status: int = answer.status
    except (OSError, ValueError, urllib.error.URLError) as error:
        return f"no answer from {url} ({error})"
    return None if status == 200 else f"{url}/healthz answered {status}"
