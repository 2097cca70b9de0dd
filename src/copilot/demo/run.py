"""What the running API says, as it comes in."""

import asyncio
import signal
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

import httpx

from copilot.demo.faults import FaultDesk, PlannedFault
from copilot.demo.stack import DemoOptions, demo_stack
from copilot.embedded.data_folder import RunningDemo
from copilot.embedded.supervisor import Event
from copilot.errors import StartError

POLL_SEC = 0.5
ASK_SEC = 2.0
ID = "evaluation_id"


class Verdicts:
    """Reads the API at `base_url`. Used as an async context manager by way of its client."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def status(self) -> dict[str, Any] | None:
        """GET /status; None while there is no answer."""
        return await self._get("/status")

    async def evaluations(self) -> AsyncIterator[dict[str, Any]]:
        """Each new evaluation once, as the replay contract writes it (design.md §4), from the newest on."""
        last: object = None
        while True:
            newest = await self._get("/status/evaluation")
            if newest is not None and newest.get(ID) != last:
                last = newest.pop(ID)
                yield newest
            await asyncio.sleep(POLL_SEC)

    async def _get(self, path: str) -> dict[str, Any] | None:
        try:
            answer = await self._client.get(path)
        except httpx.HTTPError:
            return None
        if answer.status_code != httpx.codes.OK:
            return None
        body = answer.json()
        return body if isinstance(body, dict) else None


def verdicts_client(base_url: str) -> httpx.AsyncClient:
    """A client for an API on this machine: no proxy, short patience."""
    return httpx.AsyncClient(base_url=base_url, timeout=ASK_SEC, trust_env=False)


FIRST_VERDICT_WITHIN_SEC = 120.0
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Screen:
    """Where a run shows itself; by itself it shows nothing."""

    def event(self, event: Event) -> None:
        """Something happened to a part of the stack."""

    def running(self, demo: RunningDemo) -> None:
        """All parts run."""

    def evaluation(self, line: dict[str, Any]) -> None:
        """A new evaluation, as the replay contract writes it."""

    def status(self, status: dict[str, Any] | None) -> None:
        """What GET /status says now; None: no answer."""


async def run_demo(options: DemoOptions, plan: Sequence[PlannedFault], for_sec: float | None, screen: Screen) -> None:
    """Run until `for_sec` after the first verdict, or until a signal. StartError or FaultError if it cannot be done."""
    async with demo_stack(options, screen.event) as stack:
        screen.running(stack.described)
        async with verdicts_client(stack.described.page) as client:
            verdicts = Verdicts(client)
            first = asyncio.Event()
            await first_done(
                _show_evaluations(verdicts, screen, first),
                _show_status(verdicts, screen),
                _after_first_verdict(first, stack.desk, plan, for_sec),
            )


def until_told_to_end(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` to its end, or until a signal asks us to end: then it is cancelled and tidies up. Further signals are
    ignored meanwhile."""
    asyncio.run(_cancelled_by_signals(work))


async def _cancelled_by_signals(work: Coroutine[Any, Any, None]) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    asked: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        if not asked:
            asked.append(number)
            task.cancel()

    for number in ENDING_SIGNALS:
        loop.add_signal_handler(number, end, number)
    try:
        await task
    except asyncio.CancelledError:
        if not asked:
            raise


async def first_done(*works: Coroutine[Any, Any, None]) -> None:
    """Do all at once until the first is done or fails; the others are cancelled."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in done:
        task.result()


async def _show_evaluations(verdicts: Verdicts, screen: Screen, first: asyncio.Event) -> None:
    async for line in verdicts.evaluations():
        screen.evaluation(line)
        first.set()


async def _show_status(verdicts: Verdicts, screen: Screen) -> None:
    while True:
        screen.status(await verdicts.status())
        await asyncio.sleep(POLL_SEC)


async def _after_first_verdict(
    first: asyncio.Event, desk: FaultDesk, plan: Sequence[PlannedFault], for_sec: float | None
) -> None:
    try:
        await asyncio.wait_for(first.wait(), FIRST_VERDICT_WITHIN_SEC)
    except TimeoutError:
        raise StartError(
            f"no verdict within {FIRST_VERDICT_WITHIN_SEC:g} s: the logs of copilot-worker and copilot-api say why"
        ) from None
    loop = asyncio.get_running_loop()
    start = loop.time()
    deeds = [(fault.at_sec, desk.inject, fault.name) for fault in plan]
    deeds += [(fault.until_sec, desk.clear, fault.name) for fault in plan if fault.until_sec is not None]
    for at_sec, deed, name in sorted(deeds, key=lambda deed: deed[0]):
        if for_sec is not None and at_sec >= for_sec:
            break
        await asyncio.sleep(start + at_sec - loop.time())
        await deed(name)
    await (asyncio.Event().wait() if for_sec is None else asyncio.sleep(start + for_sec - loop.time()))
