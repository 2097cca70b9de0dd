"""Recordings: the signals of one cluster as JSON lines, a header and one line per tick; gzipped where the name ends in
.gz."""

import gzip
import json
import logging
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from pydantic import ValidationError
from whenever import Instant

from copilot.errors import RecordingError
from copilot.rules.signals.readings import RecordingHeader, Signals
from copilot.rules.signals.taxonomy import SPECS

_UNREAD = re.compile(r"is on no page read, and (?:up is 0 for (\S+) of job (\S+)|(https?://\S+): )")

log = logging.getLogger(__name__)
_KNOWN = frozenset(SPECS)


def read_recording(path: Path) -> tuple[RecordingHeader, Iterator[Signals]]:
    """The header, and the ticks as they are read.

    Both raise RecordingError, which names the line: it is not JSON, has another shape, goes back in time, or has an id
    that is not in the taxonomy. A recording whose writer was killed is read to its last complete line, with a warning
    in the log."""
    lines = _lines(path)
    number, first = next(lines, (1, ""))
    if not first:
        raise RecordingError(f"{path} is empty: a recording begins with a header line")
    header = _parsed(path, number, first, RecordingHeader)
    return header, _ticks(path, lines)


class Recording:
    """A recording that is being written. `ticks`: how many it has so far."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.ticks = 0

    def add(self, tick: Signals) -> None:
        """Write one tick; it is in the file when this returns."""
        self._file.write(tick_line(tick) + "\n")
        self._file.flush()
        self.ticks += 1


@contextmanager
def recording_to(path: Path, header: RecordingHeader) -> Iterator[Recording]:
    """Write a recording line by line; it is complete whenever the block ends. RecordingError when the file cannot be
    written, or exists already."""
    try:
        with _opened(path, "xt", "utf-8") as file:
            file.write(header.model_dump_json() + "\n")
            file.flush()
            yield Recording(file)
    except FileExistsError:
        raise RecordingError(f"{path} exists already: choose another name, or remove it") from None
    except OSError as error:
        raise RecordingError(f"{path} cannot be written: {error.strerror or error}") from error


def tick_line(signals: Signals) -> str:
    """One tick as a line, without empty fields and those that are not part of the format."""
    document = signals.model_dump(mode="json", exclude={"sources", "server", "changes"})
    return json.dumps({k: v for k, v in document.items() if v or k in ("time", "readings")}, separators=(",", ":"))


def _ticks(path: Path, lines: Iterator[tuple[int, str]]) -> Iterator[Signals]:
    before: Instant | None = None
    lost: Signals | None = None
    for number, line in lines:
        tick = _parsed(path, number, line, Signals)
        mentioned = (tick.readings, tick.no_traffic, tick.at_least, tick.missing, tick.breakdowns)
        if not all(map(_KNOWN.issuperset, mentioned)):
            unknown = ", ".join(sorted(set().union(*mentioned) - _KNOWN))
            raise RecordingError(f"{path} line {number}: the taxonomy has no signal {unknown}")
        if before is not None and tick.time <= before:
            raise RecordingError(f"{path} line {number}: {tick.time} is not after the line before")
        before = tick.time
        if not (tick.unread or tick.processes):
            tick = _of_older_release(tick, lost)
            lost = tick if tick.unread else None
        yield tick


def _of_older_release(tick: Signals, before: Signals | None) -> Signals:
    """A tick of a release that did not list the processes that do not answer: it names them where it takes readings for
    lost with them, and they stay away until more processes answer. A count that was on no page, while others of the
    service that has it were read, is not lost: it never happened. `before`: the tick before, where one was away."""
    found = {i: m for i, why in tick.missing.items() if (m := _UNREAD.search(why.detail))}
    names = sorted({f"{m[1]} ({m[2]})" if m[1] else m[3] for m in found.values()})
    if not names:
        still = before is not None and tick.targets.get("server", 0) <= before.targets.get("server", 0)
        return tick.model_copy(update={"unread": before.unread}) if before is not None and still else tick
    read = {"", *(SPECS[i].emitted_by for i, value in tick.readings.items() if value is not None)}
    never = {i: 0.0 for i in found if SPECS[i].unit == "1/s" and SPECS[i].emitted_by in read}
    readings, missing = {**tick.readings, **never}, {i: why for i, why in tick.missing.items() if i not in never}
    return tick.model_copy(update={"readings": readings, "missing": missing, "unread": {"server": tuple(names)}})


def _parsed(path: Path, number: int, line: str, model: type[Any]) -> Any:
    try:
        return model.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(p) for p in first["loc"]) or "the line"
        raise RecordingError(f"{path} line {number}: {place}: {first['msg']}") from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    number = 0
    try:
        with _opened(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                text = line.decode("utf-8").strip()
                if not line.endswith(b"\n"):
                    try:
                        json.loads(text or "0")
                    except (ValueError, RecursionError):
                        _cut_off(path, number - 1)
                        return
                if text:
                    yield number, text
    except EOFError:  # gzip's end is missing
        _cut_off(path, number)
    except (OSError, zlib.error, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        after = f" after line {number}" if number else ""
        raise RecordingError(f"{path} cannot be read{after}: {reason}") from error


def _cut_off(path: Path, lines: int) -> None:
    log.warning("%s is cut off: reading its %d complete lines", path, lines, extra={"event": "recording.cut_off"})


@contextmanager
def _opened(path: Path, mode: str, encoding: str | None = None) -> Iterator[IO[Any]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, mode, encoding=encoding) as file:
        yield cast("IO[Any]", file)
