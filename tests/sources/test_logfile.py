"""Log files as they grow and are rotated."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from whenever import Instant

from copilot.logs.lines import MAX_LINE_BYTES
from copilot.rules.signals.readings import MissingCode
from copilot.sources.logs import Cursor, LogBatch
from copilot.sources.logs.file import FileLogs
from tests.recorded_logs import raw_lines, read_lines

NOON = Instant.from_utc(2026, 11, 22, 12)

NOBODY = 65534


class Tail:
    """A reader that is begun anew for every reading, as another worker would go on."""

    def __init__(self, *files: Path, chunk_bytes: int = 16_000_000) -> None:
        self.files = files
        self.cursor: Cursor | None = None
        self.most = chunk_bytes
        self.sec = 0
        self.batch = LogBatch({})

    async def read(self) -> list[str]:
        given = json.loads(json.dumps(self.cursor)) if self.cursor is not None else None
        source = FileLogs(self.files, chunk_bytes=self.most)
        self.batch = await source.read(given, NOON.add(seconds=self.sec), 5.0)
        self.cursor = self.batch.cursor
        self.sec += 30
        return [line.text for line in self.batch.lines]

    @property
    def why(self) -> tuple[MissingCode, str] | None:
        return (self.batch.missing.code, self.batch.missing.detail) if self.batch.missing else None


def append(file: Path, text: str) -> None:
    with file.open("a", encoding="utf-8") as out:
        out.write(text)


def renamed(file: Path, to: str, then: str = "") -> None:
    """What logrotate does by itself."""
    file.rename(file.with_name(to))
    file.write_text(then)


def copied(file: Path, to: str) -> None:
    """What it does with copytruncate."""
    file.with_name(to).write_bytes(file.read_bytes())
    os.truncate(file, 0)


def replaced(file: Path, by: str) -> None:
    file.unlink()
    file.write_text(by)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "server.log"
    file.write_text("before\nhalf a ")
    return file


async def test_reading_begins_at_the_end_and_goes_on_line_by_line(log: Path) -> None:
    tail = Tail(log)
    assert (await tail.read(), tail.batch.span_sec) == ([], None)
    append(log, "line\nnext\nand ")
    assert (await tail.read(), tail.batch.span_sec) == (["half a line", "next"], 30.0)
    assert await tail.read() == []
    append(log, "more\n")
    assert await tail.read() == ["and more"]
    assert tail.why is None


async def test_a_renamed_file_is_read_to_its_end_and_the_new_one_from_its_start(log: Path) -> None:
    tail = Tail(log)
    await tail.read()
    append(log, "line\none\n")
    assert await tail.read() == ["half a line", "one"]
    append(log, "two\nthree without an end")
    renamed(log, "server.log.1", "four\n")
    assert await tail.read() == ["two", "three without an end", "four"]
    append(log, "five\n")
    assert await tail.read() == ["five"]


async def test_a_file_copied_and_truncated_is_read_on_from_its_copy(log: Path) -> None:
    tail = Tail(log)
    await tail.read()
    append(log, "line\none\n")
    await tail.read()
    append(log, "two\n")
    copied(log, "server.log.1")
    append(log, "three\n")
    assert await tail.read() == ["two", "three"]
    os.truncate(log, 0)  # and grown past the known place: another beginning
    append(log, "quite another beginning\n" * 20)
    assert len(await tail.read()) == 20
    replaced(log, "new\n")
    assert await tail.read() == ["new"]


async def test_a_pattern_that_matches_rotated_files_too_reads_no_line_twice(tmp_path: Path) -> None:
    log = tmp_path / "temporal.log"
    log.write_text("zero\n")
    tail = Tail(tmp_path / "temporal*.log")
    await tail.read()
    append(log, "one\n")
    assert await tail.read() == ["one"]
    append(log, "two\n")
    renamed(log, "temporal-1.log", "three\n")
    assert sorted(await tail.read()) == ["three", "two"]
    append(tmp_path / "temporal-1.log", "late\n")
    append(log, "four\n")
    assert sorted(await tail.read()) == ["four", "late"]


async def test_a_file_that_appears_later_is_read_from_its_start(tmp_path: Path) -> None:
    here, later = tmp_path / "here.log", tmp_path / "later.log"
    here.write_text("")
    tail = Tail(here, later)
    assert await tail.read() == []
    assert tail.why == (MissingCode.ABSENT, f"{later} is not there")
    append(here, "a\n")
    assert await tail.read() == ["a"]
    assert tail.batch.read
    later.write_text("b\n")
    assert await tail.read() == ["b"]
    assert tail.batch.missing is None


async def test_nothing_to_read_is_missing_and_not_silence(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "*.log")
    await tail.read()
    assert tail.why == (MissingCode.ABSENT, f"no file matches {tmp_path / '*.log'}")
    assert not tail.batch.read
    (tmp_path / "a.log").write_text("a\n")
    assert await tail.read() == ["a"]


async def test_a_folder_and_a_forbidden_file_are_missing_with_the_reason(log: Path) -> None:
    tail = Tail(log.parent)
    await tail.read()
    assert tail.why == (MissingCode.PARSE, f"{log.parent} cannot be read: Is a directory")
    assert not tail.batch.read
    log.chmod(0)  # noqa: ASYNC240
    tail, me = Tail(log), os.geteuid()
    os.seteuid(me or NOBODY)  # root may read everything
    try:
        await tail.read()
    finally:
        os.seteuid(me)
    assert tail.why == (MissingCode.FORBIDDEN, f"{log} may not be read")


async def test_a_huge_line_is_cut_and_the_rest_of_it_is_passed_over(log: Path) -> None:
    tail = Tail(log, chunk_bytes=MAX_LINE_BYTES + 10)
    await tail.read()
    append(log, "x" * 5 * MAX_LINE_BYTES)
    assert [len(text) for text in await tail.read()] == [2000]
    for _ in range(3):
        assert await tail.read() == []
    append(log, "tail\nafter\n")
    await tail.read()
    assert [*(line.text for line in tail.batch.lines), *await tail.read()] == ["after"]


async def test_a_backlog_too_large_is_passed_over_and_said(log: Path) -> None:
    tail = Tail(log, chunk_bytes=100)
    await tail.read()
    append(log, "\n" + "0123456789\n" * 6_000_000)
    read = await tail.read()
    assert set(read) == {"0123456789"}
    assert len(read) < 20
    assert tail.why == (
        MissingCode.DROPPED,
        f"{log}: 66 MB were skipped: they were written faster than they can be read",
    )


deeds = st.lists(
    st.one_of(
        st.integers(1, 5).map(lambda n: ("write", n)),
        st.sampled_from([("read", 0), ("rename", 0), ("copytruncate", 0)]),
    ),
    max_size=25,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(deeds)
async def test_over_rotations_no_line_is_lost_or_read_twice(
    tmp_path_factory: pytest.TempPathFactory, done: list[tuple[str, int]]
) -> None:
    """Left out are rotations of an empty file (logrotate's `notifempty`), two between two readings, and a truncation of
    what was never read: nobody could follow those."""
    folder = tmp_path_factory.mktemp("logs")
    log = folder / "server.log"
    log.write_text("")
    tail = Tail(log)
    await tail.read()
    written: list[str] = []
    found: list[str] = []
    rotations, size, known, may_rotate = 0, 0, 0, True
    for deed, number in [*done, ("read", 0)]:
        if deed == "write":
            for _ in range(number):
                written.append(f"line number {len(written)}")
                append(log, written[-1] + "\n")
            size += number
        elif deed == "read":
            found += await tail.read()
            known, may_rotate = size, True
        elif size and may_rotate and (known or deed == "rename"):
            rotations, size, known, may_rotate = rotations + 1, 0, 0, False
            (renamed if deed == "rename" else copied)(log, f"server.log.{rotations}")
    assert found == written


@pytest.mark.parametrize("form", ["json", "text"])
async def test_a_real_servers_log_is_read_whole_and_bytes_that_are_no_text_do_no_harm(log: Path, form: str) -> None:
    tail = Tail(log)
    await tail.read()
    with log.open("ab") as out:
        out.write(b"line\n\xff\xfe\x00bad\r\n")
    assert await tail.read() == ["half a line", "\ufffd\ufffd\x00bad"]
    append(log, "\n".join(raw_lines(form)) + "\n")
    assert await tail.read() == [line.text for line in read_lines(form)]


async def test_a_file_whose_name_is_no_text_is_left_out_and_said(tmp_path: Path) -> None:
    (tmp_path / "server.log").write_text("")
    (tmp_path / "odd\udcff.log").write_text("")
    tail = Tail(tmp_path / "*.log")
    await tail.read()
    append(tmp_path / "server.log", "plain words\n")
    assert await tail.read() == ["plain words"]
    assert tail.why == (MissingCode.DROPPED, "1 log files are left out: their names are not UTF-8")
