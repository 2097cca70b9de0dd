"""Hands the running loops to a release: makes it the current version of its worker deployment."""

import asyncio

from temporalio.api.workflowservice.v1 import SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from copilot.core.errors import StartError
from copilot.settings import WorkerSettings

PATIENCE_SEC = 30.0
TRY_EVERY_SEC = 0.5
NO_WORKER_YET = (RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION)


async def make_current(client: Client, worker: WorkerSettings, patience_sec: float = PATIENCE_SEC) -> None:
    """Have all loops run on this release from their next step on. Does nothing where workers are not versioned, or it
    is the current one. A worker of it must have asked for work: one is waited for, then StartError."""
    if worker.deployment is None:
        return
    loop = asyncio.get_running_loop()
    end = loop.time() + patience_sec
    wanted = SetWorkerDeploymentCurrentVersionRequest(
        namespace=client.namespace,
        deployment_name=worker.deployment,
        build_id=worker.build_id,
        identity=client.identity,
    )
    while True:
        try:
            await client.workflow_service.set_worker_deployment_current_version(wanted)
            return
        except RPCError as error:
            if error.status not in NO_WORKER_YET or loop.time() + TRY_EVERY_SEC > end:
                raise StartError(
                    f"the loops cannot be handed to release {worker.build_id} of {worker.deployment} "
                    f"({error.message}): does a `copilot worker` of it run?"
                ) from error
        await asyncio.sleep(TRY_EVERY_SEC)
