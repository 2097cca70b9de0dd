"""What can be wrong with the demo's workflow code: a bug in a new build, and code that blocks its worker."""

import time
from typing import Any

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


def _blocking_orders(seconds: float) -> type[Any]:
    @workflow.defn(name="OrderWorkflow")
    class BlockingOrderWorkflow:
        """Orders whose code computes for so long in each of its three workflow tasks (below the 2 s after which the SDK
        calls it a deadlock)."""

        @workflow.run
        async def run(self, job: Job) -> str:
            """As without the blocking."""
            time.sleep(seconds)  # noqa: ASYNC251 - what is wrong with it
            await do_step("reserve", special=job.special)
            time.sleep(seconds)  # noqa: ASYNC251 - what is wrong with it
            done = await do_step("charge", special=job.special)
            time.sleep(seconds)  # noqa: ASYNC251 - what is wrong with it
            return done

    return BlockingOrderWorkflow


def workflows(*, bug: bool = False, task_sec: float | None = None) -> tuple[type[Any], ...]:
    """The demo's workflows, the orders with that bug or with workflow tasks that take so long."""
    orders: type[Any] = OrderWorkflow if task_sec is None else _blocking_orders(task_sec)
    return (OrderWorkflowWithBug if bug else orders, InvoiceWorkflow, SubscriptionWorkflow)
