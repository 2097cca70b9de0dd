"""Incidents: from leaving happy to happy again, as the stored verdicts show them. Nothing of them is stored apart."""

from collections.abc import Sequence
from itertools import dropwhile, groupby
from operator import attrgetter

from pydantic import BaseModel
from whenever import Instant

from copilot.rules.model import BottleneckClassification, ReportedState
from copilot.rules.state_machine import RELAPSE_WITHIN
from copilot.store.base import TimelinePoint


class StateFrom(BaseModel):
    """A state and when it began."""

    time: Instant
    health_state: ReportedState


class CauseFrom(BaseModel):
    """A first finding, by name, and when it became the first."""

    time: Instant
    finding: str


class Incident(BaseModel):
    """`id` is the one that notifications have. `ended` is None while it lasts; `worst` is the worst state, `worst_at`
    the first time it was reached; `cause` is the first finding then, None where nothing was found. `cut`: it may have
    begun before the range that was read."""

    id: str
    cluster: str
    began: Instant
    ended: Instant | None
    worst: ReportedState
    worst_at: Instant
    cause: str | None
    bottleneck: BottleneckClassification
    states: tuple[StateFrom, ...]
    causes: tuple[CauseFrom, ...]
    cut: bool


def incidents(cluster: str, points: Sequence[TimelinePoint]) -> list[Incident]:
    """The incidents of a timeline (oldest first, with every change of state), the newest first. A recovery that lasts
    no longer than RELAPSE_WITHIN ends no incident. Before a cluster's first verdict there is none."""
    judged = list(dropwhile(lambda p: p.health_state is ReportedState.UNKNOWN, points))
    runs = [list(run) for _, run in groupby(judged, key=lambda p: p.health_state is ReportedState.HAPPY)]
    found: list[list[TimelinePoint]] = []
    for before, run, after in zip([[], *runs], runs, [*runs[1:], []], strict=False):
        if run[0].health_state is ReportedState.HAPPY:
            continue
        ends = after[:1]
        if found and before and run[0].time - before[0].time <= RELAPSE_WITHIN:
            found[-1] += [*run, *ends]
        else:
            found.append([*run, *ends])
    first = judged[0].time if judged else None
    return [_incident(cluster, run, cut=run[0].time == first) for run in reversed(found)]


def _incident(cluster: str, run: Sequence[TimelinePoint], *, cut: bool) -> Incident:
    ends = run[-1].health_state is ReportedState.HAPPY
    worst = max(run, key=lambda p: p.health_state.rank)
    at_worst = [p for p in run if p.health_state is worst.health_state and p.top_factor]
    named = [p for p in run if p.top_factor and p.health_state is not ReportedState.HAPPY]
    return Incident(
        id=f"{cluster}:{run[0].time.timestamp()}",
        cluster=cluster,
        began=run[0].time,
        ended=run[-1].time if ends else None,
        worst=worst.health_state,
        worst_at=(at_worst or [worst])[0].time,
        cause=(at_worst or named or [worst])[0].top_factor,
        bottleneck=worst.bottleneck,
        states=tuple(
            StateFrom(time=next(same).time, health_state=state)
            for state, same in groupby(run, lambda p: p.health_state)
        ),
        causes=tuple(
            CauseFrom(time=next(same).time, finding=cause or "")
            for cause, same in groupby(named, lambda p: p.top_factor)
        ),
        cut=cut,
    )


def _changes(points: Sequence[TimelinePoint], field: str) -> list[TimelinePoint]:
    return [next(same) for _, same in groupby(points, key=attrgetter(field))]
