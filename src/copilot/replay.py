"""Reading a cluster on time, tick after tick, and writing down what was read (design.md §4)."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from whenever import Instant, TimeDelta

from copilot import pipeline
from copilot.errors import SettingsError
from copilot.rules.evaluate import decide
from copilot.rules.memory import Memory
from copilot.rules.signals.readings import RecordingHeader, Signals
from copilot.rules.signals.taxonomy import TAXONOMY_VERSION
from copilot.settings.clusters import ClusterSettings, PrometheusSettings
from copilot.settings.load import Settings
from copilot.sources import Source
from copilot.sources.prometheus.range import PrometheusRange
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


def cluster_at(settings: Settings, url: str, name: str | None, step_sec: float) -> ClusterSettings:
    """The cluster whose past lies in the Prometheus at `url`, judged every `step_sec` seconds.

    It is the configured one of that name, or else the one read from that very address: its credentials, selector,
    window, thresholds and ignored queues hold here too. Where none is configured it is a cluster of defaults.
    SettingsError if the name is not one of those configured, or they do not go with the address or step."""
    known = {cluster.name: cluster for cluster in settings.clusters}
    if name is not None and known and name not in known:
        raise SettingsError([f"no cluster is named {name}: there is {', '.join(known)}"])
    here = [c for c in settings.clusters if c.prometheus and c.prometheus.url.rstrip("/") == url.rstrip("/")]
    chosen = known.get(name) if name is not None else next(iter(here), None)
    said = chosen.prometheus.model_dump(exclude_unset=True) if chosen and chosen.prometheus else {}
    try:
        prometheus = PrometheusSettings.model_validate({**said, "url": url})
        if chosen is None:
            cluster = ClusterSettings(name=name or "default", prometheus=prometheus)
        else:
            cluster = chosen.model_copy(update={"prometheus": prometheus})
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise SettingsError([f"--prometheus {url} cannot be used: {reason}"]) from error
    return with_interval(cluster, step_sec, option="--step")


def steps(start: Instant, end: Instant, step_sec: float, now: Instant) -> range:
    """The moments to judge, in milliseconds since the epoch: `start`, a step later, and so on up to `end`, but no later
    than `now`. SettingsError where there are none."""
    if start >= end:
        raise SettingsError([f"--end {end.format_iso()} is not after --start {start.format_iso()}"])
    if start > now:
        raise SettingsError([f"--start {start.format_iso()} is in the future"])
    first, last = (moment.timestamp(unit="millisecond") for moment in (start, min(end, now)))
    return range(first, last + 1, round(step_sec * 1000))


async def judged(cluster: ClusterSettings, times: range, say: Callable[[str], None]) -> AsyncIterator[dict[str, Any]]:
    """The replay contract's objects (design.md §4) at these times, in order. Nothing later than a moment is
    known at it. `say` is told in a sentence what a person should know of the readings. SourceError as
    `PrometheusRange.ticks` raises it."""
    assert cluster.prometheus is not None
    source = PrometheusRange(cluster, cluster.prometheus, say=say)
    context, memory = pipeline.context(cluster), Memory()
    try:
        async for signals in source.ticks(times):
            decision, memory = decide(signals, memory, context)
            yield decision.replay_line()
    finally:
        await source.aclose()
