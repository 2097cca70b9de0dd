"""`copilot db` against real databases."""

import asyncio
import json
from pathlib import Path

import asyncpg
import pytest
from typer.testing import CliRunner, Result
from whenever import Instant

from copilot.cli.main import app
from copilot.embedded.data_folder import owned_folder
from copilot.store.check import inspect
from copilot.store.postgres import PostgresStore
from tests.evaluations import assessment, evaluation, snapshot
from tests.local.test_data_folder import described
from tests.store.conftest import Dsql

pytestmark = pytest.mark.servers


def db(tmp_path: Path, url: str, *words: str) -> Result:
    (tmp_path / "copilot.toml").write_text(f'[store]\nurl = "{url}"\n')
    runner = CliRunner(env={"COLUMNS": "100"})
    return runner.invoke(app, ["db", words[0], "--config", str(tmp_path / "copilot.toml"), *words[1:]])


def fill(url: str) -> None:
    """Ten days of a tick a day, and one assessment of ten days ago."""

    async def save() -> None:
        store = PostgresStore(url)
        await store.setup_schema()
        now = Instant.now()
        days = [now.subtract(hours=24 * n + 1) for n in range(10)]
        await store.save_snapshots([snapshot(evaluation(time=day)) for day in days])
        await store.save_assessment(assessment("critical", days[-1]))
        await store.close()

    asyncio.run(save())


@pytest.fixture
def addresses(database: str, dsql: Dsql) -> dict[str, str]:
    return {"postgresql": database, "dsql": dsql.url()}


@pytest.mark.parametrize("flavour", ["postgresql", "dsql"])
def test_a_database_is_set_up_looked_at_and_pruned_by_one_setting(
    tmp_path: Path, addresses: dict[str, str], flavour: str
) -> None:
    url = addresses[flavour]
    before = db(tmp_path, url, "check-connection")
    assert before.exit_code == 1
    assert "copilot db setup-schema" in before.output
    assert "version 3" in db(tmp_path, url, "setup-schema").output
    after = db(tmp_path, url, "check-connection", "--json")
    assert (after.exit_code, json.loads(after.output)["schema_version"]) == (0, 3)
    assert [c["status"] for c in json.loads(after.output)["checks"]][3:] == ["ok"] * 3
    fill(url)
    assert json.loads(db(tmp_path, url, "list-tables", "--json").output)["metrics_snapshots"] == 10
    assert "4 rows before" in db(tmp_path, url, "prune", "--dry-run").output
    gone = json.loads(db(tmp_path, url, "prune", "--older-than", "3d", "--batch", "2", "--json").output)
    assert (gone["deleted"], gone["rows"]["metrics_snapshots"], gone["dry_run"]) == (8, 7, False)
    assert "0 rows before" in db(tmp_path, url, "prune", "--older-than", "3d").output


def test_where_the_way_ends_is_said_with_what_to_do(tmp_path: Path, unused_tcp_port: int) -> None:
    done = db(tmp_path, f"postgresql://me:secret@127.0.0.1:{unused_tcp_port}/copilot", "check-connection")
    assert done.exit_code == 1
    lines = [line.split("  ")[1].strip() for line in done.output.splitlines() if line.startswith("  ") and ":" in line]
    assert lines == ["ok", "failed", "skipped", "skipped", "skipped", "skipped"]
    assert "→ start the database" in done.output
    assert "secret" not in done.output


@pytest.mark.parametrize("age", ["7", "soon", "-1"])
def test_an_age_that_is_none_deletes_nothing(tmp_path: Path, database: str, age: str) -> None:
    fill(database)
    done = db(tmp_path, database, "prune", "--older-than", age)
    assert done.exit_code != 0
    assert json.loads(db(tmp_path, database, "list-tables", "--json").output)["metrics_snapshots"] == 10


async def test_a_table_too_large_to_count_in_time_is_estimated(postgres_store: PostgresStore, database: str) -> None:
    await postgres_store.save_snapshots([snapshot(evaluation())])
    holder = await asyncpg.connect(database)
    await holder.execute("ANALYZE metrics_snapshots")
    async with holder.transaction():
        await holder.execute("LOCK TABLE metrics_snapshots IN ACCESS EXCLUSIVE MODE")
        found = await inspect(database, count_within_sec=0.2)
    await holder.close()
    assert (found.estimated, found.tables["metrics_snapshots"]) == (frozenset({"metrics_snapshots"}), 1)


def test_without_a_configuration_it_asks_the_store_of_the_demo_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.chdir(tmp_path)
    with owned_folder(tmp_path / "demo") as folder:
        described(folder).write()
        (folder / "copilot.toml").write_text('[store]\nurl = "postgresql://127.0.0.1:1/demo"\n', encoding="utf-8")
        done = CliRunner().invoke(app, ["db", "check-connection", "--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["place"].startswith("127.0.0.1:1")
    assert "using the demo" in done.stderr
