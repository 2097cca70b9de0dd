"""What was promised, held against what happened. Pure: everything is given."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from chaos.deeds import Outage, away_between
from chaos.evidence import Evidence
from chaos.readers import Seen

NOTICE_SEC = 12.0
"""What Temporal may take after an outage to notice and go on: an activity in flight when its worker died is tried
again after its deadline (4 s to read + 3 s), a workflow task after 5 s; a client that lost its server asks again within
5 s."""
FRESH_INTERVALS = 1.5
HEARD_SEC = 3.0
"""How much later than the tick's own second a reader may first hear of it."""
UNKNOWN = "unknown"
UNKNOWN_AFTER_SEC = 90.0


@dataclass(frozen=True, slots=True)
class Promise:
    """A promise, how many things were held against it, and those that broke it, in words."""

    name: str
    checked: int
    broken: Sequence[str] = field(default=())
    note: str = ""


def kept_once(evidence: Evidence) -> Iterable[Promise]:
    """Evaluated ticks against stored ones."""
    stored, evaluated = Counter(v.tick for v in evidence.stored), Counter(v.tick for v in evidence.evaluated)
    first = {v.tick: v.state for v in reversed(evidence.evaluated)}
    yield Promise(
        "every evaluated tick is stored", len(evaluated), _lines(sorted(evaluated.keys() - stored.keys()), "is lost")
    )
    yield Promise(
        "no tick is stored twice", len(stored), _lines([t for t, n in stored.items() if n > 1], "is there twice")
    )
    yield Promise(
        "only evaluated ticks are stored",
        len(stored),
        _lines(sorted(stored.keys() - evaluated.keys()), "was never evaluated"),
    )
    yield Promise(
        "no tick is evaluated twice",
        len(evidence.evaluated),
        _lines([t for t, n in evaluated.items() if n > 1], "was evaluated twice"),
    )
    differs = [v.tick for v in evidence.stored if v.tick in first and first[v.tick] != v.state]
    yield Promise(
        "stored verdicts equal the evaluated ones", len(stored), _lines(differs, "is stored as something else")
    )
    states = [v for n, v in enumerate(evidence.evaluated) if n == 0 or evidence.evaluated[n - 1].state != v.state]
    asked = {a.tick for a in evidence.assessed if a.trigger == "state_change"}
    silent = [v.tick for v in states if v.tick not in asked]
    yield Promise("every change of state leads to an assessment", len(states), _lines(silent, "is not"))
    wanted, kept = Counter(evidence.assessed), Counter(evidence.assessments)
    off = [f"{a.tick} ({a.trigger})" for a in sorted(wanted | kept) if wanted[a] != kept[a]]
    yield Promise("every assessment is stored once", len(wanted), [f"{a} is not" for a in off])
    yield Promise("everything is stored at the end", 1, [evidence.unsettled] if evidence.unsettled else ())


def no_long_hole(ticks: Sequence[int], outages: Sequence[Outage], interval_sec: float) -> Promise:
    """The timeline against the outages of what evaluates."""
    worst, broken = 0.0, []
    for before, after in pairwise(ticks):
        away = away_between(outages, before, after)
        beyond = after - before - interval_sec - away
        worst = max(worst, beyond)
        if beyond > NOTICE_SEC:
            broken.append(f"{after - before} s after {before}, {away:.1f} s of them away")
    longest = max((b - a for a, b in pairwise(ticks)), default=0)
    note = f"longest {longest} s; at most {worst:.1f} s beyond outage and interval (allowed {NOTICE_SEC:g} s)"
    return Promise("no gap in the timeline is longer than its outage", max(0, len(ticks) - 1), broken, note)


