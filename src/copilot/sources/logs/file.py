"""Log files read as they grow, over rotations.

A file is known by its inode and by a digest of its beginning, so that neither a rename, nor a copy that is truncated
afterwards, nor a new file on an old inode is taken for more of the same. What was written before a rotation and not
read yet is looked for beside it. A rotated file that is compressed or gone by the next reading cannot be read to its
end.
"""

import asyncio
import glob
import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, ValidationError
from whenever import Instant

from copilot.logs.lines import LogLine, parse_line
from copilot.rules.signals.readings import Missing, MissingCode
from copilot.sources.complaints import Complaints
from copilot.sources.logs.base import Cursor, LogBatch

log = logging.getLogger(__name__)

HEAD = 1024
MAX_LINE = 64_000
MOST_AT_ONCE = 16_000_000
MOST_BEHIND = 64_000_000
MOST_FILES = 50


class Place(BaseModel):
    """How far one file was read. `head` is the digest of its first `head_bytes`; `within`: inside a line too long to be
    kept, the rest of which is passed over."""

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
    """The lines of some files. A path's last part may hold * and ?. Files that appear later are read from the start."""

    def __init__(self, files: Sequence[Path], *, most_at_once: int = MOST_AT_ONCE) -> None:
        self._files = tuple(files)
        self._most = most_at_once
        self._complaints = Complaints(log)

    async def read(self, cursor: Cursor | None, now: Instant, deadline_sec: float) -> LogBatch:  # noqa: ARG002
        """See `LogSource.read`. Files are read up to 16 MB each at a time, so the deadline does not matter."""
        return await asyncio.to_thread(self._read, _known(cursor), now)

    async def aclose(self) -> None:
        """Nothing is held open."""

    def _read(self, before: FileCursor | None, now: Instant) -> LogBatch:
        problems: list[Missing] = []
        lines: list[LogLine] = []
        paths = self._paths(problems)
        places = _moved(before.places, paths) if before else {}
        read = 0
        for path in paths:
            known = places.get(str(path))
            try:
                if before is None:
                    places[str(path)] = _at_its_end(path)
                else:
                    places[str(path)] = self._one(path, known or Place(), lines, problems)
                read += 1
            except OSError as error:
                problems.append(_problem(path, error))
        missing = _all_of(problems)
        if missing is not None:
            self._complaints.say("logs: %s", missing.detail)
        if not read and before is not None:
            return LogBatch(before.model_dump(), missing=missing, read=False)
        seconds = now.timestamp(unit="millisecond") / 1000
        after = FileCursor(time=seconds, places=dict(list(places.items())[-2 * MOST_FILES :])).model_dump()
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
        if len(found) > MOST_FILES:
            detail = f"{len(found)} log files are {len(found) - MOST_FILES} more than are read"
            problems.append(Missing(code=MissingCode.DROPPED, detail=detail))
        return list(found)[:MOST_FILES]

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
        """The whole lines after the known place; with `over`, the last one too, whole or not."""
        size = os.fstat(file.fileno()).st_size
        offset, within = known.offset, known.within
        if size - offset > max(MOST_BEHIND, 4 * self._most):
            problems.append(
                Missing(
                    code=MissingCode.DROPPED,
                    detail=f"{path}: {(size - offset - self._most) / 1e6:.0f} MB were written faster than can be read",
                )
            )
            offset, within = size - self._most, True
        file.seek(offset)
        chunk = file.read(self._most)
        end = len(chunk) if over else chunk.rfind(b"\n") + 1
        whole = chunk[:end]
        if within:
            cut = whole.find(b"\n") + 1
            within, whole = cut == 0, whole[cut:] if cut else b""
        if end == 0 and len(chunk) >= MAX_LINE:
            end, within, whole = len(chunk), True, b"" if within else chunk
        digest, length = _head(file)
        place = Place(
            inode=os.fstat(file.fileno()).st_ino, offset=offset + end, head=digest, head_bytes=length, within=within
        )
        return list(_lines(whole)), place


def _known(cursor: Cursor | None) -> FileCursor | None:
    """The cursor; one of a release or source that wrote another kind is forgotten."""
    try:
        return FileCursor.model_validate(cursor) if cursor is not None else None
    except ValidationError:
        return None


def _lines(whole: bytes) -> Iterator[LogLine]:
    for raw in whole.split(b"\n"):
        line = parse_line(raw[:MAX_LINE].decode("utf-8", "replace").rstrip("\r"))
        if line is not None:
            yield line


def _at_its_end(path: Path) -> Place:
    """After the last whole line."""
    with path.open("rb") as file:
        stat = os.fstat(file.fileno())
        file.seek(max(0, stat.st_size - MAX_LINE))
        tail = file.read(MAX_LINE)
        digest, length = _head(file)
        unfinished = len(tail) - (tail.rfind(b"\n") + 1)
        return Place(inode=stat.st_ino, offset=stat.st_size - unfinished, head=digest, head_bytes=length)


def _head(file: BinaryIO, length: int = HEAD) -> tuple[str, int]:
    file.seek(0)
    start = file.read(length)
    return hashlib.sha256(start).hexdigest()[:16], len(start)


def _is_other(file: BinaryIO, known: Place) -> bool:
    """Whether this is another file than the one known by this path, or the same one emptied."""
    stat = os.fstat(file.fileno())
    if known.inode == 0:
        return False
    return stat.st_ino != known.inode or stat.st_size < known.offset or not _begins_as(file, known)


def _begins_as(file: BinaryIO, known: Place) -> bool:
    return _head(file, known.head_bytes) == (known.head, known.head_bytes)


def _is_it(file: BinaryIO, known: Place) -> bool:
    """Whether this file, of another name, is what was known. One that was empty is told by its inode alone."""
    return _begins_as(file, known) and (known.head_bytes > 0 or os.fstat(file.fileno()).st_ino == known.inode)


def _moved(places: Mapping[str, Place], paths: Iterable[Path]) -> dict[str, Place]:
    """The places by what the files are called now: a pattern that matches rotated files too sees them under new names,
    and they are no new files."""
    now = dict(places)
    for path in paths:
        if str(path) in places:
            continue
        with suppress(OSError), path.open("rb") as file:
            for before, known in places.items():
                if _is_it(file, known) and _is_gone(Path(before), known):
                    now[str(path)] = known
                    now[before] = Place()
    return now


def _is_gone(path: Path, known: Place) -> bool:
    """Whether what was known by this path is there no more."""
    try:
        with path.open("rb") as file:
            return _is_other(file, known)
    except OSError:
        return True


def _rotated(path: Path, known: Place) -> Path | None:
    """The file beside it that holds what was known by this path, renamed or copied, with something unread."""
    for other in sorted(path.parent.glob(f"{glob.escape(path.stem)}*")):
        if other == path or not other.is_file():
            continue
        try:
            with other.open("rb") as file:
                if os.fstat(file.fileno()).st_size > known.offset and _is_it(file, known):
                    return other
        except OSError:
            continue
    return None


def _problem(path: Path, error: OSError) -> Missing:
    match error:
        case FileNotFoundError():
            return Missing(code=MissingCode.ABSENT, detail=f"{path} is not there")
        case PermissionError():
            return Missing(code=MissingCode.FORBIDDEN, detail=f"{path} may not be read")
        case _:
            return Missing(code=MissingCode.PARSE, detail=f"{path} cannot be read: {error.strerror}")


def _all_of(problems: Iterable[Missing]) -> Missing | None:
    """All problems as one; the first gives the code."""
    found = list(problems)
    if not found:
        return None
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return found[0].model_copy(update={"detail": found[0].detail + more})
