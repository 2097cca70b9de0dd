"""Reads a cluster tick by tick and records it; replays a recording, or the past of a Prometheus."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from whenever import Instant, TimeDelta

from copilot import pipeline
from copilot.errors import SettingsError
from copilot.explain import ExplainedEvaluation, explained
from copilot.explain.numbers import sentence
from copilot.rules.evaluate import Context, decide, evaluate
from copilot.rules.memory import Memory
from copilot.rules.signals.readings import RecordingHeader, Signals
from copilot.rules.signals.taxonomy import TAXONOMY_VERSION
from copilot.settings.clusters import ClusterSettings, PrometheusSettings
from copilot.settings.load import Settings
from copilot.sources import Source
from copilot.sources.prometheus.range import PrometheusRange
from copilot.sources.recorded import recording_to


async def read_ticks(
    sources: Sequence[Source], interval_sec: float, for_sec: float = math.inf, *, hide_addresses: bool = False
) -> AsyncIterator[Signals]:
    """The readings now and then every `interval_sec` seconds for less than `for_sec`. Ticks due during a slow reading
    are skipped. `hide_addresses`: see `pipeline.collect`."""
    start = Instant.now()
    beat = 0
    while beat * interval_sec < for_sec:
        due = start + TimeDelta(seconds=beat * interval_sec)
        await asyncio.sleep(max(0.0, (due - Instant.now()).total("seconds")))
        yield await pipeline.collect(sources, due, hide_addresses=hide_addresses)
        beat = max(beat + 1, math.ceil((Instant.now() - start).total("seconds") / interval_sec))


def with_interval(cluster: ClusterSettings, interval_sec: float, *, option: str = "--interval") -> ClusterSettings:
    """The cluster with another interval (and its rate window, unless one is set). Raises SettingsError that names the
    option."""
    with _usable(f"{option} {interval_sec:g}s"):
        return ClusterSettings.model_validate({**cluster.model_dump(exclude_unset=True), "interval_sec": interval_sec})


@contextlib.contextmanager
def _usable(what: str) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise SettingsError([f"{what} cannot be used: {reason}"]) from error


def recording_header(cluster: ClusterSettings, sources: Sequence[Source]) -> RecordingHeader:
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
    """Write a recording of `for_sec` seconds; `recorded` is called after each tick. When cancelled, the file is
    complete so far. Raises RecordingError when the file exists or cannot be written."""
    with recording_to(file, recording_header(cluster, sources)) as recording:
        async for signals in read_ticks(sources, cluster.interval_sec, for_sec, hide_addresses=hide_addresses):
            recording.add(signals)
            recorded(recording.ticks, signals)


def cluster_at(settings: Settings, url: str, name: str | None, step_sec: float) -> ClusterSettings:
    """The cluster whose past is in the Prometheus at `url`, evaluated every `step_sec` seconds.

    The configured cluster of that name, else the one with that address, with its credentials, selector, window,
    thresholds and ignored queues; a cluster with defaults where none is configured. Raises SettingsError if no cluster
    has the name, or its settings do not fit the address or step."""
    known = {cluster.name: cluster for cluster in settings.clusters}
    if name is not None and known and name not in known:
        raise SettingsError([f"no cluster is named {name}: there is {', '.join(known)}"])
    here = [c for c in settings.clusters if c.prometheus and c.prometheus.url.rstrip("/") == url.rstrip("/")]
    chosen = known.get(name) if name is not None else next(iter(here), None)
    configured = chosen.prometheus.model_dump(exclude_unset=True) if chosen and chosen.prometheus else {}
    with _usable(f"--prometheus {url}"):
        prometheus = PrometheusSettings.model_validate({**configured, "url": url})
        cluster = chosen or ClusterSettings(name=name or "default", prometheus=prometheus)
    return with_interval(cluster.model_copy(update={"prometheus": prometheus}), step_sec, option="--step")


def evaluation_times(start: Instant, end: Instant, step_sec: float, now: Instant) -> range:
    """The times to evaluate, in milliseconds since the epoch: `start`, then every step up to `end`, but no later than
    `now`. Raises SettingsError where there are none."""
    if start >= end:
        raise SettingsError([f"--end {end.format_iso()} is not after --start {start.format_iso()}"])
    if start > now:
        raise SettingsError([f"--start {start.format_iso()} is in the future"])
    first, last = (moment.timestamp(unit="millisecond") for moment in (start, min(end, now)))
    return range(first, last + 1, round(step_sec * 1000))


def replay_recording(ticks: Iterable[Signals], context: Context, *, explain: bool = False) -> Iterator[dict[str, Any]]:
    """One object of the replay contract (docs/architecture.md) per tick; with `explain` in words too. Each knows the
    ticks so far only."""
    memory = Memory()
    for signals in ticks:
        line, memory = _line(signals, memory, context, explain)
        yield line


async def replay_prometheus(
    cluster: ClusterSettings, times: range, note: Callable[[str], None], *, explain: bool = False
) -> AsyncIterator[dict[str, Any]]:
    """The same at these times of a Prometheus' past. `note` is called with a sentence where the readings need one.
    Raises SourceError as `PrometheusRange.ticks` does."""
    assert cluster.prometheus is not None
    source = PrometheusRange(cluster, cluster.prometheus, note=note)
    context, memory = pipeline.context(cluster), Memory()
    try:
        async for signals in source.ticks(times):
            line, memory = _line(signals, memory, context, explain)
            yield line
    finally:
        await source.aclose()


def _line(signals: Signals, memory: Memory, context: Context, explain: bool) -> tuple[dict[str, Any], Memory]:
    if not explain:
        decision, memory = decide(signals, memory, context)
        return decision.replay_line(), memory
    evaluation, memory = evaluate(signals, memory, context)
    return {**evaluation.replay_line(), "explanation": explanation_of(explained(evaluation))}, memory


def explanation_of(evaluation: ExplainedEvaluation) -> dict[str, Any]:
    """The `explanation` of the replay contract: the page's words, in the page's order."""
    words = evaluation.narrative
    reactions = map(sentence, words.reactions)
    parts = (words.setting, words.trigger, *reactions, words.why, words.meaning, words.watch_next)
    missing = {i: why for i in evaluation.signals.readings if (why := evaluation.signals.why_missing(i))}
    return {
        "summary": evaluation.summary,
        "narrative": " ".join(part for part in parts if part),
        "missing": {i: why.detail or why.code.value for i, why in missing.items()},
        "findings": [
            {
                **issue.model_dump(include={"finding", "subject", "title"}),
                "cause": issue.likely_cause,
                "actions": [action.description for action in issue.suggested_actions],
            }
            for issue in evaluation.findings
        ],
    }
