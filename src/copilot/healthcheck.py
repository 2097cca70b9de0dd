"""Health checks of our processes, for container platforms: the worker touches a file, the API answers /healthz.

Neither depends on the watched cluster, on Temporal or on the store: restarting a container does not repair another."""

# ruff: noqa: ASYNC240 - touching the file in the event loop is the point
import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx

from copilot.errors import StartError

TOUCH_EVERY_SEC = 5.0
STALE_AFTER_SEC = 60.0
ANSWER_SEC = 4.0


@contextlib.asynccontextmanager
async def touched(
    file: Path | None, every_sec: float = TOUCH_EVERY_SEC, well: Callable[[], bool] = lambda: True
) -> AsyncIterator[None]:
    """Touch `file` now and, while all is `well`, every `every_sec` seconds from the event loop, so that a hung loop
    shows; remove it at the end. None: do nothing. StartError when it cannot be written."""
    if file is None:
        yield
        return
    try:
        file.touch()
    except OSError as error:
        raise StartError(f"worker.alive_file {file} cannot be written ({error.strerror})") from error

    async def touch() -> None:
        while True:
            await asyncio.sleep(every_sec)
            with contextlib.suppress(OSError):
                if well():
                    file.touch()

    task = asyncio.create_task(touch(), name="touch the file of life")
    try:
        yield
    finally:
        task.cancel()
        file.unlink(missing_ok=True)


def worker_silent(file: Path) -> str | None:
    """What is wrong with the worker; None when it touched `file` within the last minute."""
    try:
        age = time.time() - file.stat().st_mtime
    except OSError:
        return f"{file} does not exist: the worker has not started, or has ended"
    silent = f"the worker has not touched {file} for {age:.0f} s: it hangs, or evaluates no cluster"
    return silent if age > STALE_AFTER_SEC else None


def api_silent(place: str) -> str | None:
    """What is wrong with the API at host:port; None when it answers /healthz with 200, by HTTP or HTTPS. Its
    certificate is not verified: it is made for other host names than this one."""
    problems = []
    for scheme in ("http", "https"):
        try:
            answer = httpx.get(f"{scheme}://{place}/healthz", timeout=ANSWER_SEC, verify=False, trust_env=False)
        except httpx.HTTPError as error:
            problems.append(str(error) or type(error).__name__)
        else:
            if answer.status_code == 200:
                return None
            problems.append(f"status {answer.status_code}")
    return f"the API at {place} does not answer /healthz: {problems[0]}"
