"""The load of the demo: `python -m copilot.demo.load HOST:PORT PROFILE`.

Starts workflows at the rates of PROFILE, a JSON file that is read again at every tick. A slow server does not
slow the starts down, up to a limit on requests in flight.
"""

import asyncio
import itertools
import random
import secrets
import sys
from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import TemporalError
from temporalio.service import RPCError

from copilot.demo import workflows
from copilot.demo.workflows import BILLING, ORDERS, Job
from copilot.embedded.signals import run_until_signal

TICK_SEC = 0.1
REQUEST_TIMEOUT = timedelta(seconds=10)
MAX_IN_FLIGHT = 400
QUERIED_SHARE = 0.25


class Followed(BaseModel):
    """Settings in a file that a process reads again and again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def read(cls, file: Path) -> Self:
        """The settings in the file now."""
        return cls.model_validate_json(file.read_bytes())

    def write(self, file: Path) -> None:
        """Write them to the file, atomically."""
        draft = file.with_suffix(".draft")
        draft.write_text(self.model_dump_json(), encoding="utf-8")
        draft.replace(file)


class Profile(Followed):
    """The load. Rates are per second. `billing_share` of the workflows go to that queue, the rest to orders. Of the
    short ones `failing_share` fail in their own code and `special_share` are special (see workflows.Job). A long one
    runs for `long_periods` of 15 s. `mistakes_per_sec`: calls to unknown workflows, and second starts of a running
    one."""

    short_per_sec: float = Field(default=3.0, ge=0)
    long_per_sec: float = Field(default=0.25, ge=0)
    failing_share: float = Field(default=0.01, ge=0, le=1)
    special_share: float = Field(default=0.0, ge=0, le=1)
    billing_share: float = Field(default=0.2, ge=0, le=1)
    long_periods: int = Field(default=4, gt=0)
    mistakes_per_sec: float = Field(default=0.0, ge=0)

    def times(self, factor: float) -> "Profile":
        """This profile with its start rates multiplied by `factor`."""
        return self.model_copy(
            update={"short_per_sec": factor * self.short_per_sec, "long_per_sec": factor * self.long_per_sec}
        )


class Load:
    """Starts workflows, and sends signals, updates and queries to the long-running ones."""

    def __init__(self, client: Client, profile: Path) -> None:
        self._client = client
        self._profile = profile
        self._in_flight: set[asyncio.Task[None]] = set()
        self._run = secrets.token_hex(3)
        self._numbers = itertools.count(1)

    async def run(self) -> None:
        """Start workflows at the profile's rates until cancelled."""
        loop = asyncio.get_running_loop()
        last, due = loop.time(), [0.0, 0.0, 0.0]
        while True:
            profile, now = Profile.read(self._profile), loop.time()
            rates = (profile.short_per_sec, profile.long_per_sec, profile.mistakes_per_sec)
            due = [left + (now - last) * rate for left, rate in zip(due, rates, strict=True)]
            last = now
            for kind, work in enumerate((self._start_short, self._start_long, self._mistake)):
                for _ in range(int(due[kind])):
                    self._begin(work(profile))
                due[kind] %= 1
            await asyncio.sleep(TICK_SEC * random.uniform(0.5, 1.5))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        if len(self._in_flight) >= MAX_IN_FLIGHT:
            work.close()
            return
        task = asyncio.create_task(_report_errors(work))
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)

    def _id(self, kind: str) -> str:
        return f"{kind}-{self._run}-{next(self._numbers)}"

    async def _start_short(self, profile: Profile) -> None:
        job = Job(fails=random.random() < profile.failing_share, special=random.random() < profile.special_share)
        queue = _queue(profile)
        await self._client.start_workflow(
            workflows.InvoiceWorkflow.run if queue == BILLING else workflows.OrderWorkflow.run,
            job,
            id=self._id("invoice" if queue == BILLING else "order"),
            task_queue=queue,
            rpc_timeout=REQUEST_TIMEOUT,
        )

    async def _start_long(self, profile: Profile) -> None:
        handle: WorkflowHandle[workflows.SubscriptionWorkflow, int] = await self._client.start_workflow(
            workflows.SubscriptionWorkflow.run,
            workflows.Subscription(periods=profile.long_periods),
            id=self._id("subscription"),
            task_queue=_queue(profile),
            rpc_timeout=REQUEST_TIMEOUT,
        )
        await asyncio.sleep(random.uniform(3, 12))
        await handle.signal(workflows.SubscriptionWorkflow.note, "hello", rpc_timeout=REQUEST_TIMEOUT)
        await asyncio.sleep(random.uniform(3, 12))
        await handle.execute_update(workflows.SubscriptionWorkflow.change_plan, "premium", rpc_timeout=REQUEST_TIMEOUT)
        if random.random() < QUERIED_SHARE:
            await asyncio.sleep(random.uniform(1, 5))
            await handle.query(workflows.SubscriptionWorkflow.plan, rpc_timeout=REQUEST_TIMEOUT)

    async def _mistake(self, profile: Profile) -> None:
        if random.random() < 0.5:
            unknown = self._client.get_workflow_handle(self._id("unknown"))
            await unknown.signal("note", "hello", rpc_timeout=REQUEST_TIMEOUT)
            return
        for _ in range(2):
            await self._client.start_workflow(
                workflows.SubscriptionWorkflow.run,
                workflows.Subscription(periods=1, period_sec=5.0),
                id=f"subscription-{self._run}-again",
                task_queue=_queue(profile),
                rpc_timeout=REQUEST_TIMEOUT,
            )


def _queue(profile: Profile) -> str:
    return BILLING if random.random() < profile.billing_share else ORDERS


async def _report_errors(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except (RPCError, TemporalError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)


async def run(address: str, profile: Path) -> None:
    """Run the load until cancelled."""
    await Load(await Client.connect(address), profile).run()


if __name__ == "__main__":
    run_until_signal(run(sys.argv[1], Path(sys.argv[2])))
