"""The demo's workflows: orders and invoices (short, two activities each), subscriptions (timers, signals, updates).

The load decides which workflows fail and passes that in, so that the workflows stay deterministic.
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
MAX_RETRY_INTERVAL = timedelta(seconds=10)


@dataclass
class Step:
    """An activity's input. `special`: the activity depends on a third party."""

    what: str
    special: bool = False


@dataclass
class Job:
    """A short workflow's input. `fails`: its own code fails after the first activity. `special`: its activities depend
    on a third party, and the bug of a bad deploy is in code that only special jobs run."""

    fails: bool = False
    special: bool = False


@dataclass
class Subscription:
    """A long-running workflow's input: the number of periods and the seconds of each."""

    periods: int = 4
    period_sec: float = 15.0


class Activities:
    """The demo's activities. `seconds`: the duration of each (None: a few dozen milliseconds). One in a hundred first
    attempts fails and is retried. While the file `outage` exists, the third party is down and special steps fail."""

    def __init__(self, seconds: float | None, outage: Path) -> None:
        self._seconds = seconds
        self._outage = outage

    @activity.defn
    async def do_step(self, step: Step) -> str:
        """Sleep, and fail at times at the first attempt."""
        await asyncio.sleep(random.uniform(*ACTIVITY_SEC) if self._seconds is None else self._seconds)
        if step.special and self._outage.exists():
            raise ApplicationError(f"{step.what}: the third party does not respond", type="ThirdPartyDown")
        if activity.info().attempt == 1 and random.random() < FLAKY_SHARE:
            raise ApplicationError(f"{step.what}: the other side hung up", type="Flaky")
        return f"{step.what} done"


async def do_step(what: str, *, special: bool = False) -> str:
    """Run one step as an activity, with retries until it succeeds."""
    return await workflow.execute_activity_method(
        Activities.do_step,
        Step(what, special),
        start_to_close_timeout=timedelta(seconds=30),
        retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=500), maximum_interval=MAX_RETRY_INTERVAL),
    )


async def do_steps(job: Job, first: str, second: str, failure: ApplicationError) -> str:
    """Run two steps; a failing job fails between them."""
    await do_step(first, special=job.special)
    if job.fails:
        raise failure
    return await do_step(second, special=job.special)


@workflow.defn
class OrderWorkflow:
    """Reserve and charge."""

    @workflow.run
    async def run(self, job: Job) -> str:
        """Two activities; a failing job fails between them."""
        return await do_steps(job, "reserve", "charge", ApplicationError("the card was declined", type="CardDeclined"))


@workflow.defn
class InvoiceWorkflow:
    """Print and send."""

    @workflow.run
    async def run(self, job: Job) -> str:
        """Two activities; a failing job fails between them."""
        return await do_steps(job, "print", "send", ApplicationError("the customer has no address", type="NoAddress"))


@workflow.defn
class SubscriptionWorkflow:
    """Bills every period until its periods are over or a signal cancels it."""

    def __init__(self) -> None:
        self._plan = "basic"
        self._notes = 0
        self._billed = 0
        self._cancelled = False

    @workflow.run
    async def run(self, subscription: Subscription) -> int:
        """A timer and an activity per period. Returns the number of billed periods."""
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
        """Add a note."""
        self._notes += len(text) > 0

    @workflow.signal
    def cancel(self) -> None:
        """End the subscription."""
        self._cancelled = True

    @workflow.update
    async def change_plan(self, plan: str) -> str:
        """Change the plan. Returns the previous plan."""
        before, self._plan = self._plan, plan
        return before

    @change_plan.validator
    def _validate_plan(self, plan: str) -> None:
        if not plan:
            raise ValueError("the plan needs a name")

    @workflow.query
    def plan(self) -> str:
        """The current plan."""
        return self._plan


@workflow.defn(name="OrderWorkflow")
class OrderWorkflowWithBug(OrderWorkflow):
    """Orders of a bad deploy: for special jobs the code raises an error that fails the workflow task, not the workflow,
    so that the task is retried."""

    @workflow.run
    async def run(self, job: Job) -> str:
        """Like OrderWorkflow, except for special jobs."""
        if job.special:
            raise KeyError("discount")
        return await super().run(job)


@workflow.defn(name="OrderWorkflow")
class BlockingOrderWorkflow:
    """Orders whose code blocks for `seconds` in each of its three workflow tasks (less than the SDK's deadlock limit of
    2 s)."""

    seconds: ClassVar[float] = 0.0

    @workflow.run
    async def run(self, job: Job) -> str:
        """Like OrderWorkflow, with blocking code."""
        for step in ("reserve", "charge"):
            time.sleep(self.seconds)  # noqa: ASYNC251 - the fault itself
            done = await do_step(step, special=job.special)
        time.sleep(self.seconds)  # noqa: ASYNC251
        return done


def workflows(*, bug: bool = False, task_sec: float | None = None) -> tuple[type[Any], ...]:
    """The workflows of one worker process: orders with the bug, or with workflow tasks that take `task_sec`."""
    orders: type[Any] = OrderWorkflowWithBug if bug else OrderWorkflow
    if task_sec is not None:
        orders, BlockingOrderWorkflow.seconds = BlockingOrderWorkflow, task_sec
    return (orders, InvoiceWorkflow, SubscriptionWorkflow)
