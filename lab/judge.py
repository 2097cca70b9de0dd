"""Judges one run: compares its evaluations with its label."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from copilot.explain import explained
from copilot.pipeline import replay
from copilot.rules.model import ActionType, BottleneckClassification, Evaluation, ReportedState, SuggestedAction
from copilot.rules.signals.readings import Frozen, Signals
from copilot.rules.thresholds import Thresholds
from lab.expectation import CRITICAL, HAPPY, STRESSED, UNKNOWN, Expectation
from lab.labels import Label, label_of
from lab.recorded_run import RecordedRun

NEVER_FROM_SEC = 120.0
"""Seconds of a run from which the states that its label forbids count as mistakes."""


class Miss(Frozen):
    """A wrong evaluation: seconds since the fault began, its state, and the states that are right."""

    at_sec: float
    said: ReportedState
    right: tuple[ReportedState, ...]
    gates: tuple[str, ...]
    cause: str | None


class Share(Frozen):
    """How many of the judged evaluations are right. Shares can be added."""

    right: int = 0
    judged: int = 0

    def __add__(self, other: "Share") -> "Share":
        return Share(right=self.right + other.right, judged=self.judged + other.judged)

    @property
    def ratio(self) -> float | None:
        """0…1; None where nothing was judged."""
        return self.right / self.judged if self.judged else None


class RunScore(Frozen):
    """The score of one run. Times are seconds since the fault began; None: the state was never reached."""

    scenario: str
    evaluations: int
    states: Share
    wrong: tuple[Miss, ...]
    worst: ReportedState
    to_stressed_sec: float | None
    to_critical_sec: float | None
    missed: bool
    false_alarms: int
    false_criticals: int
    false_happies: int
    flaps: int
    broken_never: tuple[ReportedState, ...]
    critical_when_due: Share
    critical_rightly: Share
    cause: Share
    cause_at_end: bool | None
    causes_said: dict[str, int]
    bottleneck: Share
    forbidden_advice: tuple[str, ...]

    @property
    def fine(self) -> bool:
        """Whether no state and no advice was wrong."""
        return not (self.wrong or self.missed or self.flaps or self.broken_never or self.forbidden_advice)


def play(run: RecordedRun, thresholds: Thresholds | None = None) -> list[Evaluation]:
    """The evaluations of a run, tick by tick."""
    return list(replay(run.ticks, run.context(thresholds)))


def judge(
    run: RecordedRun,
    label: Label,
    evaluations: Sequence[Evaluation],
    *,
    truth: Iterable[Signals] | None = None,
    sources: frozenset[str] = frozenset({"sdk"}),
) -> RunScore:
    """Compare evaluations with the label. `truth`: the run's ticks before readings were removed; `sources`: those that
    cause and bottleneck can be known by."""
    expectation = Expectation(run, label, truth)
    expected = [expectation.at(e.time) for e in evaluations]
    said = [e.verdict.health_state for e in evaluations]
    wrong = [(e, x) for e, x in zip(evaluations, expected, strict=True) if e.verdict.health_state not in x.states]
    misses = tuple(_miss(expectation, e) for e, _ in wrong)
    judged, false_criticals = sum(x.judged for x in expected), sum(m.said is CRITICAL for m in misses)
    known = set(label.needs) <= sources
    in_fault = [e for e in evaluations if expectation.in_fault(e.time)]
    explained = [e for e in in_fault if expectation.explained(e.time)] if known else []
    must = [state for state, x in zip(said, expected, strict=True) if x.judged and x.states == {CRITICAL}]
    start = evaluations[0].time if evaluations else run.taken.marks.before
    later = [e for e in evaluations if (e.time - start).total("seconds") > NEVER_FROM_SEC]
    return RunScore(
        scenario=run.name,
        evaluations=len(evaluations),
        states=Share(right=judged - sum(x.judged for _, x in wrong), judged=judged),
        wrong=misses,
        worst=max((e.verdict.health_state for e in in_fault), key=lambda s: s.rank, default=UNKNOWN),
        to_stressed_sec=_first(expectation, in_fault, (STRESSED, CRITICAL)),
        to_critical_sec=_first(expectation, in_fault, (CRITICAL,)),
        missed=_missed(label, in_fault),
        false_alarms=_false_alarms(said, [x.states for x in expected]),
        false_criticals=false_criticals,
        false_happies=sum(m.said is HAPPY for m in misses),
        flaps=_flaps(expectation, said),
        broken_never=tuple(sorted({e.verdict.health_state for e in later} & set(label.never))),
        critical_when_due=Share(right=must.count(CRITICAL), judged=len(must)),
        critical_rightly=Share(right=said.count(CRITICAL) - false_criticals, judged=said.count(CRITICAL)),
        cause=_cause(label, in_fault, explained) if known else Share(),
        cause_at_end=_cause_at_end(label, in_fault) if known else None,
        causes_said=dict(Counter(e.top_factor for e in explained if e.top_factor).most_common()),
        bottleneck=_bottleneck(label, explained),
        forbidden_advice=_forbidden(label, [e for e in evaluations if _advises(expectation, e)]),
    )


def _miss(expectation: Expectation, e: Evaluation) -> Miss:
    return Miss(
        at_sec=round(expectation.elapsed(e.time), 1),
        said=e.verdict.health_state,
        right=tuple(sorted(expectation.at(e.time).states, key=lambda s: s.rank)),
        gates=e.verdict.fired(),
        cause=e.top_factor,
    )


def _first(expectation: Expectation, evaluations: list[Evaluation], states: tuple[ReportedState, ...]) -> float | None:
    times = (e.time for e in evaluations if e.verdict.health_state in states)
    return next((round(expectation.elapsed(t), 1) for t in times), None)


def _false_alarms(said: Sequence[ReportedState], right: Sequence[frozenset[ReportedState]]) -> int:
    """How often the state rose to a wrong one; staying too long in a state is not an alarm."""
    before = (HAPPY, *said)
    return sum(
        now in (STRESSED, CRITICAL) and now not in states and now.rank > last.rank
        for last, now, states in zip(before, said, right, strict=False)
    )


def _missed(label: Label, in_fault: list[Evaluation]) -> bool:
    """Whether the state that the label requires, if it is worse than happy, was never reached during the fault."""
    needed = label.reaches or min(label.states, key=lambda s: s.rank)
    said = {e.verdict.health_state for e in in_fault}
    if needed is UNKNOWN:
        return UNKNOWN not in said
    return needed is not HAPPY and not any(needed.rank <= s.rank for s in said - {UNKNOWN})


def _flaps(expectation: Expectation, said: Sequence[ReportedState]) -> int:
    """Changes for the worse beyond those on the way to the worst allowed state (two for critical)."""
    worse = sum(after.rank > before.rank for before, after in pairwise(said))
    implied = sum(s is not HAPPY for s in expectation.path)
    return max(0, worse - implied)


def _cause(label: Label, in_fault: list[Evaluation], explained: list[Evaluation]) -> Share:
    """How often the first finding was right while a cause was due. Where happy is allowed, no finding is right too; but
    a cause that was never named was not found."""
    if not label.cause:
        return Share()
    silence = HAPPY in label.states and STRESSED in label.states
    judged = [e for e in explained if not (silence and e.verdict.health_state is HAPPY and e.top_factor is None)]
    if judged:
        return Share(right=sum(e.top_factor in label.cause for e in judged), judged=len(judged))
    return Share(right=int(any(e.top_factor in label.cause for e in in_fault)), judged=1)


def _cause_at_end(label: Label, in_fault: list[Evaluation]) -> bool | None:
    """Whether the last cause named during the fault is right."""
    if not label.cause:
        return None
    named = [e.top_factor for e in in_fault if e.top_factor is not None]
    return bool(named) and named[-1] in label.cause


def _bottleneck(label: Label, explained: list[Evaluation]) -> Share:
    if not label.bottleneck:
        return Share()
    always = BottleneckClassification.HEALTHY in label.bottleneck
    judged = [e for e in explained if always or e.verdict.health_state is not HAPPY]
    return Share(right=sum(e.bottleneck in label.bottleneck for e in judged), judged=len(judged))


def _advises(expectation: Expectation, e: Evaluation) -> bool:
    """Whether advice is judged at this evaluation: from the fault on, or from when judging begins."""
    return expectation.elapsed(e.time) >= expectation.late


_TARGETS = {"workers": {"workers"}, "history": {"history"}, "server": {"server", "frontend", "history", "matching"}}


def _forbidden(label: Label, evaluations: Iterable[Evaluation]) -> tuple[str, ...]:
    """The label's forbidden phrases that match a suggested action, by its text or its type."""
    explaining = map(explained, evaluations if label.not_said else ())
    actions = {a.model_dump_json(): a for e in explaining for f in e.findings for a in f.suggested_actions}.values()
    return tuple(phrase for phrase in label.not_said if any(action_matches(a, phrase) for a in actions))


