"""From what was said to HTML. Pure: the same page for the same input."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from whenever import Instant

from copilot.core import figures
from copilot.core.assessment import Evaluation, GateResult, ReportedState, Severity
from copilot.core.staleness import unknown_after_sec
from copilot.core.taxonomy import SPECS
from copilot.store.base import TimelinePoint
from copilot.web import drawing, wording
from copilot.web.cards import Card, Row, all_signals, key_signals, unread

LONGEST_STEP_SEC = 600.0
GATES_AT_ONCE = 9
SPANS_MIN = (5, 15, 60, 360)


@dataclass(frozen=True, slots=True)
class ClusterTab:
    """One cluster of the switch; `state` None before its first evaluation."""

    name: str
    state: ReportedState | None


@dataclass(frozen=True, slots=True)
class Page:
    """Everything the page shows. `evaluation` as it must be read at `now` (None: nothing heard yet); `trend` the last
    points with signals, `strip` the timeline of the last six hours."""

    cluster: str
    tabs: tuple[ClusterTab, ...]
    evaluation: Evaluation | None
    now: Instant
    age_sec: float | None
    degraded_because: str | None
    trend: Sequence[TimelinePoint] = ()
    strip: Sequence[TimelinePoint] = ()

    @property
    def state(self) -> ReportedState:
        """The state; unknown before the first evaluation."""
        return self.evaluation.verdict.health_state if self.evaluation else ReportedState.UNKNOWN

    @property
    def loud(self) -> str | None:
        """The sentence that must not be overlooked: how old this is; None when it is fresh."""
        e = self.evaluation
        if e is None:
            return "Nothing has been heard of this cluster yet."
        heard = f"The last evaluation is of {wording.clock(e.time, self.now)}, {wording.ago(e.time, self.now)}."
        if e.verdict.health_state is ReportedState.UNKNOWN:
            before = f" Before that: {e.verdict.last_known_state}." if e.verdict.last_known_state else ""
            return f"Unknown since {wording.clock(e.verdict.since, self.now)}. {heard}{before}"
        if e.verdict.stale:
            return f"Stale: this state is held without fresh evidence. {heard}"
        return None

    @property
    def outlived(self) -> bool:
        """Whether the evaluation is so old that what it read is the past."""
        e = self.evaluation
        return e is not None and self.age_sec is not None and self.age_sec > unknown_after_sec(e.interval_sec)

    @property
    def gates(self) -> list[GateResult]:
        """Gates: fired first (critical before warning), then those whose readings are missing, then the rest, the
        nearest to its threshold first."""
        return sorted(self.evaluation.verdict.gates, key=_interest) if self.evaluation else []

    @property
    def gates_shown(self) -> int:
        """How many of them are shown at once: all that fire or miss their readings, and some more."""
        return max(GATES_AT_ONCE, sum(_interest(g)[0] < 2 for g in self.gates))

    @property
    def cards(self) -> list[tuple[str, list[Card]]]:
        """Key signals by what they are about."""
        return key_signals(self.evaluation.signals if self.evaluation else None, self.trend)

    @property
    def rows(self) -> list[tuple[str, list[Row]]]:
        """All signals by kind."""
        return all_signals(self.evaluation.signals) if self.evaluation else []

    @property
    def unread(self) -> list[Row]:
        """Expected signals that could not be read, with the reason."""
        return unread(self.evaluation.signals) if self.evaluation else []

    @property
    def span_min(self) -> int:
        """Minutes the timeline covers: no more than there is something to show of."""
        if not self.strip:
            return SPANS_MIN[0]
        lived = (self.now - self.strip[0].time).total("minutes")
        return next((span for span in SPANS_MIN if lived <= span), SPANS_MIN[-1])

    @property
    def stretches(self) -> tuple[drawing.Stretch, ...]:
        """The timeline as stretches of one state. A hole is longer than a verdict lasts and than two steps of it."""
        lasts = unknown_after_sec(self.evaluation.interval_sec) if self.evaluation else LONGEST_STEP_SEC
        if len(self.strip) > 1:
            step = (self.strip[-1].time - self.strip[0].time).total("seconds") / (len(self.strip) - 1)
            lasts = max(lasts, 2 * step)
        return drawing.strip(self.strip, self.now.subtract(minutes=self.span_min), self.now, lasts)

    @property
    def marks(self) -> list[str]:
        """What to write under the equal parts of the timeline."""
        parts = 6 if self.span_min % 60 == 0 else 5
        return [f"−{figures.duration(60 * self.span_min * (parts - i) / parts)}" for i in range(parts)]


def _interest(gate: GateResult) -> tuple[int, bool, float]:
    if gate.fired:
        rank = 0
    elif gate.fired is None and gate.unjudged in (None, "missing"):
        rank = 1
    else:
        rank = 2 if gate.fired is False else 3
    return rank, gate.severity is not Severity.CRITICAL, gate.margin if gate.margin is not None else 0.0


def render_page(page: Page) -> str:
    """The whole page."""
    return _environment().get_template("page.html").render(page=page)


def render_fragment(page: Page) -> str:
    """Its live part, for replacing the old one."""
    return _environment().get_template("live.html").render(page=page)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("copilot.web", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "quantity": figures.quantity,
        "words": wording.words,
        "clock": wording.clock,
        "ago": wording.ago,
        "duration": figures.duration,
    }
    environment.globals |= {
        "MEANS": wording.MEANS,
        "NOTHING": figures.NOTHING,
        "UNJUDGED": wording.UNJUDGED,
        "SHAPES": drawing.SHAPES,
        "SPECS": SPECS,
    }
    return environment
