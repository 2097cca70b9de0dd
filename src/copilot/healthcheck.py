"""Health checks of our processes, for container platforms: the worker touches a file, the API answers /healthz.

Neither depends on the watched cluster, on Temporal or on the store: restarting a container does not repair another."""

# ruff: noqa: ASYNC240 - touching the file in the event loop is the point
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
    """Touch `file` now and every `every_sec` seconds from the event loop, so that a hung loop shows; remove it at the
    end. None: do nothing. StartError when it cannot be written."""
    if file is None:
        yield
        return
    try:
        file.touch()
    except OSError as error:
        raise StartError(f"worker.alive_file {file} cannot be written ({error.strerror})") from error
    task = asyncio.create_task(_touch(file, every_sec), name="touch the file of life")
    try:
        yield
    finally:
        task.cancel()
        file.unlink(missing_ok=True)


async def _touch(file: Path, every_sec: float) -> None:
    while True:
        await asyncio.sleep(every_sec)
        with contextlib.suppress(OSError):
            file.touch()


def worker_silent(file: Path) -> str | None:
    """What is wrong with the worker; None when it touched `file` within the last minute."""
    try:
        age = time.time() - file.stat().st_mtime
    except OSError:
        return f"{file} does not exist: the worker has not started, or has ended"
    return f"the worker has not touched {file} for {age:.0f} s" if age > STALE_AFTER_SEC else None


def api_silent(place: str) -> str | None:
    """What is wrong with the API at host:port; None when it answers /healthz with 200, by HTTP or HTTPS. Its
    certificate is not verified: it is made for other host names than this one."""
    problems = [_problem(f"{scheme}://{place}/healthz") for scheme in ("http", "https")]
    return None if None in problems else f"the API at {place} does not answer /healthz: {problems[0]}"


def _problem(url: str) -> str | None:
    try:
        answer = httpx.get(url, timeout=ANSWER_SEC, verify=False, trust_env=False)
    except httpx.HTTPError as error:
        return str(error) or type(error).__name__
    return None if answer.status_code == 200 else f"status {answer.status_code}"
