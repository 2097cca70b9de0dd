"""Real pages of workers in other SDKs and reporters, each fresh, under load, exhausted and idle, beside the truth.

Each expected.toml says what a right reader says: `low`…`high`, `quiet` (no traffic), `missing`, `too_coarse`,
and what is as right (`or`).
"""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from copilot.rules.signals.readings import Signals
from copilot.sources.scrape.once import read_pages

SETS = sorted((Path(__file__).parents[1] / "data" / "sdk").iterdir())
PHASES = ("fresh", "load", "exhausted", "idle")
NEWEST_UNKNOWN = {("go-otel-monotonic-buckets", "idle"), ("go-tally", "idle")}
"""Go writes one gauge of its cache under whichever type came last; idle, an older value may be the larger one."""


def right(signals: Signals, signal_id: str, expected: Mapping[str, Any]) -> bool:
    """Whether the reading is one of those that are right."""
    value, missing = signals.value(signal_id), signals.why_missing(signal_id)
    ways = {
        "value": value is not None and expected.get("low", 1) <= value <= expected.get("high", 0),
        "quiet": signals.quiet(signal_id),
        "missing": missing is not None,
        "too_coarse": missing is not None and "too coarse" in missing.detail,
    }
    wanted = {"value", *expected.get("or", ()), *(way for way in ways if expected.get(way) is True)}
    return any(ways[way] for way in wanted)


def wrong(name: str, phase: str, signals: Signals, expected: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for signal_id, bounds in expected.items():
        known = signal_id == "worker_cache.sticky_size" and (name, phase) in NEWEST_UNKNOWN
        if not known and not right(signals, signal_id, bounds):
            yield f"{phase} {signal_id}: {signals.value(signal_id)} {signals.why_missing(signal_id)}, not {bounds}"


@pytest.mark.parametrize("folder", SETS, ids=lambda folder: folder.name)
async def test_a_workers_pages_are_read_as_they_are(folder: Path) -> None:
    expected = tomllib.loads((folder / "expected.toml").read_text("utf-8"))
    found: list[str] = []
    for phase in (p for p in PHASES if p in expected and (folder / f"{p}-1.prom.gz").exists()):
        first, second = (str(folder / f"{phase}-{n}.prom.gz") for n in (1, 2))
        read = await read_pages([first], [second], expected["seconds"][phase], "worker")
        found += wrong(folder.name, phase, read.signals, expected[phase])
    assert found == []
