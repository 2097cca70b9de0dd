"""The memory document: what the last release wrote is read, and nothing in it is a sentence."""

import gzip
import json
from pathlib import Path
from typing import Any

from copilot.pipeline import replay
from copilot.rules.evaluate import Context
from copilot.rules.memory import MEMORY_VERSION, Memory
from copilot.sources.recorded import read_recording
from lab.recorded_run import RECORDINGS, find_runs
from tests.cluster_signals import healthy, judged, workers_down

VERSION_1 = Path(__file__).parents[1] / "data" / "memory-version-1.json.gz"
"""What version 1 of the memory held after `ticks` of the lab's workers-down, when the cluster had become critical."""


def test_a_verdict_continues_with_the_memory_of_the_last_release() -> None:
    old = json.loads(gzip.decompress(VERSION_1.read_bytes()))
    memory = Memory.model_validate(old["memory"])
    assert (memory.version, memory.state, memory.not_critical_ticks) == (MEMORY_VERSION, "critical", 0)
    assert max(flow.backlog or 0.0 for flow in memory.queues.values()) > 100
    header, ticks = read_recording(find_runs(RECORDINGS)["workers-down"])
    context = Context("watched", header.interval_sec, header.window_sec)
    rest = list(ticks)[old["ticks"] :]
    continued = list(replay(rest, context, memory))
    whole = list(replay(list(read_recording(find_runs(RECORDINGS)["workers-down"])[1]), context))[old["ticks"] :]
    assert [e.verdict.health_state for e in continued] == [e.verdict.health_state for e in whole]
    assert [e.verdict.since for e in continued] == [e.verdict.since for e in whole]
    assert continued[0].top_factor == "no_pollers"


def strings(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set().union(*(strings(v) for v in value.values()), set())
    if isinstance(value, list):
        return set().union(*(strings(v) for v in value), set())
    return {value} if isinstance(value, str) else set()


def test_memory_and_evaluation_hold_evidence_and_no_sentence() -> None:
    evaluations, memory = judged([healthy()] * 5 + [workers_down(60.0)] * 6)
    assert memory.cause is not None
    decided = evaluations[-1].model_dump(mode="json", include={"bottleneck", "services", "work"})
    assert [text for text in strings(memory.model_dump(mode="json")) | strings(decided) if " " in text] == []
