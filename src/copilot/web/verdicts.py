"""The verdict as a reader sees it: how old it is, what is unavailable, which cluster comes first."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from whenever import Instant

from copilot.explain import ExplainedEvaluation
from copilot.inspection.executions import Inspection
from copilot.inspection.workers import WorkersListed
from copilot.rules.changes import ChangeBefore
from copilot.rules.model import ReportedState, Trigger
from copilot.rules.mutes import Judged, MuteLife, Seen, judge, seen


@dataclass(frozen=True, slots=True)
class VerdictView:
    """A cluster's verdict at `now`. `evaluation` is the newest as it reads at `now` (stale or unknown when it is old),
    None before the first; `original` is the same before it aged, and is what the history holds. `age_sec`: seconds
    since the evaluation was made. `cycle_sec`: seconds from the tick to its verdict, None when not known.
    `degraded_because`: one sentence on what is unavailable, None when nothing is; `store_problem` is the store's part
    of it: with one, do not query the store, it may hang. `loops`: what is wrong with each loop by its workflow id;
    empty where nothing is. `ahead_sec`: how far our clock was ahead of the newest tick when it came.
    `executions`, `workers`: what was read beside the verdict; None before the first time, and in the past.
    `changes`: those before the present problem, the nearest to it first. `mutes`: the acknowledgements, silences and
    maintenance windows that are not long over, the newest first; `silenced_at`: links to Alertmanager's own silences
    of the cluster's alert."""

    cluster: str
    now: Instant
    evaluation: ExplainedEvaluation | None = None
    original: ExplainedEvaluation | None = None
    age_sec: float | None = None
    trigger: Trigger | None = None
    degraded_because: str | None = None
    cycle_sec: float | None = None
    store_problem: str | None = None
    loops: Mapping[str, str] = field(default_factory=dict)
    ahead_sec: float | None = None
    executions: Inspection | None = None
    workers: WorkersListed | None = None
    changes: tuple[ChangeBefore, ...] = ()
    mutes: tuple[MuteLife, ...] = ()
    silenced_at: tuple[str, ...] = ()

    @property
    def muted(self) -> Judged | None:
        """The mutes against the verdict; None where there are none, or no verdict."""
        now = seen_in(self)
        return judge(self.mutes, now) if self.mutes and now else None

    @property
    def state(self) -> ReportedState:
        """The state; unknown before the first evaluation."""
        return self.evaluation.verdict.health_state if self.evaluation else ReportedState.UNKNOWN

    @property
    def stale(self) -> bool:
        """Whether the state is held without fresh evidence; True before the first evaluation."""
        return self.evaluation.verdict.stale if self.evaluation else True

    @property
    def revision(self) -> tuple[object, ...]:
        """Changes whenever there is something new to show; age alone changes nothing."""
        e = self.evaluation
        if e is None:
            return (None, self.degraded_because)
        beside = (self.executions and self.executions.time, self.workers and self.workers.time)
        state = (e.evaluation_id, e.verdict.health_state, e.verdict.stale, e.explained_by, self.degraded_because)
        muted = self.muted
        held = muted and (muted.by and muted.by.mute.id, muted.until, *(len(m.held) for m in muted.lives))
        return (*state, *beside, held, self.silenced_at, *((b.change.digest, b.change.text) for b in self.changes))

    def same_as(self, other: "VerdictView") -> bool:
        """Whether a body written for one also holds for the other: everything but the age is equal."""
        mine, theirs = (self.trigger, self.revision), (other.trigger, other.revision)
        return self.original is other.original and mine == theirs


def seen_in(view: VerdictView) -> Seen | None:
    """What mutes look at in a verdict; None before the first."""
    e = view.evaluation
    return None if e is None else seen(view.now, view.state, e.findings, e.verdict.gates)


def badness(view: VerdictView) -> tuple[int, bool]:
    """Sort key: the worst state first; within a state, stale before fresh."""
    return -view.state.rank, not view.stale


def joined(*reasons: str | None) -> str | None:
    """Several reasons as one sentence, each once; None without any."""
    return "; ".join(dict.fromkeys(reason for reason in reasons if reason)) or None


@dataclass(frozen=True, slots=True)
class Overview:
    """Several clusters at a glance. `verdicts` holds at least one."""

    verdicts: Sequence[VerdictView]
    logged_in: bool = False

    @property
    def now(self) -> Instant:
        """When the verdicts were read."""
        return self.verdicts[0].now

    @property
    def degraded_because(self) -> str | None:
        """What is unavailable, over all clusters; None when nothing is."""
        return joined(*(view.degraded_because for view in self.verdicts))

    @property
    def ranked(self) -> list[VerdictView]:
        """The worst cluster first."""
        return sorted(self.verdicts, key=badness)

    @property
    def state(self) -> ReportedState:
        """The worst state of all clusters."""
        return self.ranked[0].state

    @property
    def counts(self) -> list[tuple[ReportedState, int]]:
        """How many clusters are in each state that occurs, the worst state first."""
        return list(Counter(view.state for view in self.ranked).items())
