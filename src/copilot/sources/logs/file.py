"""Log files read as they grow, across rotations.

A file is identified by its inode and by a digest of its beginning, so that a rename, a copy that is then truncated, and
a new file on an old inode are all recognized. Unread lines from before a rotation are read from the rotated file beside
it, unless that was compressed or removed before the next reading.
"""

import asyncio
import glob
import hashlib
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel
from whenever import Instant

from copilot.logs.events import parse_lines
from copilot.logs.lines import MAX_LINE_BYTES, LogLine
from copilot.rules.signals.readings import Missing, MissingCode
from copilot.sources import ThrottledLog
from copilot.sources.logs import Cursor, LogBatch, cursor_as

log = logging.getLogger(__name__)

HEAD_BYTES = 1024
MAX_CHUNK_BYTES = 16_000_000
MAX_BEHIND_BYTES = 64_000_000
MAX_FILES = 50


class Place(BaseModel):
    """How far one file was read. `head` is the digest of its first `head_bytes`; `within`: inside a line that is too
    long, the rest of which is skipped."""

    inode: int = 0
    offset: int = 0
    head: str = ""
    head_bytes: int = 0
    within: bool = False


class FileCursor(BaseModel):
    """How far all files were read, and when (unix seconds)."""

    time: float
    places: dict[str, Place] = {}


class FileLogs:
    """The lines of some files. The last part of a path may contain * and ?. Files that appear later are read from their
    start."""

    def __init__(self, files: Sequence[Path], *, chunk_bytes: int = MAX_CHUNK_BYTES) -> None:
        self._files = tuple(files)
        self._chunk_bytes = chunk_bytes
        self._log = ThrottledLog(log, "logs.file_failed")

    async def read(self, cursor: Cursor | None, now: Instant, deadline_sec: float) -> LogBatch:  # noqa: ARG002
        """See `LogSource.read`. At most 16 MB of each file are read at a time, so the deadline does not matter."""
        return await asyncio.to_thread(self._read, cursor_as(FileCursor, cursor), now)

    async def aclose(self) -> None:
        """No file is held open."""

    def _read(self, before: FileCursor | None, now: Instant) -> LogBatch:
        problems: list[Missing] = []
        lines: list[LogLine] = []
        paths = self._paths(problems)
        places = _moved(before.places, paths) if before else {}
        read = 0
        for path in paths:
            name = str(path)
            try:
                known = places.get(name, Place())
                places[name] = self._one(path, known, lines, problems) if before else _at_its_end(path)
                read += 1
            except OSError as error:
                problems.append(_problem(path, error))
        missing: Missing | None = None
        if problems:  # as one, with the code of the first
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            missing = problems[0].model_copy(update={"detail": problems[0].detail + more})
            self._log.warning("logs: %s", missing.detail)
        if not read and before is not None:
            return LogBatch(before.model_dump(), missing=missing, read=False)
        seconds = now.timestamp(unit="millisecond") / 1000
        after = FileCursor(time=seconds, places=dict(list(places.items())[-2 * MAX_FILES :])).model_dump()
        span = max(0.001, seconds - before.time) if before else None
        return LogBatch(after, lines, span, missing, read=read > 0)

    def _paths(self, problems: list[Missing]) -> list[Path]:
        found: dict[Path, None] = {}
        for file in self._files:
            if not glob.has_magic(file.name):
                found[file] = None
                continue
            matching = sorted(p for p in file.parent.glob(file.name) if p.is_file())
            if not matching:
                problems.append(Missing(code=MissingCode.ABSENT, detail=f"no file matches {file}"))
            found.update(dict.fromkeys(matching))
        if nameless := [path for path in found if not _is_text(path)]:
            detail = f"{len(nameless)} log files are left out: their names are not UTF-8"
            problems.append(Missing(code=MissingCode.DROPPED, detail=detail))
            found = {path: None for path in found if path not in nameless}
        if len(found) > MAX_FILES:
            detail = f"{len(found)} log files are {len(found) - MAX_FILES} more than the limit"
            problems.append(Missing(code=MissingCode.DROPPED, detail=detail))
        return list(found)[:MAX_FILES]

    def _one(self, path: Path, known: Place, lines: list[LogLine], problems: list[Missing]) -> Place:
        with path.open("rb") as file:
            if _is_other(file, known):
                if rotated := _rotated(path, known):
                    with rotated.open("rb") as rest:
                        lines += self._rest(rest, known, problems, path, over=True)[0]
                known = Place()
            read, place = self._rest(file, known, problems, path)
            lines += read
            return place

    def _rest(
        self, file: BinaryIO, known: Place, problems: list[Missing], path: Path, *, over: bool = False
    ) -> tuple[list[LogLine], Place]:
        """The whole lines after the known place; with `over`, also the last one, even without an end of line."""
        size = os.fstat(file.fileno()).st_size
        offset, within = known.offset, known.within
        if size - offset > max(MAX_BEHIND_BYTES, 4 * self._chunk_bytes):
            megabytes = (size - offset - self._chunk_bytes) / 1e6
            detail = f"{path}: {megabytes:.0f} MB were skipped: they were written faster than they can be read"
            problems.append(Missing(code=MissingCode.DROPPED, detail=detail))
            offset, within = size - self._chunk_bytes, True
        file.seek(offset)
        chunk = file.read(self._chunk_bytes)
        end = len(chunk) if over else chunk.rfind(b"\n") + 1
        whole = chunk[:end]
        if within:
            cut = whole.find(b"\n") + 1
            within, whole = cut == 0, whole[cut:] if cut else b""
        if end == 0 and len(chunk) >= MAX_LINE_BYTES:
            end, within, whole = len(chunk), True, b"" if within else chunk
        return list(parse_lines(whole.split(b"\n"), path.name)), _place(file, offset + end, within=within)


