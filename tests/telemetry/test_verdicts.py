"""What a worker tells a collector of its verdicts: names, units, values, events, and what is said if none is there."""

import asyncio
import logging
from collections.abc import Iterator

import pytest

from copilot.rules.evaluate import evaluate
from copilot.rules.memory import Memory
from copilot.rules.model import Evaluation
from copilot.telemetry.spans import verdicts_sent
from copilot.telemetry.verdicts import AFTER, BEFORE, CLUSTER, GATE, INSTRUMENTS, STATE, TRANSITIONS
from tests.cluster_signals import CONTEXT, at, healthy, workers_down
from tests.telemetry.otlp_receiver import Receiver, otlp_receiver

Judged = tuple[Evaluation, Memory, Memory]
TRANSITION = (TRANSITIONS[0], TRANSITIONS[1], "sum")
FAR = "http://127.0.0.1:1"


def an_outage() -> Iterator[Judged]:
    """Healthy, then without workers until critical, then healthy again."""
    memory = Memory()
    ticks = (
        [healthy()] * 5
        + [workers_down(10.0 * n, history__shard_churn_rate_per_sec=None) for n in range(1, 13)]
        + [healthy()] * 30
    )
    for n, tick in enumerate(ticks):
        evaluation, after = evaluate(at(tick, 10.0 * n), memory, CONTEXT)
        yield evaluation, memory, after
        memory = after


def tell(judged: list[Judged], monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """A worker's life, in a thread: it judges these and ends."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
    with verdicts_sent("worker") as telemetry:
        assert telemetry is not None
        telemetry.now = lambda: judged[-1][0].time
        for one in judged:
            telemetry.judged(*one)


async def told(judged: list[Judged], monkeypatch: pytest.MonkeyPatch) -> Receiver:
    async with otlp_receiver() as receiver:
        await asyncio.to_thread(tell, judged, monkeypatch, receiver.url)
        await receiver.until(lambda r: r.metrics and r.events)
    assert not receiver.refused
    return receiver


async def test_verdict_gates_and_transitions_arrive_by_their_documented_names(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = list(an_outage())
    last = next(n for n, (e, *_) in enumerate(judged) if e.verdict.health_state == "critical")
    critical, cluster = judged[last][0], (CLUSTER, judged[0][0].cluster)
    receiver = await told(judged[: last + 1], monkeypatch)
    kinds = {"updowncounter": "non-monotonic sum", "gauge": "gauge"}
    documented = {one.name: (one.unit, kinds[one.kind]) for one in INSTRUMENTS} | {TRANSITION[0]: TRANSITION[1:]}
    assert receiver.metrics == documented
    status = {dict(labels)[STATE]: v for (name, labels), v in receiver.points.items() if name.endswith("status")}
    assert status == {"happy": 0, "stressed": 0, "critical": 1, "unknown": 0}
    firing = {dict(labels)[GATE]: v for (name, labels), v in receiver.points.items() if name.endswith("gate.firing")}
    assert {name for name, value in firing.items() if value} == set(critical.verdict.fired())
    unjudged = {g.name for g in critical.verdict.gates if g.fired is None}
    assert unjudged
    assert not unjudged & set(firing), "absent, not 0"
    step = frozenset({cluster, (BEFORE, "stressed"), (AFTER, "critical")})
    assert receiver.points[TRANSITION[0], step] == 1
    changed = [e for e in receiver.events if e.name == "temporal.copilot.state.changed"]
    assert [(e.severity, e.attributes[AFTER]) for e in changed] == [("WARN", "stressed"), ("ERROR", "critical")]
    assert changed[-1].body == f"{critical.cluster}: stressed → critical ({critical.top_factor})"
    assert changed[-1].attributes["temporal.copilot.evaluation.id"] == critical.evaluation_id
    assert changed[-1].time == critical.time.timestamp(unit="nanosecond")


async def test_a_gate_that_fired_is_told_once_and_told_to_be_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = list(an_outage())
    receiver = await told(judged, monkeypatch)
    of_gates = [(e.name.rpartition(".")[2], e.attributes[GATE]) for e in receiver.events if "gate" in e.name]
    fired = {name for e, *_ in judged for name in e.verdict.fired()}
    assert sorted(of_gates) == sorted((how, name) for name in fired for how in ("cleared", "fired"))


async def test_a_cluster_that_is_judged_no_longer_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    judged = list(an_outage())
    elsewhere = judged[0][0].model_copy(update={"cluster": "elsewhere"})
    receiver = await told([(elsewhere, Memory(), Memory()), *judged], monkeypatch)
    assert {dict(labels)[CLUSTER] for _, labels in receiver.points} == {judged[0][0].cluster}


def test_a_collector_that_is_not_there_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        tell(list(an_outage()), monkeypatch, FAR)
    said = [r.getMessage() for r in caplog.records if getattr(r, "event", "") == "telemetry.not_sent"]
    assert sorted(line.split(": ")[0] for line in said) == [
        f"{signal} do not reach {FAR}/v1/{signal}" for signal in ("logs", "metrics")
    ]
