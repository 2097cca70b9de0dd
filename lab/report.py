"""The lab's score as rows of text, for a terminal and for docs/benchmark.md."""

from collections.abc import Iterator, Mapping

from lab.judge import Share, mistakes_of
from lab.labels import label_of
from lab.score import TOP_CAUSE, LabScore, Totals, percent

Row = tuple[str, ...]

SCENARIOS: Row = (
    "scenario", "expected", "worst state", "to stressed", "to critical", "states right", "false alarms", "flaps",
    "cause first", "bottleneck", "mistakes",
)  # fmt: skip
GOALS: Row = ("goal", "target", "reached", "")
VARIANTS: Row = (
    "variant", "runs", "states right", "false criticals", "false happies", "missed", "false alarms", "flaps",
    "cause first", "bottleneck",
)  # fmt: skip
SERVERS: Row = ("server", *VARIANTS[1:])


def scenario_rows(score: LabScore) -> Iterator[Row]:
    """A row per scenario, and the sum."""
    for each in score.scenarios:
        run = each.recorded
        yield (
            run.scenario,
            " or ".join(label_of(run.scenario).states),
            run.worst.value,
            _seconds(run.to_stressed_sec),
            _seconds(run.to_critical_sec),
            _of(run.states),
            str(run.false_alarms),
            str(run.flaps),
            _of(run.cause),
            _of(run.bottleneck),
            "; ".join(mistakes_of(run)),
        )
    sums = score.totals
    counts = (_of(sums.states), str(sums.false_alarms), str(sums.flaps), _of(sums.cause), _of(sums.bottleneck))
    yield (f"all {sums.runs}", "", "", "", "", *counts, "")


def goal_rows(score: LabScore) -> Iterator[Row]:
    """A row per goal, and the two numbers without a goal."""
    for goal in score.goals:
        yield goal.name, goal.wanted, goal.got, "met" if goal.met else "NOT MET"
    for name, share in (("precision", score.totals.critical_rightly), ("recall", score.totals.critical_when_due)):
        yield f"{name} of critical, per evaluation", "", f"{percent(share)} of {share.judged}", ""


def variant_rows(score: LabScore) -> Iterator[Row]:
    """A row per kind of variant."""
    return (_totals_row(kind, sums) for kind, sums in score.variants.items())


def server_rows(scores: Mapping[str, LabScore]) -> Iterator[Row]:
    """A row per server version."""
    return (_totals_row(version, score.totals) for version, score in scores.items())


def server_mistakes(scores: Mapping[str, LabScore]) -> Iterator[str]:
    """A line for each scenario with a mistake."""
    for version, score in scores.items():
        for each in score.scenarios:
            if mistakes := "; ".join(mistakes_of(each.recorded)):
                yield f"{version}, {each.recorded.scenario}: {mistakes}"


def _totals_row(name: str, sums: Totals) -> Row:
    return (
        name,
        str(sums.runs),
        _of(sums.states),
        str(sums.false_criticals),
        str(sums.false_happies),
        ", ".join(sums.missed) or "none",
        str(sums.false_alarms),
        str(sums.flaps),
        _of(sums.cause),
        _of(sums.bottleneck),
    )


def variant_mistakes(score: LabScore) -> Iterator[str]:
    """A line for each variant with a false or missed state, a wrong cause, or forbidden advice."""
    for each in score.scenarios:
        for variant in each.variants:
            run = variant.score
            misled = run.forbidden_advice or (run.cause.ratio is not None and run.cause.ratio < TOP_CAUSE)
            if run.false_criticals or run.false_happies or run.missed or misled:
                which = f"{variant.kind}, {variant.name}" if variant.name else variant.kind
                yield f"{run.scenario}, {which}: {'; '.join(mistakes_of(run))}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} s"


def _of(share: Share) -> str:
    return f"{share.right}/{share.judged}" if share.judged else "–"