def _is_text(path: Path) -> bool:
    """Whether the cursor can hold its name."""
    try:
        return bool(str(path).encode())
    except UnicodeEncodeError:
        return False


def _at_its_end(path: Path) -> Place:
    """After the last whole line."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - MAX_LINE_BYTES))
        tail = file.read(MAX_LINE_BYTES)
        return _place(file, size - len(tail) + tail.rfind(b"\n") + 1)


def _place(file: BinaryIO, offset: int, *, within: bool = False) -> Place:
    head, length = _head(file)
    inode = os.fstat(file.fileno()).st_ino
    return Place(inode=inode, offset=offset, head=head, head_bytes=length, within=within)


def _head(file: BinaryIO, length: int = HEAD_BYTES) -> tuple[str, int]:
    file.seek(0)
    start = file.read(length)
    return hashlib.sha256(start).hexdigest()[:16], len(start)


def _is_other(file: BinaryIO, known: Place) -> bool:
    """Whether this is not the file known by this path any more, or it was truncated."""
    stat = os.fstat(file.fileno())
    if known.inode == 0:
        return False
    return stat.st_ino != known.inode or stat.st_size < known.offset or not _begins_as(file, known)


def _begins_as(file: BinaryIO, known: Place) -> bool:
    return _head(file, known.head_bytes) == (known.head, known.head_bytes)


def _is_same(file: BinaryIO, known: Place) -> bool:
    """Whether this file, under another name, is the known one. One that was empty is identified by its inode alone."""
    return _begins_as(file, known) and (known.head_bytes > 0 or os.fstat(file.fileno()).st_ino == known.inode)


def _moved(places: Mapping[str, Place], paths: Iterable[Path]) -> dict[str, Place]:
    """The places by the files' present names: rotated files that match a pattern have new names, and are not new."""
    now = dict(places)
    for path in paths:
        if str(path) not in places:
            with suppress(OSError), path.open("rb") as file:
                for before, known in places.items():
                    if _is_same(file, known) and _was_replaced(Path(before), known):
                        now |= {str(path): known, before: Place()}
    return now


def _was_replaced(path: Path, known: Place) -> bool:
    """Whether the file known by this path is not there any more."""
    with suppress(OSError), path.open("rb") as file:
        return _is_other(file, known)
    return True


def _rotated(path: Path, known: Place) -> Path | None:
    """The file beside it that is the known one, renamed or copied, with unread lines."""
    for other in sorted(path.parent.glob(f"{glob.escape(path.stem)}*")):
        if other != path and other.is_file():
            with suppress(OSError), other.open("rb") as file:
                if os.fstat(file.fileno()).st_size > known.offset and _is_same(file, known):
                    return other
    return None


def _problem(path: Path, error: OSError) -> Missing:
    match error:
        case FileNotFoundError():
            return Missing(code=MissingCode.ABSENT, detail=f"{path} is not there")
        case PermissionError():
            return Missing(code=MissingCode.FORBIDDEN, detail=f"{path} may not be read")
        case _:
            return Missing(code=MissingCode.PARSE, detail=f"{path} cannot be read: {error.strerror}")
