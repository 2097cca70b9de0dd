"""The data folder of a demo: its lock, its description for other terminals, its removal, and how to find the newest."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from copilot.errors import StartError

DESCRIPTION = "demo.json"
LOCK = "demo.lock"
PREFIX = "copilot-demo-"
OWNERS = 0o711 if os.geteuid() == 0 else 0o700
"""The mode of a data folder. As root, PostgreSQL runs as another user and must reach its folder below."""


class RunningDemo(BaseModel):
    """A running demo, for `copilot fault` and other terminals. All addresses are on loopback."""

    model_config = ConfigDict(frozen=True)

    pid: int
    started_at: str
    data_dir: Path
    socket: Path
    page: str
    temporal: str
    copilot_temporal: str
    metrics: dict[str, str]
    store: str
    config: Path
    logs: Path
    children: dict[str, int]

    def write(self) -> None:
        """Write it to the data folder and to the list of running demos."""
        text = self.model_dump_json(indent=2)
        for file in self._files():
            draft = file.with_suffix(".draft")
            draft.write_text(text, encoding="utf-8")
            draft.replace(file)

    def remove(self) -> None:
        """Remove it from both."""
        for file in self._files():
            file.unlink(missing_ok=True)

    def _files(self) -> tuple[Path, Path]:
        return self.data_dir / DESCRIPTION, _list_of_demos() / f"{self.pid}.json"


@contextlib.contextmanager
def locked(folder: Path, name: str, owner: str) -> Iterator[None]:
    """Create the folder and its logs folder if they do not exist, for their owner alone, and lock it with the file
    `name` in it.

    StartError if it cannot be written, or if another `owner` holds the lock."""
    try:
        folder.mkdir(mode=OWNERS, parents=True, exist_ok=True)
        (folder / "logs").mkdir(exist_ok=True)
        (folder / "logs").chmod(0o700)
        lock = (folder / name).open("w")
    except OSError as error:
        raise StartError(
            f"{folder} cannot be used ({error.strerror}): choose a folder that you can write to with --data-dir"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StartError(
                f"another {owner} runs in {folder}: stop it, or choose another folder with --data-dir"
            ) from None
        yield


def is_locked(folder: Path, name: str) -> bool:
    """Whether a process holds that lock of the folder. A leftover lock file does not count."""
    try:
        with (folder / name).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    return False


@contextlib.contextmanager
def owned_folder(chosen: Path | None) -> Iterator[Path]:
    """The demo's data folder, locked: `chosen`, which is kept, or a temporary one, which is removed at the end (except
    the logs after a failed start: the error points there).

    StartError if it cannot be written or another demo uses it."""
    if chosen is None:
        _remove_leftovers()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX)) if chosen is None else chosen.expanduser().absolute()
    if chosen is None:
        folder.chmod(OWNERS)
    with locked(folder, LOCK, "demo"):
        kept: str | None = None
        try:
            yield folder
        except StartError:
            kept = "logs"
            raise
        finally:
            if chosen is None:
                _remove(folder, kept)


def find_demo(data_dir: Path | None) -> RunningDemo:
    """The demo that runs in `data_dir`, by default the newest of this user. StartError if there is none."""
    if data_dir is not None:
        files, missing = [data_dir.expanduser().absolute() / DESCRIPTION], f"no demo runs in {data_dir}"
    else:
        files = list(_list_of_demos().glob("*.json"))
        missing = "no demo runs: start one with `copilot demo`, or name its folder with --data-dir"
    demos = [demo for file in files if (demo := _read(file)) is not None and is_locked(demo.data_dir, LOCK)]
    if not demos:
        raise StartError(missing)
    return max(demos, key=lambda demo: demo.started_at)


def _read(file: Path) -> RunningDemo | None:
    try:
        return RunningDemo.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None


def _list_of_demos() -> Path:
    base = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(base) / "copilot" if base else Path(tempfile.gettempdir()) / f"copilot-demos-{os.geteuid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = folder.stat().st_uid
    except OSError as error:
        problem = f"cannot be used ({error.strerror})"
    else:
        problem = "" if owner == os.geteuid() else "belongs to another user"
    if problem:
        raise StartError(f"{folder} {problem}: set XDG_RUNTIME_DIR to a folder of your own")
    return folder


def _remove(folder: Path, kept: str | None) -> None:
    for part in [folder] if kept is None else [part for part in folder.iterdir() if part.name != kept]:
        shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink(missing_ok=True)


def _remove_leftovers() -> None:
    """Remove temporary folders of demos that were killed: listed, but no longer locked."""
    for file in _list_of_demos().glob("*.json"):
        demo = _read(file)
        if demo is None or is_locked(demo.data_dir, LOCK):
            continue
        if demo.data_dir.name.startswith(PREFIX) and demo.data_dir.parent == Path(tempfile.gettempdir()):
            shutil.rmtree(demo.data_dir, ignore_errors=True)
        file.unlink(missing_ok=True)
