"""The laws of the state machine (properties 12, 13, 15 and 16)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from whenever import TimeDelta

from copilot.rules.evaluate import evaluate
from copilot.rules.findings.registry import FINDINGS, WAIT_AND_SEE
from copilot.rules.memory import Memory
from copilot.rules.model import ActionType, Evaluation, ReportedState
from copilot.rules.signals.readings import Missing, MissingCode, Signals
from copilot.rules.signals.taxonomy import SPECS, ids
from copilot.rules.thresholds import Thresholds, Tolerance
from tests.cluster_signals import CONTEXT, at, blind, every, healthy, judged, states, workers_down

BADNESS = {ReportedState.HAPPY: 0, ReportedState.STRESSED: 1, ReportedState.UNKNOWN: 1, ReportedState.CRITICAL: 2}
PRIMARY = [i for i in ids("primary") if SPECS[i].source != "none"]
EXPLAINING = [i for i in (*ids("amplifier"), *ids("worker")) if SPECS[i].source != "none"]

rates = st.one_of(st.just(0.0), st.floats(0.001, 1e5, allow_nan=False, allow_infinity=False))


BASES = (healthy(), workers_down(15.0), workers_down(200.0), healthy(frontend__reachable=0.0), blind(reachable=None))


@st.composite
def ticks(draw: st.DrawFn) -> Signals:
    """One tick of anything: healthy, faulty, with holes, blind."""
    base = draw(st.sampled_from(BASES))
    changed = draw(st.dictionaries(st.sampled_from(PRIMARY), st.one_of(rates, st.none()), max_size=6))
    return with_readings(base, {i: v for i, v in changed.items() if base.value(i) is not None})


def with_readings(signals: Signals, changes: dict[str, float | None]) -> Signals:
    readings = {**signals.readings, **changes}
    if readings.get("frontend.reachable") is not None:
        readings["frontend.reachable"] = 1.0 if (readings["frontend.reachable"] or 0) >= 1 else 0.0
    missing = {i: signals.missing.get(i, Missing(code=MissingCode.TIMEOUT)) for i, v in readings.items() if v is None}
    return signals.model_copy(update={"readings": readings, "missing": missing})


runs = st.lists(st.tuples(ticks(), st.integers(1, 6)), min_size=1, max_size=5).map(
    lambda parts: [tick for tick, times in parts for _ in range(times)]
)


def next_state(signals: Signals, memory: Memory, tick: int) -> Evaluation:
    return evaluate(at(signals, tick * CONTEXT.interval_sec), memory, CONTEXT)[0]


@given(runs)
def test_12_13_happy_never_goes_straight_to_critical_and_stored_evidence_replays_to_the_stored_verdict(
    run: list[Signals],
) -> None:
    before, memory = ReportedState.HAPPY, Memory()
    for number, signals in enumerate(run):
        now = at(signals, number * CONTEXT.interval_sec)
        stored = (
            Signals.model_validate_json(now.model_dump_json()),
            Memory.model_validate_json(memory.model_dump_json()),
        )
        evaluation, memory = evaluate(now, memory, CONTEXT)
        assert evaluate(*stored, CONTEXT) == (evaluation, memory)
        state = evaluation.verdict.health_state
        assert (before, state) != (ReportedState.HAPPY, ReportedState.CRITICAL)
        before = state


@given(runs, st.dictionaries(st.sampled_from(EXPLAINING), st.one_of(rates, st.none())))
def test_12_amplifiers_and_worker_signals_move_no_state(run: list[Signals], noise: dict[str, float | None]) -> None:
    noisy = [with_readings(s, noise) for s in run]
    assert states(run) == states(noisy)


@given(runs, st.integers(1, 30))
def test_12_nothing_becomes_happy_because_data_went_away(run: list[Signals], length: int) -> None:
    seen, memory = judged(run)
    before = seen[-1].verdict.health_state
    for n in range(length):
        evaluation, memory = evaluate(at(blind(reachable=None), (len(run) + n) * CONTEXT.interval_sec), memory, CONTEXT)
        after = evaluation.verdict.health_state
        assert after is not ReportedState.HAPPY or before is ReportedState.HAPPY
        before = after


@given(runs)
def test_17_nothing_needs_doing_only_when_nothing_of_the_cause_was_seen_for_a_window(run: list[Signals]) -> None:
    evaluations = judged(run)[0]
    for evaluation in evaluations:
        for cause in evaluation.findings:
            if WAIT_AND_SEE.key not in [action.key for action in cause.actions]:
                continue
            since = evaluation.time - TimeDelta(seconds=CONTEXT.window_sec)
            lately = [e for e in evaluations if since < e.time <= evaluation.time]
            own = [[g for g in e.verdict.gates if g.name in cause.contributing_factors] for e in lately]
            assert own[-1]
            assert not any(g.fired or g.unjudged == "missing" for g in own[-1])
            assert not any(g.unit == "1/s" and g.value for of_tick in own for g in of_tick if g.name != "shard_churn")
            assert [d.finding for d in evaluation.findings].count(cause.finding) == 1


OWN_EVIDENCE = {
    "restart_server": ("frontend.reachable",),
    "restart_host": ("history.tasks_acked_per_sec",),
    "raise_persistence_limit": ("persistence.throttled_per_sec", "history.throttled_per_sec"),
    "raise_request_limit": ("frontend.throttled_per_sec", "throttling.rate_limit_events_per_sec"),
    "remove_versions": ("frontend.throttled_per_sec", "throttling.rate_limit_events_per_sec"),
    "roll_back_workers": (
        "workflow_tasks.failed_per_sec", "worker_tasks.workflow_task_failures_per_sec", "workflow_tasks.attempts_p99",
    ),
    "clean_up_queue": ("matching.backlog_count",),
    "route_back": ("version.task_failure_ratio",),
}  # fmt: skip
"""Where what is risky to do has evidence of its own, by the action."""


def test_17_every_risky_action_says_what_its_own_evidence_is() -> None:
    risky = {a.key for f in FINDINGS for a in f.actions if a.risk != "low" or a.kind is ActionType.RESTART}
    assert risky == set(OWN_EVIDENCE)


@given(runs, st.sampled_from([{}, {"deploy.membership_changes_per_min": 2.0}]))
def test_17_what_is_risky_is_advised_on_evidence_of_its_own_outside_a_wake(
    run: list[Signals], wake: dict[str, float | None]
) -> None:
    for evaluation in judged([with_readings(tick, wake) for tick in run])[0]:
        offered = {a.key for d in evaluation.findings for a in d.actions} & set(OWN_EVIDENCE) - {"restart_server"}
        assert not offered or not wake
        for key in offered:
            assert any(evaluation.signals.value(i) for i in OWN_EVIDENCE[key]), key
        if evaluation.signals.value("frontend.reachable") == 0:
            assert not offered


@given(st.floats(1e-3, 1e5), st.floats(1.0, 1.01), st.floats(10.0, 3600.0))
def test_12_thresholds_are_continuous_in_demand(demand: float, factor: float, window: float) -> None:
    tolerances = [v for v in Thresholds().__dict__.values() if isinstance(v, Tolerance)]
    assert tolerances
    for tolerance in tolerances:
        assert 0.98 <= tolerance.at(demand * factor, window) / tolerance.at(demand, window) <= 1.02


@given(runs, ticks(), st.sampled_from(PRIMARY), st.floats(1.01, 1e4))
def test_15_worse_never_reads_better(run: list[Signals], tick: Signals, signal_id: str, factor: float) -> None:
    direction, value = SPECS[signal_id].worse, tick.value(signal_id)
    if direction is None or value is None:
        return
    worse = (value + 0.01) * factor if direction == "up" else value / factor
    memory = judged(run)[1]
    before = next_state(tick, memory, len(run)).verdict.health_state
    after = next_state(with_readings(tick, {signal_id: worse}), memory, len(run)).verdict.health_state
    assert BADNESS[after] >= BADNESS[before]


@given(runs, ticks(), st.sets(st.sampled_from(PRIMARY), min_size=1, max_size=30))
def test_16_removing_readings_gives_no_better_state(run: list[Signals], tick: Signals, gone: set[str]) -> None:
    seen, memory = judged(run)
    before = seen[-1].verdict.health_state
    full = next_state(tick, memory, len(run)).verdict.health_state
    less = next_state(with_readings(tick, dict.fromkeys(gone)), memory, len(run)).verdict.health_state
    if less is not ReportedState.UNKNOWN:
        assert BADNESS[less] >= min(BADNESS[before], BADNESS[full])


@pytest.mark.parametrize("seconds", [10.0, 30.0, 60.0])
def test_12_critical_holds_its_minimum_and_comes_in_time(seconds: float) -> None:
    context = every(seconds)
    said = states([healthy()] * 3 + [workers_down(60.0 + n * seconds) for n in range(10)], context)[3:]
    assert said[0] == "stressed"
    first = said.index("critical")
    assert first >= 1
    assert first * seconds <= max(60.0, 3 * seconds)
