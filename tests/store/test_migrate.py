import re

import asyncpg
import pytest

from copilot.errors import StoreError
from copilot.store.migrate import VERSIONS, for_database, migrations, statements
from copilot.store.postgres import PostgresStore
from tests.store.conftest import Server
from tests.store.dsql_rules import complaints


def test_files_are_numbered_and_their_statements_are_of_dsqls_kind() -> None:
    assert [m.version for m in migrations()] == list(range(1, len(migrations()) + 1))
    assert complaints(s for m in migrations() for s in (VERSIONS, *m.statements)) == []
    made = [s for m in migrations() for s in m.statements if re.match(r"CREATE (UNIQUE )?INDEX\b", s)]
    assert made
    assert all(re.match(r"CREATE (UNIQUE )?INDEX ASYNC IF NOT EXISTS \w+ ON", s) for s in made)


def test_statements_end_with_a_line_and_indexes_are_built_in_the_background_on_dsql() -> None:
    assert statements("-- a; b\nCREATE TABLE a (\n  x text DEFAULT ';x'\n);\n\nSELECT 1;\n") == (
        "CREATE TABLE a (\n  x text DEFAULT ';x'\n)",
        "SELECT 1",
    )
    statement = "CREATE INDEX ASYNC IF NOT EXISTS i ON t (a)"
    assert for_database("dsql", statement) == statement
    assert for_database("postgresql", statement) == "CREATE INDEX IF NOT EXISTS i ON t (a)"


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE t (id serial PRIMARY KEY)",
        "CREATE INDEX i ON t (a)",
        "CREATE INDEX ASYNC i ON t (a DESC)",
        "CREATE INDEX ASYNC i ON t USING btree (a)",
        "ALTER TABLE t ADD COLUMN a int NOT NULL DEFAULT 1",
        "CREATE TEMP TABLE t (a int)",
        "TRUNCATE t",
        "SAVEPOINT s",
        "LISTEN c",
        "CREATE EXTENSION e",
        "BEGIN ISOLATION LEVEL SERIALIZABLE",
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT pg_total_relation_size('t')",
        "COPY t FROM STDIN",
        "BEGIN; CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY); COMMIT",
        "BEGIN; CREATE TABLE t (id int PRIMARY KEY); INSERT INTO u VALUES (1); COMMIT",
    ],
)
def test_what_dsql_does_not_take_is_found(statement: str) -> None:
    assert complaints([statement])


@pytest.mark.servers
async def test_a_migration_that_was_cut_off_is_finished_by_the_next_run(database: str) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute(migrations()[0].statements[0])
    store = PostgresStore(database)
    version = await store.setup_schema()
    assert version == migrations()[-1].version
    assert await connection.fetchval("SELECT count(*) FROM schema_version") == version
    tables = {
        r["tablename"] for r in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    }
    assert tables >= {"health_assessments", "issues", "metrics_snapshots", "threshold_sets", "schema_version"}
    await connection.close()
    await store.close()


@pytest.mark.servers
async def test_a_schema_newer_than_the_program_is_refused(postgres: Server, postgres_store: PostgresStore) -> None:
    await postgres.run("INSERT INTO schema_version VALUES (99, 'future', now())")
    with pytest.raises(StoreError, match=r"version 99.*upgrade"):
        await postgres_store.setup_schema()
