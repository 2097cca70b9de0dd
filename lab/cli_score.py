"""The lab's score as rows of text, for a terminal and for docs/benchmark.md."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from copilot.cli.options import JsonOption
from copilot.cli.output import plain_console, print_lines, width_of, wrapped
from lab.judge import Share
from lab.labels import label_of
from lab.page_seen import PageSeen
from lab.score import TOP_CAUSE, LabScore, percent
from lab.wrongs import wrongs

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


if TYPE_CHECKING:
    from lab.score import LabScore

INTRODUCTION = """\
# The benchmark: is the verdict right?

Generated by `make docs` from the recordings in the repository; do not edit. `copilot lab score --variants` prints the
same, and `make lab` takes fresh recordings.

Each scenario really happened to a Temporal server with workers and load: a while before the fault, the fault, a while
after it. The Copilot's signals were recorded, and what the rules of this release say of them is compared with what a
fair judge expects (labels.toml). With W the rate window and I the interval, an evaluation counts from W + 2·I after the
fault begins (stressed is due) and strictly from W + max(60 s, 3·I) + 5 s (critical is due); the two rate limits from
90 s after the restart that sets them, the ramp from when demand outgrows the workers. Critical must have ended W + 3·I
and everything 2·W + 5·I after the fault is over and no old task waits. In between, a state may be passed through on its
way, and anything else is wrong there too. Before the fault, and wherever nothing is wrong, only happy is right.
"""
VARIANTS_NOTE = """\
Each recording again, changed: readings lost by chance, read at a longer interval (from each tick it could have begun
with), as a cluster with a twentieth and with twenty times the load (rates and counts of work with their breakdowns; not
latencies, ages, ratios, pollers and slots), and without the workers' metrics. A longer interval keeps the recorded rate
window, so such a run sees only a part of the time. Cause and bottleneck are judged where the label says they can be
known.
"""
PAGES_NOTE = """\
Run anew with a whole Copilot watching (`copilot lab run NAME --page`): its page was fetched every two seconds, and each
look was judged as above, by the moment of the evaluation that it showed.
"""


def score(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]…", help="Only these scenarios.")] = None,
    recordings: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Recordings to score; otherwise those that come with it.")
    ] = None,
    variants: Annotated[
        bool,
        typer.Option("--variants", help="Also score each recording with readings lost, other intervals and loads."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare what the rules say of the recorded incidents with what a fair judge expects. Exit 1 if a goal is not met.

    Example: copilot lab score --variants, or copilot lab score workers-down --json"""

    scored = _scored(recordings, names or (), with_variants=variants)
    if as_json:
        typer.echo(scored.model_dump_json())
    else:
        print_score(scored)
    if not scored.met:
        raise typer.Exit(1)


def _scored(recordings: Path | None, names: Iterable[str], *, with_variants: bool) -> "LabScore":
    from copilot.errors import RecordingError
    from lab.recorded_run import RECORDINGS, find_runs
    from lab.score import score_lab

    found = find_runs(recordings or RECORDINGS)
    if unknown := [name for name in names if name not in found]:
        there = ", ".join(found) or "none"
        raise RecordingError(f"no recording of {', '.join(unknown)}: there is {there}")
    chosen = {name: found[name] for name in names} or found
    return score_lab(chosen, with_variants=with_variants)


def markdown(recordings: Path | None = None) -> str:
    """docs/benchmark.md."""
    return document(_scored(recordings, (), with_variants=True), recordings)


def document(scored: "LabScore", recordings: Path | None = None) -> str:
    """docs/benchmark.md of a score with variants, and of what pages showed beside its recordings."""
    return "\n".join([INTRODUCTION, *_sections(scored), *_pages(recordings)])


def _pages(recordings: Path | None) -> Iterator[str]:
    from lab.page_seen import pages_seen
    from lab.recorded_run import RECORDINGS

    if seen := pages_seen(recordings or RECORDINGS):
        yield from _lab_score_table("The page, live", PAGES, page_rows(seen), PAGES_NOTE)


def _sections(scored: "LabScore") -> Iterator[str]:

    taken = sorted({s.taken[:10] for s in scored.scenarios} - {""})
    machines = dict.fromkeys(_machine(s.machine) for s in scored.scenarios if s.machine)
    if taken:
        days = taken[0] if len(taken) == 1 else f"{taken[0]} to {taken[-1]}"
        yield f"Recorded {days} on a machine with {'; '.join(machines) or 'nothing noted'}.\n"
    yield from _lab_score_table("Goals", GOALS, goal_rows(scored))
    yield from _lab_score_table("Scenarios", SCENARIOS, scenario_rows(scored))
    if scored.unrecorded:
        yield f"Without a recording, so not counted: {', '.join(scored.unrecorded)}.\n"
    yield from _lab_score_table("Variants", VARIANTS, variant_rows(scored), VARIANTS_NOTE)
    if wrong := list(variant_wrongs(scored)):
        yield "Where a variant was judged wrongly, or its cause:\n"
        yield from (f"- {line}" for line in wrong)
        yield ""


def _machine(machine: Mapping[str, str | int]) -> str:
    """A machine for people: "cpus 2, python 3.11.2, temporal server 1.32.0"."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in machine.items())


def _lab_score_table(
    title: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]], note: str = ""
) -> Iterator[str]:
    yield f"## {title}\n"
    if note:
        yield note
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


if __name__ == "__main__":
    print(markdown(Path(sys.argv[1]) if len(sys.argv) > 1 else None), end="")
