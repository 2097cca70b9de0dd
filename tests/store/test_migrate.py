import re

import asyncpg
import pytest

from copilot.core.errors import StoreError
from copilot.store.migrate import in_words_of, migrations, statements
from copilot.store.postgres import PostgresStore


def test_files_are_numbered_without_gaps() -> None:
    assert [m.version for m in migrations()] == list(range(1, len(migrations()) + 1))


def test_statements_are_split_at_a_semicolon_at_a_lines_end_and_comments_left_out() -> None:
    assert statements("-- a; b\nCREATE TABLE a (\n  x text DEFAULT ';x'\n);\n\nSELECT 1;\n") == (
        "CREATE TABLE a (\n  x text DEFAULT ';x'\n)",
        "SELECT 1",
    )


def test_an_index_is_made_in_the_background_only_where_that_is_known() -> None:
    statement = "CREATE INDEX ASYNC IF NOT EXISTS i ON t (a)"
    assert in_words_of("dsql", statement) == statement
    assert in_words_of("postgresql", statement) == "CREATE INDEX IF NOT EXISTS i ON t (a)"


@pytest.mark.parametrize(
    "banned", ["SERIAL", "SEQUENCE", "CREATE TRIGGER", "USING", "ASC", "DESC", "REFERENCES", "TEMP", "EXTENSION"]
)
def test_no_statement_leaves_the_common_subset(banned: str) -> None:
    for migration in migrations():
        for statement in migration.statements:
            assert not re.search(rf"\b{banned}\b", statement, re.IGNORECASE)
            assert not re.search(r"\bCREATE (UNIQUE )?INDEX (?!ASYNC)", statement)


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
async def test_a_schema_newer_than_the_program_is_refused(postgres_store: PostgresStore, database: str) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute("INSERT INTO schema_version VALUES (99, 'future', now())")
    await connection.close()
    with pytest.raises(StoreError, match=r"version 99.*upgrade"):
        await postgres_store.setup_schema()
