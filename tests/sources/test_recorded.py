"""Recordings are read and written as docs describe them, and an error names the line."""

import gzip
import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot.errors import RecordingError
from copilot.rules.signals.readings import RecordingHeader, Signals
from copilot.rules.signals.taxonomy import SPECS, TAXONOMY_VERSION
from copilot.sources.recorded import read_recording, recording_to, tick_line
from tests.evaluations import NOON, signals, write_recording

HEADER = RecordingHeader(
    cluster="night", interval_sec=30, window_sec=60, sources=("metrics", "api"), taxonomy=TAXONOMY_VERSION
)
IDS = st.sampled_from(sorted(SPECS))


def lines(path: Path, *ticks: dict[str, Any] | str) -> Path:
    texts = [HEADER.model_dump_json(), *(t if isinstance(t, str) else json.dumps(t) for t in ticks)]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_what_was_written_is_read_again(tmp_path: Path, name: str) -> None:
    ticks = [signals(NOON.add(seconds=30 * n), frontend__latency_p99_ms=None) for n in range(3)]
    write_recording(tmp_path / name, HEADER, ticks)
    header, read = read_recording(tmp_path / name)
    assert header == HEADER
    assert list(read) == ticks


@given(readings=st.dictionaries(IDS, st.floats(allow_nan=False, allow_infinity=False) | st.none()))
def test_a_line_holds_a_whole_tick(readings: dict[str, float | None]) -> None:
    tick = Signals(time=NOON, readings=readings)
    assert Signals.model_validate_json(tick_line(tick)) == tick


OF_OLD = "{} is on no page read, and up is 0 for 10.0.5.1:9090 of job history"


def test_a_process_that_an_older_release_lost_is_named_until_more_answer_and_costs_only_what_was_on_a_page(
    tmp_path: Path,
) -> None:
    down = {i: {"code": "target_down", "detail": OF_OLD.format(f)} for i, f in (
        ("frontend.throttled_per_sec", "service_errors"), ("history.throttled_per_sec", "task_errors"))}  # fmt: skip
    servers = (2, 2, 3)
    ticks = [
        {"time": f"2026-11-22T12:00:0{n}Z", "readings": {"frontend.request_rate_per_sec": 1}, "targets": {"server": of}}
        | ({"missing": down} if n == 0 else {})
        for n, of in enumerate(servers)
    ]
    read = list(read_recording(lines(tmp_path / "old.jsonl", *ticks))[1])
    assert [t.unread.get("server") for t in read] == [("10.0.5.1:9090 (history)",)] * 2 + [None]
    assert (read[0].value("frontend.throttled_per_sec"), list(read[0].missing)) == (0.0, ["history.throttled_per_sec"])


GOOD = {"time": "2026-11-22T12:00:00Z", "readings": {"frontend.reachable": 1}}


@pytest.mark.parametrize(
    ("ticks", "what"),
    [
        pytest.param([GOOD | {"readings": {"frontend.mood": 1}}], "line 2: the taxonomy has no signal frontend.mood"),
        pytest.param([GOOD | {"missing": {"x.y": {"code": "absent"}}}], "line 2: the taxonomy has no signal x.y"),
        pytest.param([GOOD, GOOD], "line 3: 2026-11-22T12:00:00Z is not after the line before"),
        pytest.param(["{"], "line 2: the line: Invalid JSON"),
        pytest.param([{"time": "soon", "readings": {}}], "line 2: time: "),
        pytest.param([GOOD | {"mood": "fine"}], "line 2: mood: Extra inputs"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, ticks: list[Any], what: str) -> None:
    _, read = read_recording(lines(tmp_path / "bad.jsonl", *ticks))
    with pytest.raises(RecordingError) as error:
        list(read)
    assert what in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b'{"recording": 2}\n', "line 1"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_file_that_is_no_recording_is_refused(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "no.jsonl"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=what):
        read_recording(path)


@pytest.mark.parametrize("name", ["absent.jsonl", "broken.jsonl.gz"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "broken.jsonl.gz").write_bytes(b"plain")
    with pytest.raises(RecordingError, match="cannot be read"):
        read_recording(tmp_path / name)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_a_recording_cut_anywhere_gives_its_whole_lines_and_says_so(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    ticks = [signals(NOON.add(seconds=30 * n)) for n in range(3)]
    with recording_to(tmp_path / name, HEADER) as recording:
        ends = []
        for tick in ticks:
            recording.add(tick)
            ends.append((tmp_path / name).stat().st_size)
        held = (tmp_path / name).read_bytes()
    assert len(held) == ends[-1]
    for end in range(ends[0], len(held)):
        (tmp_path / f"cut-{name}").write_bytes(held[:end])
        found = list(read_recording(tmp_path / f"cut-{name}")[1])
        assert found == ticks[: len(found)]
        assert len(found) >= sum(e <= end for e in ends)
    assert f"cut-{name} is cut off" in caplog.text


def test_a_last_line_without_an_end_of_line_counts_when_it_is_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = lines(tmp_path / "a.jsonl", GOOD)
    file.write_text(file.read_text().rstrip("\n"))
    assert len(list(read_recording(file)[1])) == 1
    assert caplog.text == ""


def read_all(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with suppress(RecordingError):
        list(read_recording(path)[1])


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_a_recording_or_our_error(content: bytes, packed: bool) -> None:
    with TemporaryDirectory() as folder:
        read_all(Path(folder) / "any.jsonl", content)
        read_all(Path(folder) / "any.jsonl.gz", gzip.compress(content) if packed else content)


PIECES = ["readings", "time", "missing", "code", "absent", "no_traffic", "frontend.reachable", "labels", "value",
          "breakdowns", "targets", "logs", "2026-11-22T12:00:00Z"]  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.sampled_from(PIECES),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(PIECES), inner, max_size=5),
))  # fmt: skip
def test_any_json_after_a_header_is_a_tick_or_our_error(tree: Any) -> None:
    with TemporaryDirectory() as folder:
        path = lines(Path(folder) / "a.jsonl", json.dumps(GOOD), json.dumps(tree))
        read_all(path, path.read_bytes())


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_packed_recording_with_flipped_bits_is_read_or_our_error(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl.gz"
        write_recording(path, HEADER, [signals(NOON)])
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        read_all(path, bytes(content))
