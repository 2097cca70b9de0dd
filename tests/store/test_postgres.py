import asyncio
import os
import signal
from collections.abc import AsyncIterator

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


async def test_programs_that_set_up_the_schema_and_write_at_once_agree_on_one_issue(database: str) -> None:
    stores = [PostgresStore(database) for _ in range(4)]
    assert len(set(await asyncio.gather(*(s.setup_schema() for s in stores)))) == 1
    said = [assessment("stressed", NOON.add(seconds=30 * n), findings=(issue(),)) for n in range(12)]
    await asyncio.gather(*(stores[n % 4].save_assessment(a) for n, a in enumerate(said)))
    (kept,) = await stores[0].issues("default")
    assert await stores[0].resolved_issues("default") == []
    assert (kept.first_seen, kept.last_seen) == (said[0].time, said[-1].time)
    for s in stores:
        await s.close()


async def test_an_issue_that_cannot_be_written_leaves_no_assessment_behind(
    postgres: Server, postgres_store: PostgresStore
) -> None:
    await postgres.run("ALTER TABLE issues ADD CONSTRAINT refuse CHECK (finding <> 'no_pollers')")
    with pytest.raises(StoreError, match=r"cannot be used: .*refuse"):
        await postgres_store.save_assessment(assessment("critical"))
    assert await postgres_store.latest_assessment("default") is None


async def test_a_database_that_is_away_is_one_line_without_the_password(unused_tcp_port: int) -> None:
    store = PostgresStore(f"postgresql://me:secret@127.0.0.1:{unused_tcp_port}/copilot")
    with pytest.raises(StoreError) as caught:
        await store.latest_evaluation("default")
    assert f"127.0.0.1:{unused_tcp_port}/copilot" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    await store.close()


async def test_the_store_works_again_when_its_database_or_its_sessions_are_back(
    postgres: Server, postgres_store: PostgresStore
) -> None:
    await postgres_store.save_snapshots([snapshot(evaluation())])
    await postgres.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert await postgres_store.latest_evaluation("default") == evaluation(), "no error is seen"
    postgres.stop()
    with pytest.raises(StoreError):
        await postgres_store.latest_evaluation("default")
    postgres.start()
    assert await postgres_store.latest_evaluation("default") == evaluation()


async def test_a_cancelled_wait_for_a_database_that_hangs_ends_at_once_and_the_next_gets_another_session(
    database: str,
) -> None:
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
        assert await connections.value("SELECT pg_backend_pid()") != hung
    finally:
        os.kill(hung, signal.SIGCONT)
        await connections.close()


async def test_missing_tables_and_a_full_disk_are_named(database: str) -> None:
    store = PostgresStore(database)
    with pytest.raises(StoreError, match="run `copilot db setup-schema`"):
        await store.prune(NOON)
    await store.close()
    connections = Connections(database)
    full = "DO $$ BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$"
    with pytest.raises(StoreError, match=r"the state store at .* cannot be used: its disk is full$"):
        await connections.execute(full)
    await connections.close()


async def test_a_row_of_another_version_is_named_as_such(postgres: Server, postgres_store: PostgresStore) -> None:
    await postgres_store.save_snapshots([snapshot(evaluation())])
    await postgres_store.save_assessment(assessment("critical"))
    for column in ("metrics_snapshots SET evaluation", "health_assessments SET assessment", "issues SET issue"):
        await postgres.run(f"""UPDATE {column} = '{{"signals": {{}}, "new_field": 1}}'""")
    for read in (postgres_store.latest_evaluation, postgres_store.latest_assessment, postgres_store.issues):
        with pytest.raises(StoreError, match="written by another version and cannot be read"):
            await read("default")


async def test_a_conflicting_transaction_is_run_again_as_a_whole(database: str) -> None:
    connections = Connections(database)
    await connections.execute("CREATE TABLE t (n int)")
    await connections.execute("INSERT INTO t VALUES (0)")

    async def add_one(connection: Connection) -> None:
        n = await connection.fetchval("SELECT n FROM t")
        await connection.execute("UPDATE t SET n = $1", n + 1)

    await asyncio.gather(*(connections.transaction(add_one) for _ in range(4)))
    assert await connections.value("SELECT n FROM t") == 4
    await connections.close()


async def test_the_last_resolved_issues_are_found_without_reading_those_of_a_week(
    postgres_store: PostgresStore, database: str
) -> None:
    assert await postgres_store.resolved_issues("default") == []
    connection = await asyncpg.connect(database)
    await connection.execute(
        """INSERT INTO issues SELECT gen_random_uuid(), 'default', 'no_pollers', n::text,
           CASE n % 9 WHEN 0 THEN 'critical' ELSE 'warning' END, '', now(), now(), now() - n * interval '30 s', '{}'
           FROM generate_series(1, 5000) AS n"""
    )
    await connection.execute("ANALYZE issues")
    for severity in (None, "warning"):
        plan = "\n".join(r[0] for r in await connection.fetch(f"EXPLAIN {RESOLVED_ISSUES}", "default", severity, 100))
        assert "Index Scan Backward using issues_by_resolution" in plan, plan
    await connection.close()
