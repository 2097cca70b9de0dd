"""Incidents the rules were not made on (tests/data/incidents): imagined clusters, and faults that others recorded."""

import tomllib
from typing import Any

import pytest

from copilot.pipeline import replay
from copilot.rules.evaluate import Context
from copilot.rules.model import Evaluation
from copilot.sources.recorded import read_recording
from tests.scraped import DATA

FOLDER = DATA / "incidents"
INCIDENTS: dict[str, dict[str, Any]] = tomllib.loads((FOLDER / "expected.toml").read_text(encoding="utf-8"))


def wrong(incident: dict[str, Any], e: Evaluation, at: float) -> list[str]:
    """What an evaluation says that it should not."""
    state, found = e.verdict.health_state.value, []
    for since, until, states in incident["right"]:
        if since <= at < until and state not in states:
            found.append(f"{at:.0f} s: {state}, not {' or '.join(states)}; fired {e.verdict.fired()}")
    since, until, causes = incident.get("cause", (0.0, 0.0, ()))
    if since <= at < until and state != "happy":
        if e.top_factor not in causes:
            found.append(f"{at:.0f} s: cause {e.top_factor}")
        if e.bottleneck != incident.get("bottleneck", e.bottleneck):
            found.append(f"{at:.0f} s: bottleneck {e.bottleneck.value}")
    return found


@pytest.mark.parametrize("name", INCIDENTS)
def test_an_incident_nobody_tuned_for_is_judged_as_the_requirements_say(name: str) -> None:
    header, ticks = read_recording(FOLDER / f"{name}.jsonl.gz")
    evaluations = list(replay(ticks, Context(header.cluster, header.interval_sec, header.window_sec)))
    start = evaluations[0].time
    incident = INCIDENTS[name]
    judged = [text for e in evaluations for text in wrong(incident, e, (e.time - start).total("seconds"))]
    assert judged == [], incident["what"]


def test_every_recording_is_judged() -> None:
    assert {file.name.removesuffix(".jsonl.gz") for file in FOLDER.glob("*.gz")} == set(INCIDENTS)
