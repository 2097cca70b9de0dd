"""Reading on time, and a recording that is whole whenever it ends."""

import asyncio
from pathlib import Path

import pytest
from whenever import Instant

from copilot import pipeline
from copilot.errors import RecordingError, SettingsError
from copilot.replay import read_ticks, record, recording_header, with_interval
from copilot.rules.signals.readings import Signals
from copilot.settings.clusters import ClusterSettings, MetricsEndpoint
from copilot.sources.recorded import read_recording
from tests.cluster_signals import CONTEXT, healthy

CLUSTER = ClusterSettings(
    name="night", interval_sec=2, metrics=(MetricsEndpoint(url="http://127.0.0.1:1/metrics", role="server"),)
)


class Played:
    """Gives these ticks as if they were read now, then nothing."""

    name = "played"
    expected = ()

    def __init__(self, *ticks: Signals) -> None:
        self._ticks = iter(ticks)

    async def read(self, now: Instant) -> Signals:
        return next(self._ticks, Signals(time=now, readings={})).model_copy(update={"time": now})

    async def aclose(self) -> None:
        """Nothing is held."""


class Slow(Played):
    """Takes its time over the first reading."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    async def read(self, now: Instant) -> Signals:
        seconds, self._seconds = self._seconds, 0.0
        await asyncio.sleep(seconds)
        return Signals(time=now, readings={})


def beats(times: list[Instant]) -> set[float]:
    """When, in seconds after the first; a busy machine leaves some out."""
    return {round((t - times[0]).total("seconds"), 3) for t in times}


async def test_ticks_are_on_time_and_end() -> None:
    times = [t.time async for t in read_ticks([Played(healthy())], 0.1, 0.3)]
    assert {0.0} < beats(times) <= {0.0, 0.1, 0.2}


async def test_beats_that_went_by_while_a_reading_took_long_are_left_out() -> None:
    times = [t.time async for t in read_ticks([Slow(0.25)], 0.1, 0.5)]
    assert {0.0} < beats(times) <= {0.0, 0.3, 0.4}


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz"])
async def test_what_is_recorded_is_replayed(tmp_path: Path, name: str) -> None:
    told: list[int] = []
    cluster = CLUSTER.model_copy(update={"interval_sec": 0.05})
    source = Played(healthy(), healthy(), healthy())
    await record(cluster, [source], tmp_path / name, 0.15, lambda number, _tick: told.append(number))
    assert told == [1, 2, 3][: len(told)] != []
    found, read = read_recording(tmp_path / name)
    assert found == recording_header(cluster, [source])
    assert (found.cluster, found.sources, found.window_sec) == ("night", ("played",), 30.0)
    states = [e.verdict.health_state.value for e in pipeline.replay(read, CONTEXT)]
    assert states == ["happy"] * len(told)


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz"])
async def test_a_recording_that_is_ended_early_is_whole(tmp_path: Path, name: str) -> None:
    first = asyncio.Event()
    recording = asyncio.create_task(
        record(CLUSTER, [Played(healthy())], tmp_path / name, 3600, lambda _n, _t: first.set())
    )
    await asyncio.wait_for(first.wait(), 5)
    recording.cancel()
    with pytest.raises(asyncio.CancelledError):
        await recording
    assert [t.readings for t in read_recording(tmp_path / name)[1]] == [healthy().readings]


async def test_a_recording_never_overwrites_and_says_where_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text("mine")
    with pytest.raises(RecordingError, match=r"r\.jsonl exists already: choose another name"):
        await record(CLUSTER, [], tmp_path / "r.jsonl", 1)
    assert (tmp_path / "r.jsonl").read_text() == "mine"
    with pytest.raises(RecordingError, match=r"none/r\.jsonl cannot be written: No such file or directory"):
        await record(CLUSTER, [], tmp_path / "none" / "r.jsonl", 1)


def test_another_interval_brings_its_window_unless_one_is_set() -> None:
    assert with_interval(CLUSTER, 20).window == 40.0
    assert with_interval(ClusterSettings(**CLUSTER.model_dump(exclude_unset=True), window_sec=90), 20).window == 90.0
    with pytest.raises(SettingsError, match="--interval 1s cannot be used: Input should be greater"):
        with_interval(CLUSTER, 1)
