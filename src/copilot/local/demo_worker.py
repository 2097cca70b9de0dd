"""A worker process of the demo: `python -m copilot.local.demo_worker --address HOST:PORT --metrics-port PORT`.

Polls both task queues; its SDK metrics are at /metrics of the port given. Ends cleanly on SIGTERM.
"""

import argparse
import asyncio
import signal
from datetime import timedelta

from temporalio.client import Client
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.worker import PollerBehaviorSimpleMaximum, UnsandboxedWorkflowRunner, Worker

from copilot.local.demo_workflows import BILLING, ORDERS, WORKFLOWS, Activities
from copilot.local.ports import LOOPBACK

SLOTS = 50
# With four partitions a queue, the default five pollers (one in five not sticky) leave partitions unpolled.
POLLERS = {ORDERS: 12, BILLING: 8}
NONSTICKY_RATIO = 0.5
GRACE = timedelta(seconds=1)


async def work(address: str, metrics_port: int, slots: int, activity_sec: float | None) -> None:
    """Poll until SIGTERM or SIGINT."""
    runtime = Runtime(telemetry=TelemetryConfig(metrics=PrometheusConfig(bind_address=f"{LOOPBACK}:{metrics_port}")))
    client = await Client.connect(address, runtime=runtime)
    done = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, done.set)
    async with asyncio.TaskGroup() as group:
        workers = [_worker(client, queue, slots, activity_sec) for queue in POLLERS]
        for worker in workers:
            group.create_task(worker.run())
        await done.wait()
        for worker in workers:
            group.create_task(worker.shutdown())


def _worker(client: Client, queue: str, slots: int, activity_sec: float | None) -> Worker:
    pollers = POLLERS[queue]
    return Worker(
        client,
        task_queue=queue,
        workflows=WORKFLOWS,
        activities=[Activities(activity_sec).do_step],
        # Our own few lines, known to be deterministic: the sandbox would cost most of the demo's CPU.
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_workflow_tasks=SLOTS,
        max_concurrent_activities=slots,
        workflow_task_poller_behavior=PollerBehaviorSimpleMaximum(pollers),
        activity_task_poller_behavior=PollerBehaviorSimpleMaximum(pollers),
        nonsticky_to_sticky_poll_ratio=NONSTICKY_RATIO,
        graceful_shutdown_timeout=GRACE,
    )


def main() -> None:
    """Read the command line and work."""
    parser = argparse.ArgumentParser(prog="python -m copilot.local.demo_worker")
    parser.add_argument("--address", required=True)
    parser.add_argument("--metrics-port", required=True, type=int)
    parser.add_argument("--slots", default=SLOTS, type=int, help="activities at once, per task queue")
    parser.add_argument("--activity-sec", default=None, type=float, help="how long an activity takes")
    options = parser.parse_args()
    asyncio.run(work(options.address, options.metrics_port, options.slots, options.activity_sec))


if __name__ == "__main__":
    main()
