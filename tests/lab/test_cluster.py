"""A lab cluster of server processes: its database and the proxy in front, and what is said when a program is missing.

The server's program is the user's; what a real one did is in the recordings.
"""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from copilot.embedded.ports import LOOPBACK, free_ports
from copilot.embedded.supervisor import Supervisor
from copilot.errors import StartError
from lab.cluster_scenarios import LIMITS
from lab.database import POSTGRES, ROLE, Database
from lab.processes import PROCESSES, ServerProcesses, find_sql_tool
from lab.proxy import DatabaseProxy, Mode
from lab.scenarios import baseline
from tests.folders import passable_folder

pytestmark = [pytest.mark.servers, pytest.mark.asyncio(loop_scope="module")]
TRUE = Path("/bin/true")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def started() -> AsyncIterator[tuple[Database, Supervisor]]:
    """One database, whose SQL tool does nothing; each test leaves it as it found it."""
    with passable_folder() as folder:
        async with Supervisor(folder, lambda _: None) as supervisor:
            port, proxy = free_ports(2)
            made = Database(supervisor, folder / "postgres", TRUE, port, proxy)
            await made.start()
            yield made, supervisor


@asynccontextmanager
async def connection(of: Database, port: int | None = None) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """One that goes through the proxy, as the server's do, or through another on that port."""
    host, usual = of.address.split(":")
    opened = await asyncpg.connect(host=host, port=port or int(usual), user=ROLE, password=of.password,
                                   database="temporal", timeout=20, ssl=False)  # fmt: skip
    try:
        yield opened
    finally:
        opened.terminate()


async def answers(connection: "asyncpg.Connection[asyncpg.Record]", within: float = 20.0) -> bool:
    try:
        return bool(await connection.fetchval("SELECT true", timeout=within))
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
        return False


async def refused(of: Database, port: int | None = None) -> bool:
    try:
        async with connection(of, port):
            return False
    except OSError:
        return True


async def test_the_proxy_delays_hangs_halves_and_cuts_and_all_is_well_afterwards(
    started: tuple[Database, Supervisor],
) -> None:
    of, _ = started
    (port,) = free_ports(1)
    proxy = DatabaseProxy(port, int(of.address.split(":")[1]))
    await proxy.apply(Mode())
    async with connection(of, port) as first, connection(of, port) as second:
        assert [await answers(first), await answers(second)] == [True, True]
        await proxy.apply(Mode(delay_sec=60.0))
        assert not await answers(first, 1.0)
        await proxy.apply(Mode())
    async with connection(of, port) as first, connection(of, port) as second:
        await proxy.apply(Mode(hang_every=2))
        assert sorted([await answers(first, 1.0), await answers(second, 1.0)]) == [False, True]
    await proxy.apply(Mode())
    async with connection(of, port) as third:
        await proxy.apply(Mode(hang_every=1))
        assert not await answers(third, 1.0)
        await proxy.apply(Mode())
        assert not await answers(third), "what was sent is lost, so the connection has ended"
    await proxy.apply(Mode(cut=True))
    assert await refused(of, port)
    await proxy.apply(Mode())
    assert not await refused(of, port)
    await proxy.apply(Mode(cut=True))


async def test_the_proxy_of_a_cluster_works_in_the_mode_it_is_told(
    started: tuple[Database, Supervisor],
) -> None:
    of, _ = started
    async with connection(of) as one:
        assert await answers(one)
        await of.disturb(Mode(cut=True))
        while await answers(one):
            pass
    assert await refused(of)
    await of.disturb(Mode())
    while await refused(of):
        pass


async def test_the_database_runs_out_of_connections_stops_and_comes_back(
    started: tuple[Database, Supervisor],
) -> None:
    of, supervisor = started
    async with connection(of) as before:
        await of.limit_connections(1)
        assert not await answers(before)
        async with connection(of):
            with pytest.raises(asyncpg.TooManyConnectionsError):
                async with connection(of):
                    pass
    await of.limit_connections()
    async with connection(of), connection(of) as second:
        assert await answers(second)
    await supervisor.take_down(POSTGRES, graceful=True)
    assert POSTGRES not in supervisor.pids()
    await supervisor.bring_up(POSTGRES)
    async with connection(of) as again:
        assert await answers(again)


async def test_each_process_has_ports_and_a_page_of_its_own_and_reads_the_limits() -> None:
    with passable_folder() as folder:
        async with Supervisor(folder, lambda _: None) as supervisor:
            program = Path(sys.executable)
            cluster = ServerProcesses(supervisor, folder, baseline(), program=program, sql_tool=TRUE)
            with pytest.raises(StartError, match="history-1 ended") as failed:  # A Python is no server.
                await cluster.start_server(LIMITS["history-limit"][1])
            assert "unknown option --root" in str(failed.value)
            written = json.loads((folder / "config" / "history-1.yaml").read_text(encoding="utf-8"))
            limits = json.loads((folder / "config" / "dynamic.yaml").read_text(encoding="utf-8"))
    assert len(set(cluster.server_urls)) == len(PROCESSES) == 6
    page = written["global"]["metrics"]["prometheus"]["listenAddress"]
    assert f"http://{page}/metrics" == cluster.server_urls[0]
    stores = written["persistence"]["datastores"].values()
    assert {store["sql"]["connectAddr"] for store in stores} == {cluster.database.address}
    assert set(written["services"]) == set(PROCESSES.values())
    assert limits == {"history.rps": [{"value": 10}]}
    assert written["dynamicConfigClient"]["filepath"].startswith(str(folder))
    assert LOOPBACK in cluster.server.address


async def test_a_missing_program_is_named_with_what_to_do(tmp_path: Path) -> None:
    server = tmp_path / "temporal-server"
    with pytest.raises(StartError, match=r"there is no server program .*temporal-server"):
        find_sql_tool(server)
    server.touch()
    with pytest.raises(StartError, match=r"sql-tool is missing.*: put it beside .*, or name it with --sql-tool"):
        find_sql_tool(server)
    with pytest.raises(StartError, match="/nowhere is missing"):
        find_sql_tool(server, Path("/nowhere"))
    beside = tmp_path / "temporal-sql-tool"
    beside.touch(mode=0o755)
    assert find_sql_tool(server) == beside
    assert find_sql_tool(server, TRUE) == TRUE
