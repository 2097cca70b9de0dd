"""What can be done to the watched cluster beyond killing it, on real servers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from temporalio.client import Client

from copilot.demo.load import Profile
from copilot.demo.watched import ABANDONED_QUEUE, WORKERS, Baseline, MetricsRelay, WatchedCluster
from copilot.demo.worker import WorkerTuning
from copilot.demo.workflows import BILLING, ORDERS, Job, OrderWorkflow
from copilot.embedded.ports import free_ports
from copilot.embedded.supervisor import Supervisor

pytestmark = pytest.mark.servers

NO_LOAD = Profile(short_per_sec=0, long_per_sec=0)
WITHIN_SEC = 30.0


@asynccontextmanager
async def watched(folder: Path, usual: Baseline) -> AsyncIterator[tuple[WatchedCluster, Client, list[str]]]:
    """A cluster, a client of its server, and what is told of its processes."""
    told: list[str] = []
    async with Supervisor(folder, lambda event: told.append(event.text)) as supervisor:
        cluster = WatchedCluster(supervisor, folder, usual)
        try:
            await cluster.start()
            yield cluster, await Client.connect(cluster.server.address), told
        finally:
            await cluster.close()


async def order(client: Client, name: str, *, special: bool = False) -> str:
    """Run an order to its end."""
    job = Job(special=special)
    return await client.execute_workflow(OrderWorkflow.run, job, id=name, task_queue=ORDERS)


async def started(client: Client, name: str, *, special: bool = False) -> None:
    await client.start_workflow(OrderWorkflow.run, Job(special=special), id=name, task_queue=ORDERS)


async def done(client: Client, name: str) -> str:
    result: str = await asyncio.wait_for(client.get_workflow_handle(name).result(), WITHIN_SEC)
    return result


async def waits(client: Client, name: str) -> bool:
    """Start an order; is it still not done after a while?"""
    await started(client, name)
    try:
        await asyncio.wait_for(client.get_workflow_handle(name).result(), 2)
    except TimeoutError:
        return True
    return False


async def first_waiting(client: Client) -> str:
    """The first of many orders that is not done soon."""
    for number in range(20):
        if await waits(client, f"order-{number}"):
            return f"order-{number}"
    raise AssertionError("all orders are done")


async def says(client: Client, name: str, what: str) -> None:
    """Wait until the server's description or history of the workflow says so."""
    handle = client.get_workflow_handle(name)
    async with asyncio.timeout(WITHIN_SEC):
        while True:
            description = (await handle.describe()).raw_description
            if what in str(description) or what in (await handle.fetch_history()).to_json():
                return
            await asyncio.sleep(0.2)


@pytest.mark.alone
async def test_builds_the_third_party_and_workers_break_orders_until_they_are_back(tmp_path: Path) -> None:
    workers = dict.fromkeys(WORKERS, WorkerTuning(build="1"))
    async with watched(tmp_path, Baseline(load=NO_LOAD, workers=workers, abandoned=2)) as (cluster, client, told):
        assert await order(client, "before") == "charge done"
        await cluster.set_current_build("2")
        # The task queues hear of it in their own time.
        name = await first_waiting(client)
        await cluster.set_current_build("1")
        assert await done(client, name) == "charge done"

        await cluster.break_third_party()
        assert await order(client, "plain") == "charge done"
        await started(client, "third-party", special=True)
        await says(client, "third-party", "ThirdPartyDown")
        await cluster.restore_third_party()
        assert await done(client, "third-party") == "charge done"

        # A worker may have a queue to itself, a bug, and workflow code that blocks.
        first, second = WORKERS
        await cluster.deploy_workers(WorkerTuning(queues=(ORDERS,), bug=True, build="1"), first)
        await cluster.deploy_workers(WorkerTuning(queues=(BILLING,), build="1"), second)
        assert [f"{name} is stopped and stays down" in told for name in WORKERS] == [True, True]
        assert await order(client, "plain-again") == "charge done"
        await started(client, "bug", special=True)
        await says(client, "bug", "KeyError")
        await cluster.kill_workers(first)
        assert await waits(client, "waits")
        await cluster.start_workers(WorkerTuning(queues=(ORDERS,), task_sec=0.1, build="1"), first)
        assert await done(client, "waits") == await done(client, "bug") == "charge done"

        abandoned = f"TaskQueue = '{ABANDONED_QUEUE}' AND ExecutionStatus = 'Running'"
        assert (await client.count_workflows(abandoned)).count == 2


PAGE = b"x" * 3_000_000


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(PAGE) + PAGE)
    await writer.drain()
    writer.close()


@asynccontextmanager
async def relayed() -> AsyncIterator[tuple[MetricsRelay, httpx.AsyncClient]]:
    """A relay in front of a page, and a client."""
    target, front = free_ports(2)
    async with (
        await asyncio.start_server(_serve, "127.0.0.1", target),
        MetricsRelay(front, target) as relay,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        yield relay, client


async def test_a_page_passes_unchanged_until_it_is_cut_and_again_when_restored() -> None:
    async with relayed() as (relay, client):
        assert (await client.get(relay.url)).content == PAGE
        await relay.cut()
        with pytest.raises(httpx.ConnectError):
            await client.get(relay.url)
        await relay.restore()
        assert (await client.get(relay.url)).content == PAGE


async def test_a_dead_server_behind_it_breaks_the_connection() -> None:
    target, front = free_ports(2)
    async with MetricsRelay(front, target) as relay, httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.TransportError):
            await client.get(relay.url)


async def test_every_third_read_is_hung_up_on_when_it_is_to_flap() -> None:
    async with relayed() as (relay, client):
        assert (await client.get(relay.url)).content == PAGE
        relay.fail_every = 3
        failed = []
        for read in range(2, 8):
            try:
                await client.get(relay.url)
            except httpx.TransportError:
                failed.append(read)
        assert failed == [3, 6]
        relay.fail_every = None
        assert [(await client.get(relay.url)).content == PAGE for _ in range(3)] == [True] * 3
