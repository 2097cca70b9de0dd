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


def stopped_at(found: Connected, step: str) -> str:
    """What was found at the one step that failed; the later ones were not tried."""
    assert tuple(c.name for c in found.checks) == STEPS
    assert not found.fine
    assert [c.name for c in found.checks if c.status is CheckStatus.FAILED] == [step]
    failed, *later = found.checks[STEPS.index(step) :]
    assert failed.fix
    assert {(c.status, c.found) for c in later} <= {(CheckStatus.SKIPPED, "not tried")}
    return failed.found


@pytest.fixture
async def way(guarded: Guarded) -> Guarded:
    """The guarded server, with the schema in place."""
    store = PostgresStore(guarded.url())
    await store.setup_schema()
    await store.close()
    return guarded


@pytest.mark.parametrize(
    ("options", "status", "tls"),
    [
        ("", "ok", "the certificate verified"),
        ("sslmode=require", "ok", "not verified"),
        ("sslmode=disable", "skipped", "not encrypted"),
    ],
)
async def test_a_store_that_is_fine_passes_every_step(way: Guarded, options: str, status: str, tls: str) -> None:
    found = await check_connection(way.url(options))
    assert found.fine
    assert [c.status.value for c in found.checks] == ["ok", "ok", status, "ok", "ok", "ok"]
    assert (found.schema_version, found.server is not None) == (found.newest_version, True)
    assert tls in found.checks[2].found
    assert "right" not in str(found)


@pytest.mark.parametrize(
    ("old", "new", "step", "why"),
    [
        ("localhost", "no-such-host.invalid", "name resolution", "no-such-host.invalid is not known"),
        (":{port}/", ":{unused}/", "TCP", "port {unused}"),
        ("{ca}", "{other}", "TLS", "CERTIFICATE_VERIFY_FAILED"),
        ("{ca}", "{none}", "TLS", "certificates to trust cannot be read"),
        ("{ca}", "{broken}", "TLS", "certificates to trust cannot be read"),
        ("@localhost", "@127.0.0.1", "TLS", "127.0.0.1"),
        ("right", "wrong", "authentication", "password authentication failed"),
        ("/guarded?", "/elsewhere?", "database", '"elsewhere" does not exist'),
    ],
)
async def test_the_step_that_fails_is_named(
    way: Guarded, tmp_path: Path, unused_tcp_port: int, old: str, new: str, step: str, why: str
) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    (tmp_path / "broken.pem").write_text("no certificate")
    files = {name: tmp_path / f"{name}.pem" for name in ("other", "none", "broken")}
    known = {"port": way.port, "unused": unused_tcp_port, "ca": way.ca_file, **files}
    old, new, why = (text.format(**known) for text in (old, new, why))
    found = await check_connection(way.url().replace(old, new))
    assert why in stopped_at(found, step)
    assert found.checks[2].status.value == ("ok" if step in ("authentication", "database") else found.checks[2].status)


async def test_a_server_without_tls_where_it_is_required(database: str) -> None:
    assert "SSL" in stopped_at(await check_connection(f"{database}?sslmode=require"), "TLS")


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


async def test_each_step_to_dsql(dsql: Dsql, dsql_store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    found = await check_connection(dsql.url())
    assert [c.status.value for c in found.checks] == ["ok"] * 6
    assert await dsql_store.clusters() == []
    elsewhere = await check_connection(dsql.url(host=f"{'x' * 26}.dsql.eu-west-1.on.aws"))
    assert "ismatch" in stopped_at(elsewhere, "TLS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-guess")
    found = await check_connection(dsql.url())
    assert "access denied" in stopped_at(found, "authentication")
    assert "dsql:DbConnect" in found.checks[3].fix
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert "cannot create an IAM token" in stopped_at(await check_connection(dsql.url()), "authentication")


async def test_an_address_that_cannot_be_read_is_one_line() -> None:
    with pytest.raises(StoreError, match="region"):
        await check_connection("dsql://x.dsql.eu-west-1.on.aws?region=us-east-1")
