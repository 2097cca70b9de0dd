"""The rules on recordings of real faults, against what a fair judge expects (labels.toml, requirements §3.3)."""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from whenever import Instant, TimeDelta

from copilot.explain import explained
from copilot.pipeline import replay
from copilot.rules.evaluate import Context
from copilot.rules.model import Evaluation
from copilot.sources.recorded import read_recording
from lab import labels

HERE = Path(__file__).parent
LABELS: dict[str, dict[str, Any]] = tomllib.loads(labels.FILE.read_text(encoding="utf-8"))
SCENARIOS = sorted(p.parent.name for p in HERE.glob("*/recording.jsonl.gz"))
WORST = ("happy", "stressed", "critical")
# The rate limits need a restart of the server; they are judged from 90 s after it.
JUDGED_AFTER_SEC = {"frontend-rate-limit": 90.0, "persistence-rate-limit": 90.0}


@dataclass(frozen=True)
class Played:
    """A recording with the rules' answers, and when its phases began."""

    label: dict[str, Any]
    context: Context
    evaluations: list[Evaluation]
    fault: Instant
    after: Instant
    settle: TimeDelta

    def during(self, start: Instant, end: Instant | None = None) -> list[Evaluation]:
        return [e for e in self.evaluations if e.time >= start and (end is None or e.time < end)]

    def judged(self) -> list[Evaluation]:
        """The fault's evaluations after the time the verdict has to arrive at critical."""
        return self.during(self.fault + self.settle, self.after)


def play(name: str) -> Played:
    header, ticks = read_recording(HERE / name / "recording.jsonl.gz")
    context = Context(cluster=name, interval_sec=header.interval_sec, window_sec=header.window_sec)
    marks = json.loads((HERE / name / "marks.json").read_text(encoding="utf-8"))
    settle = header.window_sec + max(60.0, 3 * header.interval_sec) + 5
    settle = max(settle, JUDGED_AFTER_SEC.get(name, 0.0))
    fault, after = Instant.parse_iso(marks["fault"]), Instant.parse_iso(marks["after"])
    return Played(LABELS[name], context, list(replay(ticks, context)), fault, after, TimeDelta(seconds=settle))


@pytest.fixture(scope="module", params=SCENARIOS)
def played(request: pytest.FixtureRequest) -> Played:
    return play(request.param)


def states(evaluations: list[Evaluation]) -> list[str]:
    return [e.verdict.health_state.value for e in evaluations]


def test_before_the_fault_the_cluster_is_happy(played: Played) -> None:
    assert set(states(played.during(played.evaluations[0].time, played.fault))) == {"happy"}


def test_the_state_is_one_the_label_allows_once_it_had_time_to_show(played: Played) -> None:
    assert set(states(played.judged())) <= set(played.label["states"])


def test_what_the_label_forbids_is_never_said(played: Played) -> None:
    assert not set(states(played.evaluations)) & set(played.label.get("never", ()))


def test_the_worst_state_the_label_asks_for_is_reached(played: Played) -> None:
    allowed = [s for s in played.label["states"] if s in WORST]
    needed = played.label.get("reaches") or min(allowed, key=WORST.index, default=None)
    if needed is not None:
        said = [WORST.index(s) for s in states(played.during(played.fault, played.after)) if s in WORST]
        assert max(said) >= WORST.index(needed)


def test_the_first_finding_is_a_cause_the_label_accepts(played: Played) -> None:
    if causes := played.label.get("cause"):
        said = {e.top_factor for e in played.judged() if e.verdict.health_state.value != "happy"}
        assert said <= set(causes)


def test_the_bottleneck_is_the_labels(played: Played) -> None:
    if limits := played.label.get("bottleneck"):
        assert {e.bottleneck.value for e in played.judged()} <= set(limits)


def test_forbidden_advice_is_not_given(played: Played) -> None:
    actions = [
        a.description.lower() for e in played.evaluations for f in explained(e).findings for a in f.suggested_actions
    ]
    assert not [a for a in actions for text in played.label.get("not_said", ()) if text in a]


def test_after_the_fault_the_cluster_becomes_happy_again(played: Played) -> None:
    assert states(played.evaluations)[-1] == "happy"


def test_every_fault_of_the_demo_has_a_recording_or_a_live_test() -> None:
    live = {"workers-down", "server-frozen"}
    from copilot.demo.faults import FAULTS

    assert set(FAULTS) - live <= set(SCENARIOS)
