"""A real dev server, and a client of it that counts calls and has some of them refused."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from google.protobuf.message import Message
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from copilot.embedded.ports import free_ports
from copilot.embedded.temporal import temporal_binary

Refuses = Callable[[str, Any], RPCStatusCode | None]


@dataclass
class Counted:
    """A client whose calls are noted, with their times, before a refusal or the server answers."""

    client: Client
    refuses: Refuses = lambda _call, _request: None
    made: list[tuple[str, float, Message]] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        return self.client.namespace

    @property
    def service_client(self) -> Any:
        return self.client.service_client

    @property
    def workflow_service(self) -> Any:
        return _Service(self)

    def asked(self, call: str) -> list[Any]:
        """The requests of a call."""
        return [request for name, _, request in self.made if name == call]

    def as_client(self) -> Client:
        return cast(Client, self)


class _Service:
    def __init__(self, counted: Counted) -> None:
        self._counted = counted

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        call = getattr(self._counted.client.workflow_service, name)

        async def noted(request: Any, timeout: timedelta) -> Any:
            self._counted.made.append((name, time.monotonic(), type(request).FromString(request.SerializeToString())))
            if (status := self._counted.refuses(name, request)) is not None:
                raise RPCError("refused by the test", status, b"")
            return await call(request, timeout=timeout)

        return noted


@dataclass(frozen=True)
class DevServer:
    """A dev server that runs, and a client of its namespace `default`."""

    address: str
    metrics_url: str
    client: Client
    process: asyncio.subprocess.Process

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
async def dev_server(folder: Path, *config: str) -> AsyncIterator[DevServer]:
    """A dev server with these dynamic config values (`key=value`)."""
    port, http_port, metrics_port = free_ports(3)
    argv: Sequence[str] = (
        *(str(temporal_binary()), "server", "start-dev", "--headless", "--db-filename", str(folder / "t.db")),
        *("--port", str(port), "--http-port", str(http_port), "--metrics-port", str(metrics_port)),
        *(word for value in config for word in ("--dynamic-config-value", value)),
    )
    async with process(*argv) as server:
        address = f"127.0.0.1:{port}"
        client: Client = await answered(lambda: Client.connect(address))
        yield DevServer(address, f"http://127.0.0.1:{metrics_port}/metrics", client, server)


async def start_on(client: Client, queues: Sequence[str]) -> None:
    """One workflow without a worker on each of the queues. A new namespace is not known everywhere at once."""
    slots = asyncio.Semaphore(10)

    async def start(queue: str) -> None:
        async with slots:
            await answered(lambda: client.start_workflow("Nobody", id=f"on-{queue}", task_queue=queue))

    await asyncio.gather(*(start(queue) for queue in queues))
