"""The lab's score as rows of text, for a terminal and for docs/benchmark.md."""

from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from copilot.cli.lines import plain_console, print_lines, width_of, wrapped
from copilot.lab.judge import Share
from copilot.lab.labels import label_of
from copilot.lab.page_seen import PageSeen
from copilot.lab.score import TOP_CAUSE, LabScore, percent
from copilot.lab.wrongs import wrongs

SCENARIOS = (
    "scenario",
    "wanted",
    "worst said",
    "to stressed",
    "to critical",
    "states right",
    "false alarms",
    "flaps",
    "cause first",
    "bottleneck",
    "what went wrong",
)
NARROW = {
    "scenario": "scenario",
    "worst said": "worst",
    "to stressed": "stressed",
    "to critical": "critical",
    "states right": "right",
    "cause first": "cause",
    "bottleneck": "limit",
}
"""The columns a terminal of 80 columns has room for; what went wrong stands below."""
GOALS = ("goal", "wanted", "reached", "")
VARIANTS = (
    "variant",
    "runs",
    "states right",
    "false criticals",
    "false happies",
    "missed",
    "false alarms",
    "flaps",
    "cause first",
    "bottleneck",
)
PAGES = (
    "scenario",
    "taken",
    "rules",
    "looks",
    "states shown",
    "worst in the fault",
    "first causes shown",
    "not as labelled",
)
_RIGHT_ALIGNED = {"stressed", "critical", "false alarms", "flaps", "runs", "false criticals", "false happies"}
_LONG = {"what went wrong", "missed"}


def scenario_rows(score: LabScore) -> Iterator[tuple[str, ...]]:
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
            "; ".join(wrongs(run)),
        )
    sums = score.totals
    counts = (_of(sums.states), str(sums.false_alarms), str(sums.flaps), _of(sums.cause), _of(sums.bottleneck))
    yield (f"all {sums.runs}", "", "", "", "", *counts, "")


def goal_rows(score: LabScore) -> Iterator[tuple[str, ...]]:
    """A row per goal, and the two figures that have none."""
    for goal in score.goals:
        yield goal.name, goal.wanted, goal.got, "met" if goal.met else "NOT MET"
    for name, share in (("precision", score.totals.critical_rightly), ("recall", score.totals.critical_when_due)):
        yield f"{name} of critical, per evaluation", "", f"{percent(share)} of {share.judged}", ""


def variant_rows(score: LabScore) -> Iterator[tuple[str, ...]]:
    """A row per kind of variant."""
    for kind, sums in score.variants.items():
        yield (
            kind,
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


def variant_wrongs(score: LabScore) -> Iterator[str]:
    """A line for each variant of a run in which something false was said, or the wrong cause or advice given."""
    for each in score.scenarios:
        for variant in each.variants:
            run = variant.score
            misled = run.forbidden_advice or (run.cause.ratio is not None and run.cause.ratio < TOP_CAUSE)
            if run.false_criticals or run.false_happies or run.missed or misled:
                which = f"{variant.kind}, {variant.name}" if variant.name else variant.kind
                yield f"{run.scenario}, {which}: {'; '.join(wrongs(run))}"


def print_score(score: LabScore, console: Console | None = None) -> None:
    """The tables, what is wrong in variants, and last what it comes to."""
    out = console or plain_console()
    rows = list(scenario_rows(score))
    picked = [SCENARIOS.index(column) for column in NARROW]
    out.print(_table("Scenarios", tuple(NARROW.values()), [tuple(r[i] for i in picked) for r in rows], closing=True))
    for name, *_, wrong in rows:
        if wrong:
            print_lines(out, wrapped(f"{name}: {wrong}", width_of(out), "  ", "    ", "yellow"))
    if score.unrecorded:
        told = f"Without a recording, so not counted: {', '.join(score.unrecorded)}"
        print_lines(out, wrapped(told, width_of(out), "", "  ", "dim"))
    if score.variants:
        out.print()
        out.print(_table("Variants of the recordings", VARIANTS, list(variant_rows(score))))
        for line in variant_wrongs(score):
            print_lines(out, wrapped(line, width_of(out), "  ", "    ", "yellow"))
    out.print()
    out.print(_table("Goals", GOALS, list(goal_rows(score))))
    out.print()
    unmet = sum(not goal.met for goal in score.goals)
    said = f"{unmet} of {len(score.goals)} goals are NOT MET" if unmet else f"all {len(score.goals)} goals are met"
    out.print(Text(said, style="bold red" if unmet else "green"))


def _table(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]], *, closing: bool = False) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, 1),
        header_style="dim",
    )
    for column in columns:
        long = column in _LONG
        table.add_column(column, justify="right" if column in _RIGHT_ALIGNED else "left", ratio=1 if long else None)
    for number, row in enumerate(rows):
        last = closing and number == len(rows) - 1
        table.add_row(*(_coloured(cell) for cell in row), style="bold" if last else "")
    return table


def _coloured(cell: str) -> Text:
    return Text(cell, style={"NOT MET": "bold red", "met": "green"}.get(cell, ""))


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} s"


def _of(share: Share) -> str:
    return f"{share.right}/{share.judged}" if share.judged else "–"


def page_rows(seen: Iterable[PageSeen]) -> Iterator[tuple[str, ...]]:
    """A row a scenario: what its page showed."""
    for each in seen:
        states = dict.fromkeys(change.state.value for change in each.changes)
        yield (
            each.scenario,
            each.taken,
            each.rules,
            str(each.looks),
            ", ".join(states),
            each.worst.value,
            ", ".join(each.causes) or "–",
            "; ".join(each.wrong),
        )
