"""A worker of the demo: `python -m copilot.demo.worker ADDRESS METRICS_PORT TUNING OUTAGE`.

ADDRESS is HOST:PORT, TUNING a WorkerTuning as JSON. While the file OUTAGE exists, activities of special workflows fail.
"""

import asyncio
import sys
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.worker import PollerBehaviorSimpleMaximum, UnsandboxedWorkflowRunner, Worker, WorkerDeploymentConfig

from copilot.demo.workflows import BILLING, ORDERS, Activities, workflows
from copilot.embedded.ports import LOOPBACK
from copilot.embedded.signals import run_until_signal


class WorkerTuning(BaseModel):
    """Settings of a worker. Per task queue: `slots` for activities, `task_slots` for workflow tasks, `pollers` of each
    kind (None: enough for four partitions). `cache`: cached workflows. `activity_sec`, `task_sec`: duration of an
    activity and of an order's workflow task (None: a few dozen milliseconds, and no extra time). `bug`: the code of
    special orders raises. `build`: the worker's build id (None: unversioned)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    queues: tuple[str, ...] = (ORDERS, BILLING)
    slots: int = Field(default=50, gt=0)
    task_slots: int = Field(default=50, gt=0)
    pollers: int | None = Field(default=None, gt=0)
    activity_sec: float | None = None
    task_sec: float | None = None
    cache: int = Field(default=1000, ge=0)
    bug: bool = False
    build: str | None = None


# With four partitions a queue, the default five pollers (one in five not sticky) leave partitions unpolled.
POLLERS = {ORDERS: 12, BILLING: 8}
NONSTICKY_RATIO = 0.5
GRACE = timedelta(seconds=1)
DEPLOYMENT = "demo"


async def work(address: str, metrics_port: str, tuning: WorkerTuning, outage: Path) -> None:
    """Poll until cancelled."""
    runtime = Runtime(telemetry=TelemetryConfig(metrics=PrometheusConfig(bind_address=f"{LOOPBACK}:{metrics_port}")))
    client = await Client.connect(address, runtime=runtime)
    await asyncio.gather(*(_worker(client, queue, tuning, outage).run() for queue in tuning.queues))


def _worker(client: Client, queue: str, tuning: WorkerTuning, outage: Path) -> Worker:
    pollers = PollerBehaviorSimpleMaximum(tuning.pollers or POLLERS[queue])
    return Worker(
        client,
        task_queue=queue,
        workflows=workflows(bug=tuning.bug, task_sec=tuning.task_sec),
        activities=[Activities(tuning.activity_sec, outage).do_step],
        # The few lines of ours are deterministic; the sandbox would use most of the demo's CPU.
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_cached_workflows=tuning.cache,
        max_concurrent_workflow_tasks=tuning.task_slots,
        max_concurrent_activities=tuning.slots,
        workflow_task_poller_behavior=pollers,
        activity_task_poller_behavior=pollers,
        nonsticky_to_sticky_poll_ratio=NONSTICKY_RATIO,
        graceful_shutdown_timeout=GRACE,
        deployment_config=WorkerDeploymentConfig(
            version=WorkerDeploymentVersion(deployment_name=DEPLOYMENT, build_id=tuning.build),
            use_worker_versioning=True,
            default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
        )
        if tuning.build is not None
        else None,
    )


if __name__ == "__main__":
    address, metrics_port, tuning, outage = sys.argv[1:]
    run_until_signal(work(address, metrics_port, WorkerTuning.model_validate_json(tuning), Path(outage)))
