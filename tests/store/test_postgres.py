import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest
import pytest_asyncio

from copilot.errors import StoreError
from copilot.store.base import Store
from copilot.store.connections import Connections
from copilot.store.postgres import PostgresStore
from copilot.store.rows import Connection
from copilot.store.sql import RESOLVED_ISSUES
from tests.evaluations import NOON, assessment, evaluation, issue, snapshot
from tests.store.conftest import EMPTY, NO_ROWS, Server, set_up
from tests.store.contract import StoreContract

pytestmark = pytest.mark.servers


@pytest_asyncio.fixture(scope="class", loop_scope="class")
async def shared(postgres: Server) -> AsyncIterator[Store]:
    await postgres.run(EMPTY)
    async with set_up(postgres.url()) as store:
        yield store


@pytest_asyncio.fixture(loop_scope="class")
async def store(shared: Store, postgres: Server) -> Store:
    await postgres.run(NO_ROWS)
    return shared


@pytest.mark.asyncio(loop_scope="class")
class TestPostgresStore(StoreContract):
    pass


async def test_assessments_written_at_once_agree_on_one_issue(database: str) -> None:
    stores = [PostgresStore(database) for _ in range(4)]
    await stores[0].setup_schema()
    said = [assessment("stressed", NOON.add(seconds=30 * n), findings=(issue(),)) for n in range(12)]
    await asyncio.gather(*(stores[n % 4].save_assessment(a) for n, a in enumerate(said)))
    (kept,) = await stores[0].issues("default")
    assert await stores[0].resolved_issues("default") == []
    assert (kept.first_seen, kept.last_seen) == (said[0].time, said[-1].time)
    for s in stores:
        await s.close()


async def test_two_programs_may_set_up_the_schema_at_once(database: str) -> None:
    stores = [PostgresStore(database) for _ in range(3)]
    versions = await asyncio.gather(*(s.setup_schema() for s in stores))
    assert len(set(versions)) == 1
    for s in stores:
        await s.close()


async def test_an_issue_that_cannot_be_written_leaves_no_assessment_behind(
    postgres_store: PostgresStore, database: str
) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute("ALTER TABLE issues ADD CONSTRAINT refuse CHECK (finding <> 'no_pollers')")
    with pytest.raises(StoreError, match=r"cannot be used: .*refuse"):
        await postgres_store.save_assessment(assessment("critical"))
    assert await postgres_store.latest_assessment("default") is None
    await connection.close()


async def test_a_database_that_is_away_is_one_line_without_the_password(unused_tcp_port: int) -> None:
    store = PostgresStore(f"postgresql://me:secret@127.0.0.1:{unused_tcp_port}/copilot")
    with pytest.raises(StoreError) as caught:
        await store.latest_evaluation("default")
    assert f"127.0.0.1:{unused_tcp_port}/copilot" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    await store.close()


async def test_the_store_works_again_when_its_database_is_back(postgres: Server, postgres_store: PostgresStore) -> None:
    await postgres_store.save_snapshots([snapshot(evaluation())])
    postgres.stop()
    with pytest.raises(StoreError):
        await postgres_store.latest_evaluation("default")
    postgres.start()
    assert await postgres_store.latest_evaluation("default") == evaluation()


async def test_a_session_that_is_ended_by_the_server_is_replaced_unseen(
    postgres_store: PostgresStore, database: str
) -> None:
    await postgres_store.save_snapshots([snapshot(evaluation())])
    connection = await asyncpg.connect(database)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await connection.close()
    assert await postgres_store.latest_evaluation("default") == evaluation()


async def test_who_stops_waiting_for_a_database_that_hangs_is_free_at_once_and_so_is_the_next(database: str) -> None:
    connections = Connections(database, max_size=1)
    hung = 0
    hangs = asyncio.Event()

    async def wait_for_ever(connection: Connection) -> None:
        nonlocal hung
        hung = await connection.fetchval("SELECT pg_backend_pid()")
        os.kill(hung, signal.SIGSTOP)
        hangs.set()
        await connection.execute("SELECT 1")

    waiting = asyncio.create_task(connections.transaction(wait_for_ever))
    await hangs.wait()
    try:
        waiting.cancel()
        assert (await asyncio.wait([waiting], timeout=5))[0], "a rollback waits for the database that hangs"
        assert waiting.cancelled()
        assert await connections.transaction(lambda c: c.fetchval("SELECT pg_backend_pid()")) != hung
    finally:
        os.kill(hung, signal.SIGCONT)
        await connections.close()