def one_loop(evidence: Evidence) -> Iterable[Promise]:
    """Loops neither lost nor doubled."""
    broken = []
    for loop, runs in evidence.loops.items():
        statuses = Counter(runs)
        running = statuses.pop("RUNNING", 0)
        broken += [] if running == 1 else [f"{running} of {loop} run"]
        broken += [f"{loop}: {n} ended as {status}" for status, n in statuses.items() if status != "CONTINUED_AS_NEW"]
        if len(runs) != evidence.runs_counted[loop]:
            broken.append(f"{loop} counts {evidence.runs_counted[loop]} runs, Temporal {len(runs)}")
    yield Promise("one loop of each kind, never lost or duplicated", sum(map(len, evidence.loops.values())), broken)
    ended = Counter(evidence.others)
    bad = [f"{n} ended as {status}" for status, n in ended.items() if status != "COMPLETED"]
    yield Promise("child workflows complete", len(evidence.others), bad)


def one_verdict_a_moment(
    seen: Sequence[Seen], told: dict[int, set[str]], evidence: Evidence, shifted: Sequence[tuple[float, float]]
) -> Iterable[Promise]:
    """What readers were shown against what was evaluated."""
    truth: dict[int, set[str]] = {}
    for verdict in evidence.evaluated:
        truth.setdefault(verdict.tick, set()).add(verdict.state)
    ever: dict[int, set[str]] = {}
    wrong: list[str] = []
    for s in seen:
        said = truth.get(s.tick, set())
        if s.state not in said:
            grown_old = s.state == UNKNOWN and (s.at - s.tick > UNKNOWN_AFTER_SEC - 1 or _within(s.at, shifted))
            if not grown_old:
                wrong.append(f"{s.reader}: {s.tick} as {s.state}, not {_or(said)}")
        if s.state != UNKNOWN:
            ever.setdefault(s.tick, set()).add(s.state)
    two = [f"{t} as {_or(states)}" for t, states in ever.items() if len(states) > 1]
    yield Promise("no client gets two verdicts for one tick", len(ever), two)
    yield Promise("every client gets the evaluated verdict", len(seen), wrong)
    differs = [f"{t} as {_or(states)}" for t, states in told.items() if not states <= truth.get(t, set())]
    yield Promise("all timelines agree about a tick", len(told), differs)


def never_backwards(seen: Sequence[Seen], restarts: Sequence[float], shifted: Sequence[tuple[float, float]]) -> Promise:
    """What each reader was shown, one after the other; while clocks were stepped is left out."""
    broken, after_restart, pairs = [], 0, 0
    by_reader: dict[str, list[Seen]] = {}
    for s in seen:
        if not _within(s.at, shifted):
            by_reader.setdefault(s.reader, []).append(s)
    for name, shown in by_reader.items():
        for one, two in pairwise(shown):
            pairs += 1
            if two.tick < one.tick:
                if any(one.at <= restart <= two.at for restart in restarts):
                    after_restart += 1
                else:
                    broken.append(f"{name}: {one.tick}, then {two.tick}")
    note = f"over a kill of the API: {after_restart} times"
    return Promise("no client goes back to an older verdict", pairs, broken, note)


def never_old_as_fresh(seen: Sequence[Seen], interval_sec: float) -> Promise:
    """A verdict is shown as fresh for 1.5 intervals at most, whatever clocks say."""
    first: dict[int, float] = {}
    worst, broken, checked = 0.0, [], 0
    for s in sorted(seen, key=lambda s: s.at):
        since = first.setdefault(s.tick, s.at)
        if s.stale is False and s.state != UNKNOWN:
            checked += 1
            worst = max(worst, s.at - since)
            if s.at - since > FRESH_INTERVALS * interval_sec + HEARD_SEC:
                broken.append(f"{s.tick} still fresh {s.at - since:.1f} s after it was first shown")
    return Promise("no old verdict is shown as fresh", checked, broken, f"fresh for {worst:.1f} s at most")


def _within(at: float, spans: Sequence[tuple[float, float]]) -> bool:
    return any(start <= at <= end for start, end in spans)


def _or(states: Iterable[str]) -> str:
    return " or ".join(sorted(states)) or "anything"


def _lines(ticks: Sequence[int], what: str) -> list[str]:
    return [f"{tick} {what}" for tick in ticks]
