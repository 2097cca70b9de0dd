"""The work of the demo: orders and invoices (short, two activities each), subscriptions (timers, signals, updates).

Everything that goes wrong here on purpose is decided by the load and handed in, so that workflows stay deterministic.
"""

import asyncio
import random
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

ORDERS = "orders"
BILLING = "billing"
FLAKY_SHARE = 0.01
ACTIVITY_SEC = (0.02, 0.06)
MOST_BETWEEN_ATTEMPTS = timedelta(seconds=10)


@dataclass
class Step:
    """One piece of work of an activity. `special`: it depends on a third party."""

    what: str
    special: bool = False


@dataclass
class Job:
    """A short workflow's input. `fails`: its own code gives up after the first activity. `special`: its activities
    depend on a third party, and a bad deploy has its bug in what only it runs."""

    fails: bool = False
    special: bool = False


@dataclass
class Subscription:
    """A long-running workflow's input: so many periods of so many seconds each."""

    periods: int = 4
    period_sec: float = 15.0


class Activities:
    """The demo's activities. `seconds`: how long each takes, None for a few dozen milliseconds; one in a hundred first
    attempts fails and is retried. While the file `outage` is there, the third party is down and special steps fail."""

    def __init__(self, seconds: float | None, outage: Path | None = None) -> None:
        self._seconds = seconds
        self._outage = outage

    @activity.defn
    async def do_step(self, step: Step) -> str:
        """Takes its time, now and then fails at the first attempt."""
        await asyncio.sleep(random.uniform(*ACTIVITY_SEC) if self._seconds is None else self._seconds)
        if step.special and self._outage is not None and self._outage.exists():
            raise ApplicationError(f"{step.what}: the third party does not answer", type="ThirdPartyDown")
        if activity.info().attempt == 1 and random.random() < FLAKY_SHARE:
            raise ApplicationError(f"{step.what}: the other side hung up", type="Flaky")
        return f"{step.what} done"


async def do_step(what: str, *, special: bool = False) -> str:
    """Have one piece of work done by an activity, however often it takes."""
    return await workflow.execute_activity_method(
        Activities.do_step,
        Step(what, special),
        start_to_close_timeout=timedelta(seconds=30),
        retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=500), maximum_interval=MOST_BETWEEN_ATTEMPTS),
    )


@workflow.defn
class OrderWorkflow:
    """Reserve and charge."""

    @workflow.run
    async def run(self, job: Job) -> str:
        """Two activities, or a failure of its own between them."""
        await do_step("reserve", special=job.special)
        if job.fails:
            raise ApplicationError("the card was declined", type="CardDeclined")
        return await do_step("charge", special=job.special)


@workflow.defn
class InvoiceWorkflow:
    """Print and send."""

    @workflow.run
    async def run(self, job: Job) -> str:
        """Two activities, or a failure of its own between them."""
        await do_step("print", special=job.special)
        if job.fails:
            raise ApplicationError("the customer has no address", type="NoAddress")
        return await do_step("send", special=job.special)


@workflow.defn
class SubscriptionWorkflow:
    """Bills every period until its periods are over or it is cancelled by signal."""

    def __init__(self) -> None:
        self._plan = "basic"
        self._notes = 0
        self._billed = 0
        self._cancelled = False

    @workflow.run
    async def run(self, subscription: Subscription) -> int:
        """Timers and an activity per period; the number of periods billed."""
        for _ in range(subscription.periods):
            try:
                await workflow.wait_condition(lambda: self._cancelled, timeout=subscription.period_sec)
                break
            except TimeoutError:
                await do_step("bill")
                self._billed += 1
        return self._billed

    @workflow.signal
    def note(self, text: str) -> None:
        """Somebody wrote something."""
        self._notes += len(text) > 0

    @workflow.signal
    def cancel(self) -> None:
        """No more periods."""
        self._cancelled = True

    @workflow.update
    async def change_plan(self, plan: str) -> str:
        """Another plan from now on; the one before."""
        before, self._plan = self._plan, plan
        return before

    @change_plan.validator
    def _plan_has_a_name(self, plan: str) -> None:
        if not plan:
            raise ValueError("a plan has a name")

    @workflow.query
    def plan(self) -> str:
        """The plan just now."""
        return self._plan


@workflow.defn(name="OrderWorkflow")
class OrderWorkflowWithBug(OrderWorkflow):
    """The orders of a bad deploy: for special jobs the code raises what is no failure of the workflow, so that the
    workflow task fails and is retried."""

    @workflow.run
    async def run(self, job: Job) -> str:
        """As without the bug, but for special jobs."""
        if job.special:
            raise KeyError("discount")
        return await super().run(job)


@workflow.defn(name="OrderWorkflow")
class BlockingOrderWorkflow:
    """Orders whose code computes for `seconds` in each of its three workflow tasks (below the 2 s after which the SDK
    calls it a deadlock)."""

    seconds: ClassVar[float] = 0.0

    @workflow.run
    async def run(self, job: Job) -> str:
        """As without the blocking."""
        time.sleep(self.seconds)  # noqa: ASYNC251 - what is wrong with it
        await do_step("reserve", special=job.special)
        time.sleep(self.seconds)  # noqa: ASYNC251
        done = await do_step("charge", special=job.special)
        time.sleep(self.seconds)  # noqa: ASYNC251
        return done


def workflows(*, bug: bool = False, task_sec: float | None = None) -> tuple[type[Any], ...]:
    """The workflows of one worker process, the orders with that bug or with workflow tasks that take so long."""
    orders: type[Any] = OrderWorkflowWithBug if bug else OrderWorkflow
    if task_sec is not None:
        orders, BlockingOrderWorkflow.seconds = BlockingOrderWorkflow, task_sec
    return (orders, InvoiceWorkflow, SubscriptionWorkflow)
