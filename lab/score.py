"""All recorded runs together: the totals, and whether the goals are met."""

from collections.abc import Iterable, Mapping
from functools import reduce
from pathlib import Path

from copilot.errors import RecordingError
from copilot.rules.model import ReportedState
from copilot.rules.signals.readings import Frozen
from copilot.rules.thresholds import Thresholds
from lab.judge import RunScore, Share, judge, play
from lab.labels import Label, cluster_labels, label_of, labels
from lab.recorded_run import RecordedRun, load_run
from lab.variants import CLOUD, variants

ACCURACY, TOP_CAUSE, HEALTHY_FLAPS = 0.97, 0.90, 1


class VariantScore(Frozen):
    """A changed run's score: what was changed, which of them (a seed, a first tick), and how it went."""

    kind: str
    name: str
    score: RunScore


class ScenarioScore(Frozen):
    """A scenario's score as recorded, and of its variants where they were asked for."""

    recorded: RunScore
    variants: tuple[VariantScore, ...] = ()
    taken: str
    machine: dict[str, str | int]


class Totals(Frozen):
    """Sums over runs. `states`: evaluations outside grace periods whose state is right. `critical_rightly` is the
    precision, `critical_when_due` the recall of critical. `cause`: judged evaluations whose first finding is right;
    `cause_at_end`: runs whose last named cause is right."""

    runs: int
    evaluations: int
    states: Share
    critical_rightly: Share
    critical_when_due: Share
    cause: Share
    cause_at_end: Share
    bottleneck: Share
    missed: tuple[str, ...]
    false_criticals: int
    false_happies: int
    false_alarms: int
    flaps: int
    forbidden: tuple[str, ...]


class Goal(Frozen):
    """One goal: what is wanted, what there is, whether that will do."""

    name: str
    wanted: str
    got: str
    met: bool


class LabScore(Frozen):
    """Everything `copilot lab score` says. `variants`: totals by what was changed; `unrecorded`: labels without a
    recording, which are left out of the count."""

    scenarios: tuple[ScenarioScore, ...]
    totals: Totals
    variants: dict[str, Totals]
    goals: tuple[Goal, ...]
    unrecorded: tuple[str, ...]

    @property
    def met(self) -> bool:
        """Whether every goal is met."""
        return all(goal.met for goal in self.goals)


def score_run(
    run: RecordedRun, label: Label, *, with_variants: bool, thresholds: Thresholds | None = None
) -> ScenarioScore:
    """One run's score, and its variants' where they are wanted."""
    changed = [
        VariantScore(
            kind=v.kind,
            name=v.name,
            score=judge(v.run, label, play(v.run, thresholds), truth=run.ticks, sources=v.sources),
        )
        for v in (variants(run) if with_variants else ())
    ]
    recorded = judge(run, label, play(run, thresholds))
    return ScenarioScore(recorded=recorded, variants=tuple(changed), taken=run.taken.taken, machine=run.taken.machine)


def score_lab(found: Mapping[str, Path], *, with_variants: bool) -> LabScore:
    """The score of these recordings by scenario. RecordingError when there is none, or one cannot be read; LabelError
    when one has no label."""
    if not found:
        raise RecordingError("there is no recording to score: take one with `copilot lab run NAME`")
    known = cluster_labels() if found.keys() <= cluster_labels().keys() else labels()
    ordered = [name for name in known if name in found] + [name for name in found if name not in known]
    each = [score_run(load_run(n, found[n]), label_of(n), with_variants=with_variants) for n in ordered]
    kinds = dict.fromkeys(v.kind for s in each for v in s.variants)
    by_kind = {kind: total(v.score for s in each for v in s.variants if v.kind == kind) for kind in kinds}
    totals = total(s.recorded for s in each)
    return LabScore(
        scenarios=tuple(each),
        totals=totals,
        variants=by_kind,
        goals=tuple(_goals(totals, each, by_kind)),
        unrecorded=tuple(name for name in known if name not in found),
    )


def total(scores: Iterable[RunScore]) -> Totals:
    """The sums of some runs' scores."""
    runs = list(scores)
    ends = [s.cause_at_end for s in runs if s.cause_at_end is not None]
    return Totals(
        runs=len(runs),
        evaluations=sum(s.evaluations for s in runs),
        states=_sum(s.states for s in runs),
        critical_rightly=_sum(s.critical_rightly for s in runs),
        critical_when_due=_sum(s.critical_when_due for s in runs),
        cause=_sum(s.cause for s in runs),
        cause_at_end=Share(right=sum(ends), judged=len(ends)),
        bottleneck=_sum(s.bottleneck for s in runs),
        missed=tuple(dict.fromkeys(s.scenario for s in runs if s.missed)),
        false_criticals=sum(s.false_criticals for s in runs),
        false_happies=sum(s.false_happies for s in runs),
        false_alarms=sum(s.false_alarms for s in runs),
        flaps=sum(s.flaps for s in runs),
        forbidden=tuple(dict.fromkeys(s.scenario for s in runs if s.broken_never or s.forbidden_advice)),
    )


def percent(share: Share) -> str:
    """A share for people, rounded down so that it never looks better than it is."""
    return "–" if share.ratio is None else f"{int(share.ratio * 1000) / 10:g} %"


def _sum(shares: Iterable[Share]) -> Share:
    return reduce(Share.__add__, shares, Share())


def _goals(totals: Totals, each: list[ScenarioScore], by_kind: dict[str, Totals]) -> Iterable[Goal]:
    flaps = sum(s.recorded.flaps for s in each if label_of(s.recorded.scenario).states == (ReportedState.HAPPY,))
    yield _none("missed incidents", len(totals.missed), totals.missed)
    yield _none("false criticals", totals.false_criticals)
    yield _share("state right, per evaluation", totals.states, ACCURACY)
    yield _share("cause at rank 1, per evaluation", totals.cause, TOP_CAUSE)
    yield _share("cause at rank 1, at the end of the fault", totals.cause_at_end, TOP_CAUSE)
    yield Goal(
        name="flaps over all healthy scenarios", wanted=f"≤ {HEALTHY_FLAPS}", got=str(flaps), met=flaps <= HEALTHY_FLAPS
    )
    yield _none("scenarios in which something forbidden is advised", len(totals.forbidden), totals.forbidden)
    for kind, changed in by_kind.items():
        yield _none(f"{kind}: false criticals", changed.false_criticals)
        if kind.startswith(CLOUD):
            yield _none(f"{kind}: missed incidents", len(changed.missed), changed.missed)
            yield _share(f"{kind}: state right, per evaluation", changed.states, ACCURACY)
            yield _share(f"{kind}: cause at rank 1, per evaluation", changed.cause, TOP_CAUSE)
        else:
            yield _none(f"{kind}: false happies", changed.false_happies)


def _none(name: str, count: int, which: tuple[str, ...] = ()) -> Goal:
    return Goal(name=name, wanted="0", got=f"{count} ({', '.join(which)})" if which else str(count), met=count == 0)


def _share(name: str, share: Share, wanted: float) -> Goal:
    """A goal on a share; met where nothing was judged."""
    got = f"{percent(share)} of {share.judged}" if share.judged else "nothing to judge"
    return Goal(
        name=name,
        wanted=f"≥ {wanted:.0%}".replace("%", " %"),
        got=got,
        met=(share.ratio or 0.0) >= wanted or not share.judged,
    )
