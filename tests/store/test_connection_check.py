"""Each way to miss a store, tried for real: the right step fails, and the later ones are not tried."""

import asyncio
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
import trustme

from copilot.diagnosis import CheckStatus
from copilot.errors import StoreError
from copilot.store.check import STEPS, Connected, check_connection
from copilot.store.postgres import PostgresStore
from tests.store.conftest import Dsql, Server
from tests.store.tls_front import TlsFront

pytestmark = pytest.mark.servers


@dataclass(frozen=True)
class Guarded:
    """A database that wants a password, behind TLS at `port`; `ca_file` vouches for it as `localhost`."""

    port: int
    ca_file: Path

    def url(self, options: str = "", *, who: str = "copilot:right", database: str = "guarded") -> str:
        verify = f"sslmode=verify-full&sslrootcert={self.ca_file}"
        return f"postgresql://{who}@localhost:{self.port}/{database}?{options or verify}"


@pytest.fixture(scope="module")
def guarded(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    authority, ca_file = trustme.CA(), tmp_path_factory.mktemp("guarded") / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    asyncio.run(postgres.run("ALTER USER copilot PASSWORD 'right'"))
    asyncio.run(postgres.run("CREATE DATABASE guarded"))
    front = TlsFront(postgres.port, tls)
    yield Guarded(front.port, ca_file)
    front.close()
    asyncio.run(postgres.run("DROP DATABASE guarded WITH (FORCE)"))


def said(found: Connected) -> dict[str, str]:
    assert tuple(c.name for c in found.checks) == STEPS
    return {c.name: c.status.value for c in found.checks}


def stopped_at(found: Connected, step: str) -> str:
    """What was found at the one step that failed; all before it are not failed, all after it not tried."""
    assert not found.fine
    by_name = {c.name: c for c in found.checks}
    assert [c.name for c in found.checks if c.status is CheckStatus.FAILED] == [step]
    assert by_name[step].fix
    for later in STEPS[STEPS.index(step) + 1 :]:
        assert (by_name[later].status, by_name[later].found) == (CheckStatus.SKIPPED, "not tried")
    return by_name[step].found


@pytest.fixture
async def way(guarded: Guarded) -> Guarded:
    """The guarded server, with the schema in place."""
    store = PostgresStore(guarded.url())
    await store.setup_schema()
    await store.close()
    return guarded


async def test_a_store_that_is_fine_passes_every_step(way: Guarded) -> None:
    found = await check_connection(way.url())
    assert found.fine
    assert set(said(found).values()) == {"ok"}
    assert (found.schema_version, found.server is not None) == (found.newest_version, True)
    assert "the certificate verified" in found.checks[2].found
    assert "right" not in str(found)


async def test_tls_without_verification_is_said(way: Guarded) -> None:
    found = await check_connection(way.url("sslmode=require"))
    assert found.fine
    assert "not verified" in found.checks[2].found


async def test_no_tls_is_said(way: Guarded) -> None:
    found = await check_connection(way.url("sslmode=disable"))
    assert found.fine
    assert (found.checks[2].status, "not encrypted" in found.checks[2].found) == (CheckStatus.SKIPPED, True)


async def test_a_name_nobody_knows(way: Guarded) -> None:
    found = await check_connection(way.url().replace("localhost", "no-such-host.invalid"))
    assert "no-such-host.invalid is not known" in stopped_at(found, "name resolution")


async def test_a_port_nobody_listens_on(way: Guarded, unused_tcp_port: int) -> None:
    found = await check_connection(way.url().replace(f":{way.port}/", f":{unused_tcp_port}/"))
    assert f"port {unused_tcp_port}" in stopped_at(found, "TCP")


async def test_a_certificate_nobody_vouches_for(way: Guarded, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    found = await check_connection(way.url(f"sslmode=verify-full&sslrootcert={tmp_path / 'other.pem'}"))
    assert "CERTIFICATE_VERIFY_FAILED" in stopped_at(found, "TLS")


async def test_a_certificate_for_another_name(way: Guarded) -> None:
    found = await check_connection(way.url().replace("@localhost", "@127.0.0.1"))
    assert "127.0.0.1" in stopped_at(found, "TLS")


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_certificates_that_cannot_be_read(way: Guarded, tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    found = await check_connection(way.url(f"sslmode=verify-full&sslrootcert={tmp_path / 'ca.pem'}"))
    assert "certificates to trust cannot be read" in stopped_at(found, "TLS")


async def test_a_server_without_tls_where_it_is_asked_for(database: str) -> None:
    found = await check_connection(f"{database}?sslmode=require")
    assert "SSL" in stopped_at(found, "TLS")


async def test_a_wrong_password(way: Guarded) -> None:
    found = await check_connection(way.url(who="copilot:wrong"))
    assert "password authentication failed" in stopped_at(found, "authentication")
    assert said(found)["TLS"] == "ok"


async def test_a_database_that_is_not_there(way: Guarded) -> None:
    found = await check_connection(way.url(database="elsewhere"))
    assert '"elsewhere" does not exist' in stopped_at(found, "database")


async def test_no_schema_an_old_one_and_a_newer_one(way: Guarded) -> None:
    connection = await asyncpg.connect(way.url())
    newest = (await check_connection(way.url())).newest_version
    await connection.execute("UPDATE schema_version SET version = $1 WHERE version = $2", newest + 1, newest)
    newer = await check_connection(way.url())
    assert f"{newest + 1}, this program knows only {newest}" in stopped_at(newer, "schema version")
    assert "upgrade" in newer.checks[-1].fix
    await connection.execute("DELETE FROM schema_version")
    assert "no tables" in stopped_at(await check_connection(way.url()), "schema version")
    await connection.execute("DROP TABLE schema_version")
    none = await check_connection(way.url())
    assert "no tables" in stopped_at(none, "schema version")
    assert "setup-schema" in none.checks[-1].fix
    await connection.close()


async def test_dsql_that_is_fine_passes_every_step(dsql: Dsql, dsql_store: PostgresStore) -> None:
    found = await check_connection(dsql.url())
    assert found.fine
    assert set(said(found).values()) == {"ok"}
    assert await dsql_store.clusters() == []


async def test_dsql_without_credentials(dsql: Dsql, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    found = await check_connection(dsql.url())
    assert "cannot create an IAM token" in stopped_at(found, "authentication")


async def test_dsql_with_a_key_that_may_not_connect(dsql: Dsql, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-guess")
    found = await check_connection(dsql.url())
    assert "access denied" in stopped_at(found, "authentication")
    assert "dsql:DbConnect" in found.checks[3].fix


async def test_dsql_behind_a_certificate_for_another_name(dsql: Dsql) -> None:
    found = await check_connection(dsql.url(host=f"{'x' * 26}.dsql.eu-west-1.on.aws"))
    assert "ismatch" in stopped_at(found, "TLS")


async def test_an_address_that_cannot_be_read_is_one_line() -> None:
    with pytest.raises(StoreError, match="region"):
        await check_connection("dsql://x.dsql.eu-west-1.on.aws?region=us-east-1")