def action_matches(action: SuggestedAction, phrase: str) -> bool:
    """Whether an action is one that a phrase such as "scale workers" or "restart the server" forbids."""
    if phrase in action.description.lower():
        return True
    verb, *_, what = phrase.split()
    down = action.parameters.get("direction") == "down"
    if what == "down":
        return action.action_type is ActionType.SCALE and down
    kind = ActionType.RESTART if verb == "restart" else ActionType.SCALE
    return action.action_type is kind and not down and action.target_service in _TARGETS.get(what, {what})


def mistakes_of(run: RunScore) -> Iterator[str]:
    """The mistakes of a judged run as sentences, one for each kind."""
    if run.missed:
        yield "the incident was missed"
    by_said: dict[tuple[str, tuple[str, ...]], list[Miss]] = {}
    for miss in run.wrong:
        by_said.setdefault((miss.said.value, tuple(miss.right)), []).append(miss)
    for (said, right), misses in by_said.items():
        when = f"{misses[0].at_sec:.0f}" + (f"…{misses[-1].at_sec:.0f}" if len(misses) > 1 else "")
        yield f"{said} instead of {' or '.join(right)} at {when} s (×{len(misses)})"
    if run.cause.right < run.cause.judged:
        accepted = label_of(run.scenario).cause
        said_first = [f"{name} ×{times}" for name, times in run.causes_said.items() if name not in accepted]
        silent = run.cause.judged - run.cause.right - sum(run.causes_said[n.split(" ×")[0]] for n in said_first)
        yield "cause " + ", ".join([*said_first, *([f"not named ×{silent}"] if silent > 0 else [])])
    if run.bottleneck.right < run.bottleneck.judged:
        yield f"bottleneck wrong ×{run.bottleneck.judged - run.bottleneck.right}"
    if run.broken_never:
        yield f"never {', '.join(run.broken_never)}, and it was said"
    if run.forbidden_advice:
        yield f"advised to {' and to '.join(run.forbidden_advice)}"
