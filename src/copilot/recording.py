"""Reading a cluster on time, tick after tick, and writing down what was read (design.md §4)."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from pydantic import ValidationError
from whenever import Instant, TimeDelta

from copilot import pipeline
from copilot.core.errors import SettingsError
from copilot.core.signals import RecordingHeader, Signals
from copilot.core.taxonomy import TAXONOMY_VERSION
from copilot.settings import ClusterSettings
from copilot.sources import Source
from copilot.sources.recorded import recording_to


async def ticks(
    sources: Sequence[Source], interval_sec: float, for_sec: float = math.inf, *, hide_addresses: bool = False
) -> AsyncIterator[Signals]:
    """What is read at once and then every `interval_sec` seconds while less than `for_sec` have passed. Beats that went
    by while a reading took long are left out. `hide_addresses`: see `pipeline.collect`."""
    start = Instant.now()
    beat = 0
    while beat * interval_sec < for_sec:
        due = start + TimeDelta(seconds=beat * interval_sec)
        await asyncio.sleep(max(0.0, (due - Instant.now()).total("seconds")))
        yield await pipeline.collect(sources, due, hide_addresses=hide_addresses)
        beat = max(beat + 1, math.ceil((Instant.now() - start).total("seconds") / interval_sec))


def with_interval(cluster: ClusterSettings, interval_sec: float, *, option: str = "--interval") -> ClusterSettings:
    """The cluster, read at another interval (and over the rate window that goes with it, unless one is set).
    SettingsError, naming the option that asked for it, if it cannot be."""
    try:
        return ClusterSettings.model_validate({**cluster.model_dump(exclude_unset=True), "interval_sec": interval_sec})
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise SettingsError([f"{option} {interval_sec:g}s cannot be used: {reason}"]) from error


def header(cluster: ClusterSettings, sources: Sequence[Source]) -> RecordingHeader:
    """The first line of a cluster's recording."""
    return RecordingHeader(
        cluster=cluster.name,
        interval_sec=cluster.interval_sec,
        window_sec=cluster.window,
        sources=tuple(source.name for source in sources),
        taxonomy=TAXONOMY_VERSION,
    )


async def record(
    cluster: ClusterSettings,
    sources: Sequence[Source],
    file: Path,
    for_sec: float,
    recorded: Callable[[int, Signals], None] = lambda _number, _tick: None,
    *,
    hide_addresses: bool = False,
) -> None:
    """Write a recording of so many seconds; `recorded` is told of each tick. Cancelled, it leaves whole what it has.
    RecordingError when the file is there already or cannot be written."""
    with recording_to(file, header(cluster, sources)) as recording:
        async for signals in ticks(sources, cluster.interval_sec, for_sec, hide_addresses=hide_addresses):
            recording.add(signals)
            recorded(recording.ticks, signals)
