"""Evaluations of recorded incidents, and the models' answers to them that lie in tests/data/grounding."""

import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from copilot.explain.model.answer import Factor, ModelExplanation
from copilot.explain.model.evidence import Evidence, Passage, evidence
from copilot.pipeline import replay
from copilot.rules.evaluate import Context
from copilot.rules.model import ActionType, Evaluation, Narrative, SuggestedAction
from copilot.rules.signals.readings import LogPattern
from copilot.sources.recorded import read_recording
from tests.cluster_signals import healthy, play, with_queues, workers_down

DATA = Path(__file__).parents[1] / "data" / "grounding"
SCENARIOS = Path(__file__).parents[1] / "scenarios"


@cache
def evaluations(scenario: str) -> tuple[Evaluation, ...]:
    """All evaluations of a recording; `workers-down` is imagined: no worker polls the one task queue, orders."""
    if scenario == "pollers-over-slots":
        many = {
            "workers__activity_pollers": 40.0,
            "workers__activity_slots_available": 8.0,
            "workers__activity_slots_used": 0.0,
        }
        return tuple(play([healthy(**many)] * 6)[0])
    if scenario == "workers-down":
        down = [
            with_queues(
                workers_down(float(age)),
                orders={
                    "matching.backlog_count": 4.0 * age,
                    "matching.workflow_backlog_age_sec": float(age),
                    "poller.pending_polls": 0.0,
                },
            )
            for age in range(10, 110, 10)
        ]  # fmt: skip
        return tuple(play([with_queues(healthy(), orders={"matching.backlog_count": 0.0})] * 6 + down)[0])
    header, ticks = read_recording(SCENARIOS / scenario / "recording.jsonl.gz")
    context = Context(cluster=scenario, interval_sec=header.interval_sec, window_sec=header.window_sec)
    return tuple(replay(ticks, context))


def evaluation(situation: str) -> Evaluation:
    """The evaluation of `scenario@tick`."""
    scenario, _, tick = situation.partition("@")
    return evaluations(scenario)[int(tick)]


def evidence_of(document: dict[str, Any]) -> Evidence:
    """The evidence a document's answer was given over."""
    judged = evaluation(document["situation"])
    logs = [LogPattern(last_seen=judged.time, **log) for log in document.get("logs", ())]
    passages = [Passage(**passage) for passage in document.get("passages", ())]
    return evidence(judged, logs, passages)


def answer_of(document: dict[str, Any]) -> ModelExplanation:
    """The answer a document writes in short."""
    return ModelExplanation(
        summary=document["summary"],
        narrative=Narrative(
            **{part: document[part] for part in ("setting", "trigger", "why", "meaning", "watch_next")},
            reactions=tuple(document["reactions"]),
        ),
        factors=tuple(Factor(finding=finding, words=words) for finding, words in document["factors"]),
        actions=tuple(
            SuggestedAction(
                action_type=ActionType(a["type"]),
                target_service=a["target"],
                description=a["text"],
                confidence=a["confidence"],
                risk_level=a["risk"],
                runbook=a.get("runbook", ""),
                parameters=a.get("parameters", {}),
            )
            for a in document["actions"]
        ),
        confidence=document["confidence"],
    )


def sound() -> list[dict[str, Any]]:
    """Answers as a good model would give them."""
    answers: list[dict[str, Any]] = tomllib.loads((DATA / "sound.toml").read_text(encoding="utf-8"))["answer"]
    return answers


def hostile() -> list[dict[str, Any]]:
    """Answers that must not get through: a sound one of the same situation with some parts replaced."""
    bases = {answer["situation"]: answer for answer in reversed(sound())}
    bases["pollers-over-slots@5"] = bases["healthy@10"] | {
        "summary": "Happy.",
        "setting": "Nothing arrives.",
        "reactions": [],
    }
    lines = (DATA / "hostile.jsonl").read_text(encoding="utf-8").splitlines()
    cases = [json.loads(line) for line in lines if line]
    return [{**bases[case["situation"]], "logs": (), **case, **case["set"]} for case in cases]
