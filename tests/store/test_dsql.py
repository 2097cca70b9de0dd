"""The store on Aurora DSQL, at the wire: a stand-in for DSQL's front door over a real PostgreSQL. Every statement these
tests send is read by AWS's linter (the fixture `dsql`)."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
import trustme
from whenever import Instant

from copilot.errors import StoreError
from copilot.rules.model import Detected, Severity
from copilot.rules.signals.readings import Signals
from copilot.store.base import Store
from copilot.store.connections import Connections
from copilot.store.postgres import PostgresStore
from tests.evaluations import NOON, assessment, evaluation, snapshot
from tests.store.conftest import EMPTY, ENDPOINT, NO_ROWS, Dsql, Server, set_up
from tests.store.contract import StoreContract
from tests.store.dsql_standin import SYS, Moment

pytestmark = pytest.mark.servers


@pytest_asyncio.fixture(scope="class", loop_scope="class")
async def shared(postgres: Server, dsql_front: Dsql) -> AsyncIterator[PostgresStore]:
    await postgres.run(EMPTY + "; " + SYS)
    store = PostgresStore(dsql_front.url())
    yield store
    await store.close()
    dsql_front.judge()


@pytest_asyncio.fixture(loop_scope="class")
async def store(
    shared: PostgresStore,
    postgres: Server,
    dsql_front: Dsql,
    aws: dict[str, str],
    names: None,  # noqa: ARG001
) -> Store:
    dsql_front.front.secrets = aws
    await shared.setup_schema()
    await postgres.run(NO_ROWS)
    return shared


@pytest.mark.asyncio(loop_scope="class")
class TestDsqlStore(StoreContract):
    pass


async def backend(postgres: Server, statement: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(postgres.url())
    try:
        return await connection.fetch(statement)
    finally:
        await connection.close()


async def session(connections: Connections) -> int:
    return int(await connections.value("SELECT pg_backend_pid()"))


@pytest.mark.parametrize(("user", "action"), [("admin", "DbConnectAdmin"), ("sre-copilot", "DbConnect")])
async def test_a_token_is_made_for_the_cluster_its_region_and_the_user(dsql: Dsql, user: str, action: str) -> None:
    async with set_up(dsql.url(user="" if user == "admin" else user)) as store:
        name, token = dsql.front.logins[0]
        assert (name, token.action, token.host, token.region) == (user, action, ENDPOINT, "eu-west-1")
        assert (Instant.now() - token.made).total("seconds") < 60
        assert await store.clusters() == []


async def test_the_next_connection_uses_the_credentials_there_are_then(
    dsql: Dsql, dsql_store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASECOND")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "second-secret")
    del dsql.front.secrets["AKIAFIRST"]
    dsql.front.secrets["AKIASECOND"] = "second-secret"
    assert await dsql_store.clusters() == []
    assert dsql.front.end_sessions() >= 1
    assert await dsql_store.clusters() == []
    assert [token.access_key for _, token in dsql.front.logins][-1] == "AKIASECOND"


async def test_temporary_credentials_are_fetched_anew_for_every_connection(
    dsql: Dsql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    count = tmp_path / "count"
    program = tmp_path / "role.py"
    said = {"Version": 1, "SecretAccessKey": "s", "SessionToken": "t", "Expiration": "2999-01-01T00:00:00Z"}
    program.write_text(
        f"import json, pathlib\nat = pathlib.Path({str(count)!r})\nn = at.stat().st_size if at.exists() else 0\n"
        f"at.write_text('x' * (n + 1))\nprint(json.dumps({json.dumps(said)} | {{'AccessKeyId': f'ASIA{{n}}'}}))\n"
    )
    (tmp_path / "aws-config").write_text(f"[profile ours]\ncredential_process = {sys.executable} {program}\n")
    dsql.front.secrets.update({f"ASIA{n}": "s" for n in range(3)})
    connections = Connections(dsql.url("&profile=ours"), max_size=1)
    for n in range(3):
        await session(connections)
        assert [token.access_key for _, token in dsql.front.logins] == [f"ASIA{k}" for k in range(n + 1)]
        dsql.front.end_sessions()
    await connections.close()


async def refused(url: str, why: str) -> None:
    store = PostgresStore(url)
    with pytest.raises(StoreError, match=why):
        await store.clusters()
    await store.close()


async def test_no_token_is_sent_without_credentials_or_to_a_server_whose_certificate_is_not_trusted(
    dsql: Dsql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    await refused(replace(dsql, ca_file=tmp_path / "ca.pem").url(), "CERTIFICATE_VERIFY_FAILED")
    await refused(dsql.url(host=f"{'x' * 26}.dsql.eu-west-1.on.aws"), r"[Hh]ostname mismatch")
    with monkeypatch.context() as without:
        without.delenv("AWS_ACCESS_KEY_ID")
        await refused(dsql.url(), r"cannot create an IAM token for .*credentials")
    assert (dsql.front.logins, dsql.front.refused) == ([], [])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-guess")
    await refused(dsql.url(), "access denied")
    assert dsql.front.refused == ["the signature does not match"]


@pytest.mark.parametrize("code", ["40001", "OC000", "OC001"])
async def test_a_conflict_at_commit_leads_to_the_whole_transaction_again(
    dsql: Dsql, dsql_store: PostgresStore, code: str
) -> None:
    dsql.front.commits_to_refuse = [code, code, code]
    made = assessment("critical")
    assert await dsql_store.save_assessment(made)
    assert dsql.front.commits_to_refuse == []
    assert len(await dsql_store.assessments_in_range("default", NOON, NOON)) == 1
    assert len(await dsql_store.issues("default")) == len(made.findings)


async def test_conflicts_without_end_are_an_error_in_the_end(dsql: Dsql, dsql_store: PostgresStore) -> None:
    dsql.front.commits_to_refuse = ["40001"] * 10
    with pytest.raises(StoreError, match="conflicts with another transaction"):
        await dsql_store.save_assessment(assessment("critical"))
    assert dsql.front.commits_to_refuse == []
    assert await dsql_store.latest_assessment("default") is None


@pytest.mark.parametrize("moment", ["statement", "before commit", "after commit"])
async def test_a_connection_that_breaks_loses_nothing_and_doubles_nothing(
    dsql: Dsql, dsql_store: PostgresStore, moment: Moment
) -> None:
    dsql.front.drops = [moment, moment]
    await dsql_store.save_assessment(assessment("critical"))
    await dsql_store.save_snapshots([snapshot(evaluation("critical"))])
    assert dsql.front.drops == []
    assert len(await dsql_store.assessments_in_range("default", NOON, NOON)) == 1
    assert len(await dsql_store.timeline("default", NOON, NOON, 10)) == 1


async def test_all_sessions_may_end_at_once_during_writes(dsql: Dsql, dsql_store: PostgresStore) -> None:
    ticks = [snapshot(evaluation(time=NOON.add(seconds=30 * n))) for n in range(6)]
    await asyncio.gather(*(dsql_store.save_snapshots([t]) for t in ticks[:3]))
    saving = asyncio.gather(*(dsql_store.save_snapshots([t]) for t in ticks[3:]))
    assert dsql.front.end_sessions() > 1
    await saving
    assert len(await dsql_store.timeline("default", NOON, NOON.add(hours=1), 100)) == 6


async def test_a_session_is_replaced_before_its_hour_is_over_with_a_token_of_its_own(dsql: Dsql) -> None:
    late = [0.0]
    connections = Connections(dsql.url(), max_size=1, clock=lambda: asyncio.get_running_loop().time() + late[0])
    first = await session(connections)
    late[0] = 49 * 60
    assert await session(connections) == first
    late[0] = 51 * 60
    assert await session(connections) != first
    assert len(dsql.front.logins) == 2
    await connections.close()


async def test_what_is_written_stays_under_the_limits_of_a_transaction(dsql: Dsql, dsql_store: PostgresStore) -> None:
    long = Detected(finding="no_pollers", severity=Severity.CRITICAL, evidence={"queues": ("x" * 100_000,)})
    bare = evaluation().verdict.model_copy(update={"gates": ()})
    small = evaluation(verdict=bare, services=(), signals=Signals(time=NOON, readings={}))
    many = [
        snapshot(small.model_copy(update={"evaluation_id": f"default:{n}", "time": NOON.add(seconds=n)}))
        for n in range(3_100)
    ]
    large = [snapshot(evaluation("stressed", NOON.subtract(seconds=n + 1), findings=(long,))) for n in range(120)]
    assert await dsql_store.save_snapshots(many) == 3_100
    assert await dsql_store.save_snapshots(large) == 120
    assert 2_000 < dsql.front.largest_rows <= 3_000
    assert 6 * 2**20 < dsql.front.largest_bytes <= 10 * 2**20


async def test_a_batch_that_is_too_large_for_the_database_is_halved(dsql: Dsql, dsql_store: PostgresStore) -> None:
    await dsql_store.save_snapshots([snapshot(evaluation(time=NOON.add(seconds=n))) for n in range(90)])
    dsql.front.row_limit = 30
    batches: list[int] = []
    assert await dsql_store.prune(NOON.add(hours=1), on_deleted=lambda _, rows: batches.append(rows)) == 90
    assert batches == [25, 25, 25, 15]
    assert len(dsql.front.violations) == 3
    dsql.front.violations.clear()


async def test_indexes_are_waited_for_and_there(dsql: Dsql, postgres: Server, dsql_store: PostgresStore) -> None:
    made = await backend(postgres, "SELECT object_name FROM sys.jobs WHERE status = 'completed'")
    assert {"public.metrics_snapshots_by_time", "public.health_assessments_by_time"} <= {r[0] for r in made}
    assert dsql.front.statements["CALL sys.wait_for_job($1)"] >= len(made)
    before = dsql.front.statements["CALL sys.wait_for_job($1)"]
    await dsql_store.setup_schema()
    assert dsql.front.statements["CALL sys.wait_for_job($1)"] == before


async def test_an_index_whose_build_failed_is_built_again_and_else_its_job_says_why(
    dsql: Dsql, postgres: Server
) -> None:
    store = PostgresStore(dsql.url())
    await postgres.run("UPDATE sys.accidents SET left_over = 99")
    with pytest.raises(StoreError, match=r"index metrics_snapshots_by_time cannot be built: the build met an accident"):
        await store.setup_schema()
    await postgres.run("UPDATE sys.accidents SET left_over = 1")
    await store.setup_schema()
    (valid,) = await backend(postgres, "SELECT bool_and(indisvalid) FROM pg_index")
    assert valid[0]
    await store.close()
