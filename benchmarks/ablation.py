"""What each source is worth, and how soon a person hears of a fault: the lab's recordings without Temporal's API,
without the workers' metrics, without both, and at longer intervals.

`python -m benchmarks ablation` replays all of it and writes ablation.json, which docs/benchmark.md shows."""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from statistics import median

from pydantic import BaseModel
from whenever import Instant

from benchmarks import Row
from copilot import __version__
from copilot.notify.decide import ChannelState, Outcome, after_attempt, decide, next_cluster_state
from copilot.rules.model import Evaluation, ReportedState
from copilot.settings.notify import ChannelRules
from lab.judge import RunScore, judge, play
from lab.labels import label_of
from lab.recorded_run import RECORDINGS, RecordedRun, find_runs, load_run
from lab.score import total
from lab.variants import long_enough, thinned, without_api, without_sdk

PROTOCOL = """\
The lab's recordings again, with less to read; `python -m benchmarks ablation` does it again. The protocol, written
before the run:

- *No API*: what only Temporal's API tells is not expected, and backlogs are the server's gauges, held for a minute, as
  a stock server refreshes them. *No SDK metrics*: what only the workers' pages have is not expected. *Neither*: both.
- The recordings have a tick every 10 s; at 20, 30 and 60 s every second, third and sixth is kept, from the first on.
  (15 s cannot be made of them.) The rate window stays the recorded one, 30 s. At 60 s only runs whose fault lasts five
  minutes are judged.
- The same labels, grace periods and judge as above, with nothing tuned for it. A cause is judged only where the label
  says that it can be known without the workers' metrics.
- All runs are counted. *Stressed*, *critical*: the median of the first moment, in seconds from the fault, over the
  incidents that reached it; a cluster that misses more can have the shorter median.
"""
SHOWN = """\
What it shows: the API is worth more than the workers' metrics. Without it nothing asks the server whether it answers:
that a server is down or frozen is known from the workers' polls, half a minute later. Without both, such a server is
*happy* for too long, then *unknown* and never critical, and counts as missed, though a channel reports unknown too.
Without the workers' metrics alone all incidents are found as soon.
"""
DELAYS = """\
From the fault to the first evaluation that is not happy, to the first that is critical, and to the notification: of a
channel as it is set by default (critical and unknown), and of one with `states` that has stressed too. Incidents of the
lab in which happy is wrong, every 10 s. The tick's time counts: the verdict comes as much later as a cycle takes
(`copilot_worker_cycle_seconds`), the notification as its receiver takes. Taken with the table above.
"""
RESULTS = Path(__file__).parent / "ablation.json"
INTERVALS_SEC = (10.0, 20.0, 30.0, 60.0)
SDK = frozenset({"sdk"})
LESS: dict[str, tuple[Callable[[RecordedRun], RecordedRun], frozenset[str]]] = {
    "everything": (lambda run: run, SDK),
    "no API": (without_api, SDK),
    "no SDK metrics": (without_sdk, frozenset()),
    "neither": (lambda run: without_api(without_sdk(run)), frozenset()),
}
COLUMNS = ("read", "every", "runs", "states right", "missed", "false critical", "false happy", "false alarms",
           "cause first", "stressed", "critical")  # fmt: skip
DELAY_COLUMNS = ("recording", "stressed", "critical", "notified by default", "notified, stressed too")
ALL_STATES = ChannelRules(name="all", states=("stressed", "critical", "unknown"))


class Results(BaseModel):
    """ablation.json: when it was taken, with which release, and the cells of both tables."""

    taken: str
    release: str
    rows: tuple[tuple[str, ...], ...]
    delays: tuple[tuple[str, ...], ...]


def notified(evaluations: Sequence[Evaluation], rules: ChannelRules) -> Instant | None:
    """When a channel is first sent a notification, if its receiver takes each at once; None: never."""
    channel, cluster = ChannelState(), None
    for e in evaluations:
        v = e.verdict
        never = v.health_state is ReportedState.UNKNOWN and v.last_known_state is None
        cluster = next_cluster_state(cluster, v.health_state, v.since, e.time, never_judged=never)
        notification = decide(rules, channel, cluster, e.time).notification
        if notification is not None:
            channel = after_attempt(channel, notification, Outcome(delivered=True), e.time)
            return e.time
    return None


def _runs() -> list[RecordedRun]:
    return [load_run(name, path) for name, path in find_runs(RECORDINGS).items()]


def _scored(runs: Sequence[RecordedRun], less: str, interval: float) -> list[RunScore]:
    change, sources = LESS[less]
    scores = []
    for run in runs:
        if long_enough(run, interval):
            changed = change(run)
            read = changed if interval == run.header.interval_sec else thinned(changed, interval)
            scores.append(judge(read, label_of(run.name), play(read), truth=run.ticks, sources=sources))
    return scores


def _row(less: str, interval: float, scores: Sequence[RunScore]) -> tuple[str, ...]:
    sums = total(scores)
    due = [s for s in scores if incident(s.scenario)]
    shares = (f"{share.right}/{share.judged}" if share.judged else "–" for share in (sums.states, sums.cause))
    states, cause = shares
    counts = map(str, (sums.false_criticals, sums.false_happies, sums.false_alarms))
    firsts = (_median([s.to_stressed_sec for s in due]), _median([s.to_critical_sec for s in due]))
    return less, f"{interval:.0f} s", str(sums.runs), states, ", ".join(sums.missed) or "none", *counts, cause, *firsts


def incident(scenario: str) -> bool:
    """Whether happy is wrong during the fault."""
    return not {ReportedState.HAPPY, ReportedState.UNKNOWN} & set(label_of(scenario).states)


def _delays(runs: Sequence[RecordedRun]) -> Iterator[tuple[str, ...]]:
    found: list[tuple[float | None, ...]] = []
    for run in runs:
        if incident(run.name):
            evaluations, fault = play(run), run.taken.marks.fault
            score = judge(run, label_of(run.name), evaluations)
            since = [e for e in evaluations if e.time >= fault]
            told = (notified(since, rules) for rules in (ChannelRules(name="default"), ALL_STATES))
            seconds = (None if t is None else (t - fault).total("seconds") for t in told)
            found.append((score.to_stressed_sec, score.to_critical_sec, *seconds))
            yield run.name, *map(_seconds, found[-1])
    yield "**median**", *(_median(column) for column in zip(*found, strict=True))


def _median(values: Sequence[float | None]) -> str:
    known = [v for v in values if v is not None]
    return f"{median(known):.0f} s ({len(known)}/{len(values)})" if known else f"– (0/{len(values)})"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} s"


@cache
def results() -> Results:
    """The results as they were last taken."""
    return Results.model_validate_json(RESULTS.read_text("utf-8"))


def rows() -> Iterator[Row]:
    """Replays all, writes the results, and says how many incidents were missed."""
    runs, cells = _runs(), []
    for less in LESS:
        for interval in INTERVALS_SEC:
            scores = _scored(runs, less, interval)
            cells.append(_row(less, interval, scores))
            note = f"of {sum(incident(s.scenario) for s in scores)}, {RESULTS.name}"
            yield Row(f"missed: {less}, every {interval:.0f} s", len(total(scores).missed), "incidents", note=note)
    taken = Instant.now().format_iso()[:10]
    found = Results(taken=taken, release=__version__, rows=tuple(cells), delays=tuple(_delays(runs)))
    RESULTS.write_text(json.dumps(found.model_dump(), indent=1, ensure_ascii=False) + "\n", "utf-8")
