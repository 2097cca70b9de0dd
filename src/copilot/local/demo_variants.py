"""What can be wrong with the demo's workflow code: a bug in a new build, and code that blocks its worker."""

import time
from typing import Any, ClassVar

from temporalio import workflow

from copilot.local.demo_workflows import InvoiceWorkflow, Job, OrderWorkflow, SubscriptionWorkflow, do_step


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
