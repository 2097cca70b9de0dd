"""What the demo asks of its watched server beyond load: forgotten work, and which worker version is the current one."""

import asyncio

from temporalio.api.workflowservice.v1 import GetSystemInfoRequest, SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from copilot.core.errors import StartError
from copilot.local.demo_worker import DEPLOYMENT
from copilot.local.demo_workflows import Job, OrderWorkflow

FORGOTTEN = "forgotten"
KNOWN_WITHIN_SEC = 20.0


async def forget(address: str, workflows: int) -> None:
    """Start so many workflows on a task queue that nobody polls."""
    if not workflows:
        return
    client = await Client.connect(address)
    for number in range(workflows):
        await client.start_workflow(OrderWorkflow.run, Job(), id=f"forgotten-{number}", task_queue=FORGOTTEN)


async def set_current_build(address: str, build: str) -> None:
    """Make a build the current version of the demo's workers; StartError if the server does not."""
    client = await Client.connect(address)
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=client.namespace,
        deployment_name=DEPLOYMENT,
        build_id=build,
        ignore_missing_task_queues=True,
        allow_no_pollers=True,
    )
    end = asyncio.get_running_loop().time() + KNOWN_WITHIN_SEC
    while True:
        try:
            await client.workflow_service.set_worker_deployment_current_version(request)
            return
        except RPCError as error:
            # The deployment is known soon after its first poll.
            waiting = error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION)
            if not waiting or asyncio.get_running_loop().time() > end:
                raise StartError(f"the worker version {build} could not be made current: {error}") from error
        await asyncio.sleep(0.5)


async def server_version(address: str) -> str:
    """The version the server says it has."""
    client = await Client.connect(address)
    return (await client.workflow_service.get_system_info(GetSystemInfoRequest())).server_version
