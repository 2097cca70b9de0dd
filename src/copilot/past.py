"""Judging a stretch of a Prometheus' past by today's rules, as they would have judged it then."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from pydantic import ValidationError
from whenever import Instant

from copilot import pipeline
from copilot.core.errors import SettingsError
from copilot.core.evaluation import decide
from copilot.core.memory import Memory
from copilot.recording import with_interval
from copilot.settings import ClusterSettings, PrometheusSettings, Settings
from copilot.sources.prometheus_range import PrometheusRange


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
