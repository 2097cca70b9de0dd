"""How a command runs until a signal ends it."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_until_signal(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` to its end, or until SIGINT, SIGTERM or SIGHUP cancels it. Further signals are ignored while it cleans
    up."""

    async def cancelled_by_signals() -> None:
        task = asyncio.ensure_future(work)
        received: list[signal.Signals] = []

        def cancel(number: signal.Signals) -> None:
            if not received:
                received.append(number)
                task.cancel()

        for number in ENDING_SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, cancel, number)
        try:
            await task
        except asyncio.CancelledError:
            if not received:
                raise

    asyncio.run(cancelled_by_signals())
