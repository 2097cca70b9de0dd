"""A worker and about three workflows a second on my-orders: `small_load.py ADDRESS METRICS_PORT [HEARTBEAT_SEC]`."""

import asyncio
import sys
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.worker import UnsandboxedWorkflowRunner, Worker


@activity.defn
async def step(number: int) -> int:
    """Gives back what it got."""
    return number


@workflow.defn
class Order:
    """One activity and no more."""

    @workflow.run
    async def run(self, number: int) -> int:
        """The number it was started with."""
        return await workflow.execute_activity(step, number, start_to_close_timeout=timedelta(seconds=5))


async def main(address: str, metrics_port: str, heartbeat_sec: str = "60") -> None:
    """Run until killed."""
    metrics = PrometheusConfig(bind_address=f"127.0.0.1:{metrics_port}")
    every = timedelta(seconds=int(heartbeat_sec))
    runtime = Runtime(telemetry=TelemetryConfig(metrics=metrics), worker_heartbeat_interval=every)
    client = await Client.connect(address, runtime=runtime)
    async with Worker(
        client,
        task_queue="my-orders",
        workflows=[Order],
        activities=[step],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        for number in range(10_000):
            await client.start_workflow(Order.run, number, id=f"order-{number}", task_queue="my-orders")
            await asyncio.sleep(0.3)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