async def test_a_database_without_tables_is_told_with_what_makes_them(database: str) -> None:
    store = PostgresStore(database)
    with pytest.raises(StoreError, match="run `copilot db setup-schema`"):
        await store.prune(NOON)
    await store.close()


async def test_a_connection_is_given_up_before_its_session_would_end(database: str) -> None:
    clock = [0.0]
    connections = Connections(database, max_size=1, clock=lambda: asyncio.get_running_loop().time() + clock[0])

    async def session(connection: Connection) -> int:
        return int(await connection.fetchval("SELECT pg_backend_pid()"))

    first = await connections.transaction(session)
    assert await connections.transaction(session) == first
    clock[0] = 51 * 60
    assert await connections.transaction(session) != first
    await connections.close()


async def test_a_full_disk_is_called_that(database: str) -> None:
    connections = Connections(database)
    full = "DO $$ BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$"
    with pytest.raises(StoreError, match=r"the state store at .* cannot be used: its disk is full$"):
        await connections.transaction(lambda c: c.execute(full))
    await connections.close()


@pytest.mark.parametrize(
    ("column", "asked"),
    [
        ("metrics_snapshots SET evaluation", PostgresStore.latest_evaluation),
        ("health_assessments SET assessment", PostgresStore.latest_assessment),
        ("issues SET issue", PostgresStore.issues),
    ],
)
async def test_a_row_of_another_version_is_said_to_be_that(
    postgres_store: PostgresStore, database: str, column: str, asked: Callable[[PostgresStore, str], Awaitable[object]]
) -> None:
    await postgres_store.save_snapshots([snapshot(evaluation())])
    await postgres_store.save_assessment(assessment("critical"))
    connection = await asyncpg.connect(database)
    await connection.execute(f"""UPDATE {column} = '{{"signals": {{}}, "new_field": 1}}'""")
    await connection.close()
    with pytest.raises(StoreError, match="written by another version and cannot be read"):
        await asked(postgres_store, "default")


async def test_a_conflicting_transaction_is_run_again_as_a_whole(database: str) -> None:
    connections = Connections(database)
    await connections.transaction(lambda c: c.execute("CREATE TABLE t (n int)"))
    await connections.transaction(lambda c: c.execute("INSERT INTO t VALUES (0)"))

    async def add_one(connection: Connection) -> None:
        n = await connection.fetchval("SELECT n FROM t")
        await connection.execute("UPDATE t SET n = $1", n + 1)

    await asyncio.gather(*(connections.transaction(add_one) for _ in range(4)))
    assert await connections.transaction(lambda c: c.fetchval("SELECT n FROM t")) == 4
    await connections.close()


@pytest.mark.parametrize("severity", [None, "warning"])
async def test_the_last_resolved_issues_are_found_without_reading_those_of_a_week(
    postgres_store: PostgresStore, database: str, severity: str | None
) -> None:
    assert await postgres_store.resolved_issues("default") == []
    connection = await asyncpg.connect(database)
    await connection.execute(
        """INSERT INTO issues SELECT gen_random_uuid(), 'default', 'no_pollers', n::text,
           CASE n % 9 WHEN 0 THEN 'critical' ELSE 'warning' END, '', now(), now(), now() - n * interval '30 s', '{}'
           FROM generate_series(1, 5000) AS n"""
    )
    await connection.execute("ANALYZE issues")
    plan = "\n".join(r[0] for r in await connection.fetch(f"EXPLAIN {RESOLVED_ISSUES}", "default", severity, 100))
    assert "Index Scan Backward using issues_by_resolution" in plan, plan
    await connection.close()
