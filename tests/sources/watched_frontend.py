"""A real dev server."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from copilot.embedded.ports import free_ports
from copilot.embedded.temporal import temporal_binary


@dataclass(frozen=True)
class DevServer:
    """A dev server that runs, and a client of its namespace `default`."""

    address: str
    metrics_url: str
    client: Client
    process: asyncio.subprocess.Process
    ui_url: str = ""

    async def namespace(self, name: str) -> Client:
        """A new namespace."""
        request = RegisterNamespaceRequest(namespace=name)
        request.workflow_execution_retention_period.FromTimedelta(timedelta(days=1))
        await self.client.workflow_service.register_namespace(request)
        await answered(
            lambda: self.client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=name))
        )
        return await Client.connect(self.address, namespace=name)


async def answered(call: Callable[[], Awaitable[Any]], within_sec: float = 20.0) -> Any:
    """The call's answer, asked again while the server is not ready for it."""
    end = time.monotonic() + within_sec
    while True:
        try:
            return await call()
        except (RPCError, RuntimeError):
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.1)


@asynccontextmanager
async def process(*argv: str, env: dict[str, str] | None = None) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program that is killed at the end."""
    child = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, env=env
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


@asynccontextmanager
async def dev_server(folder: Path, *config: str, ui: bool = False) -> AsyncIterator[DevServer]:
    """A dev server with these dynamic config values (`key=value`), and with Temporal's UI if wanted."""
    port, http_port, metrics_port, ui_port = free_ports(4)
    argv: Sequence[str] = (
        *(str(temporal_binary()), "server", "start-dev", "--db-filename", str(folder / "t.db")),
        *(("--ui-port", str(ui_port)) if ui else ("--headless",)),
        *("--port", str(port), "--http-port", str(http_port), "--metrics-port", str(metrics_port)),
        *(word for value in config for word in ("--dynamic-config-value", value)),
    )
    async with process(*argv) as server:
        address = f"127.0.0.1:{port}"
        client: Client = await answered(lambda: Client.connect(address))
        metrics = f"http://127.0.0.1:{metrics_port}/metrics"
        yield DevServer(address, metrics, client, server, f"http://127.0.0.1:{ui_port}")


async def start_on(client: Client, queues: Sequence[str]) -> None:
    """One workflow without a worker on each of the queues. A new namespace is not known everywhere at once."""
    slots = asyncio.Semaphore(10)

    async def start(queue: str) -> None:
        async with slots:
            await answered(lambda: client.start_workflow("Nobody", id=f"on-{queue}", task_queue=queue))

    await asyncio.gather(*(start(queue) for queue in queues))
