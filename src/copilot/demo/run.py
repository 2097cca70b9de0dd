"""One run of `copilot demo`: start the stack, show verdicts and events, inject the planned faults, end in time."""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import httpx

from copilot.demo.faults import FaultController, PlannedFault
from copilot.demo.stack import DemoOptions, demo_stack
from copilot.embedded.data_folder import RunningDemo
from copilot.embedded.supervisor import Event
from copilot.errors import StartError

POLL_INTERVAL_SEC = 0.5
REQUEST_TIMEOUT_SEC = 2.0
FIRST_VERDICT_TIMEOUT_SEC = 120.0

JsonObject = dict[str, Any]


class Screen(Protocol):
    """What a run reports to."""

    def event(self, event: Event) -> None:
        """Something happened to a part of the stack."""

    def running(self, demo: RunningDemo) -> None:
        """All parts run."""

    def evaluation(self, line: JsonObject) -> None:
        """A new evaluation, in the format of `copilot replay`."""

    def status(self, status: JsonObject | None) -> None:
        """The current response of GET /status; None without a response."""


async def run_demo(options: DemoOptions, plan: Sequence[PlannedFault], for_sec: float | None, screen: Screen) -> None:
    """Run until `for_sec` seconds after the first verdict (None: until cancelled). StartError, FaultError."""
    async with demo_stack(options, screen.event) as (demo, faults):
        screen.running(demo)
        # On this machine: no proxy, short timeouts.
        async with httpx.AsyncClient(base_url=demo.page, timeout=REQUEST_TIMEOUT_SEC, trust_env=False) as client:
            first = asyncio.Event()
            works = [_show(client, screen, first), _follow_plan(first, faults, plan, for_sec)]
            tasks = [asyncio.create_task(work) for work in works]
            try:
                (ended, *_), _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                await ended
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)


async def _show(client: httpx.AsyncClient, screen: Screen, first: asyncio.Event) -> None:
    """Show the status, and each new evaluation once."""
    last: object = None
    while True:
        newest = await _get(client, "/status/evaluation")
        if newest is not None and newest.get("evaluation_id") != last:
            last = newest.pop("evaluation_id")
            screen.evaluation(newest)
            first.set()
        screen.status(await _get(client, "/status"))
        await asyncio.sleep(POLL_INTERVAL_SEC)


async def _get(client: httpx.AsyncClient, path: str) -> JsonObject | None:
    try:
        response = await client.get(path)
    except httpx.HTTPError:
        return None
    body = response.json() if response.status_code == httpx.codes.OK else None
    return body if isinstance(body, dict) else None


async def _follow_plan(
    first: asyncio.Event, faults: FaultController, plan: Sequence[PlannedFault], for_sec: float | None
) -> None:
    try:
        await asyncio.wait_for(first.wait(), FIRST_VERDICT_TIMEOUT_SEC)
    except TimeoutError:
        raise StartError(
            f"no verdict within {FIRST_VERDICT_TIMEOUT_SEC:g} s: see the logs of copilot-worker and copilot-api"
        ) from None
    loop = asyncio.get_running_loop()
    start = loop.time()
    steps = [(fault.at_sec, faults.inject, fault.name) for fault in plan]
    steps += [(fault.until_sec, faults.clear, fault.name) for fault in plan if fault.until_sec is not None]
    for at_sec, step, name in sorted(steps, key=lambda step: step[0]):
        if for_sec is not None and at_sec >= for_sec:
            break
        await asyncio.sleep(start + at_sec - loop.time())
        await step(name)
    await (asyncio.Event().wait() if for_sec is None else asyncio.sleep(start + for_sec - loop.time()))
