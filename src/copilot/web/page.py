"""Numbers and instants as people read them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markdown_it import MarkdownIt
from whenever import Instant

from copilot.explain import ExplainedEvaluation
from copilot.explain import numbers as figures
from copilot.explain.numbers import duration
from copilot.rules.model import GateResult, ReportedState, Severity, StoredIssue
from copilot.rules.signals.readings import LogPattern
from copilot.rules.signals.taxonomy import SPECS
from copilot.rules.staleness import unknown_after_sec
from copilot.sources.knowledge.local import Runbook
from copilot.sources.knowledge.sections import anchor
from copilot.store.base import TimelinePoint
from copilot.web import drawing
from copilot.web.cards import Callout, Card, Remedy, Row, all_signals, callout, key_signals, remedies, unread
from copilot.web.overview import ClusterCard, Overview


def ago(time: Instant, now: Instant) -> str:
    """How long ago, in words."""
    seconds = (now - time).total("seconds")
    return "just now" if seconds < 1 else f"{duration(round(seconds))} ago"


def clock(time: Instant, now: Instant) -> str:
    """The time of day in UTC, with the date if it is another day."""
    text = time.round("second", mode="floor").format_iso().removesuffix("Z")
    day, _, hour = text.partition("T")
    return f"{hour} UTC" if now.format_iso().startswith(day) else f"{day} {hour} UTC"


def words(name: str) -> str:
    """A name of ours (work_stalled) as words."""
    text = name.replace("_", " ").replace(".", " · ")
    return text[:1].upper() + text[1:]


UNJUDGED = {
    None: "could not be judged",
    "missing": "not judged: readings are missing",
    "no_traffic": "not judged: no traffic",
    "not_expected": "not judged: nothing here measures it",
    "recovering": "not judged: just recovered",
}

MEANS = {
    ReportedState.HAPPY: "making progress",
    ReportedState.STRESSED: "progress, but with pain",
    ReportedState.CRITICAL: "no forward progress",
    ReportedState.UNKNOWN: "this cluster cannot be seen",
}


LOG_COLUMNS = ("count", "service", "level", "pattern", "first", "last")


@dataclass(frozen=True, slots=True)
class View:
    """`cluster` None: the overview. `at`: a moment of the past, None: now. `show`: only what was in this state.
    `sort`: the column log patterns are sorted by, one of LOG_COLUMNS."""

    cluster: str | None = None
    at: Instant | None = None
    show: ReportedState | None = None
    sort: str = "count"

    def href(self, **changed: Any) -> str:
        """The address of this view with some of it changed."""
        to = replace(self, **changed)
        asked = {
            "cluster": to.cluster,
            "at": to.at.round("second", mode="ceil").format_iso() if to.at else None,
            "show": to.show.value if to.show else None,
            "sort": to.sort if to.sort != "count" else None,
        }
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        return f"/?{query}" if query else "/"


def guide_html(runbook: Runbook) -> str:
    """The runbook as an `<article>`; its headings bear the anchors that passages of runbooks are cited by."""
    markdown = _markdown()
    tokens = markdown.parse(runbook.markdown)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrSet("id", anchor(inline.content))
    for token in (child for t in tokens for child in t.children or ()):
        if token.type == "link_open" and not str(token.attrGet("href") or "").startswith("#"):
            token.attrSet("rel", "noopener noreferrer")
    return f'<article class="guide">\n{markdown.renderer.render(tokens, markdown.options, {})}</article>\n'


@cache
def _markdown() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")


LONGEST_STEP_SEC = 600.0
GATES_AT_ONCE = 9
CHANGES_AT_ONCE = 32
TABS_AT_ONCE = 8
"""Of more clusters only those that are not happy are named beside the one that is shown."""
SPANS_MIN = (5, 15, 60, 360)
PAST_HOURS = 3
"""How much of the timeline a page about the past shows before and after its moment."""


@dataclass(frozen=True)
class Page:
    """Everything the page shows. `evaluation` as it must be read at `now` (None: nothing heard yet); where
    `view.at` says a moment of the past, `now` is that moment and `today` is the clock. `trend` are the last points with
    signals, `strip` the timeline, `issues` those of the last day; `guides` are the runbooks there are."""

    view: View
    tabs: tuple[ClusterCard, ...]
    evaluation: ExplainedEvaluation | None
    now: Instant
    today: Instant
    age_sec: float | None
    degraded_because: str | None
    trend: Sequence[TimelinePoint] = ()
    strip: Sequence[TimelinePoint] = ()
    issues: Sequence[StoredIssue] = ()
    guides: frozenset[str] = field(default=frozenset())
    logged_in: bool = False

    @property
    def cluster(self) -> str:
        """The cluster's name."""
        return self.view.cluster or ""

    @property
    def past(self) -> bool:
        """Whether this tells of a moment of the past."""
        return self.view.at is not None

    @property
    def state(self) -> ReportedState:
        """The state; unknown before the first evaluation."""
        return self.evaluation.verdict.health_state if self.evaluation else ReportedState.UNKNOWN

    @property
    def loud(self) -> str | None:
        """The sentence that must not be overlooked: that this is old; None when it is fresh."""
        e = self.evaluation
        if e is None:
            return "Nothing is kept of this moment." if self.past else "Nothing has been heard of this cluster yet."
        if e.verdict.health_state is ReportedState.UNKNOWN:
            before = f" Before that: {e.verdict.last_known_state}." if e.verdict.last_known_state else ""
            return f"Unknown since {clock(e.verdict.since, self.now)}.{before}"
        if e.verdict.stale:
            return "Stale: this state is held without fresh evidence."
        return None

    @property
    def outlived(self) -> bool:
        """Whether the evaluation is so old that what it read is the past."""
        e = self.evaluation
        return e is not None and self.age_sec is not None and self.age_sec > unknown_after_sec(e.interval_sec)

    @cached_property
    def callout(self) -> Callout | None:
        """The worst finding; None where what was read is the past."""
        return callout(self.evaluation) if self.evaluation and not self.outlived else None

    @property
    def rules_say(self) -> str:
        """The state and what decided it, in the rules' own words, whoever wrote the rest."""
        e = self.evaluation
        if e is None:
            return ""
        fired = [g.sentence or words(g.name) for g in e.verdict.gates if g.fired]
        why = "; ".join(fired) if fired else "no gate fires"
        return f"{words(self.state.value)} since {clock(e.verdict.since, self.now)}: {why}."

    @cached_property
    def gates(self) -> list[GateResult]:
        """Gates: fired first (critical before warning), then those whose readings are missing, then the rest, the
        nearest to its threshold first."""
        return sorted(self.evaluation.verdict.gates, key=_interest) if self.evaluation else []

    @property
    def gates_shown(self) -> int:
        """How many of them are shown at once: all that fire, and some more."""
        return max(GATES_AT_ONCE, sum(g.fired is True for g in self.gates))

    @cached_property
    def remedies(self) -> list[Remedy]:
        """What to do, first things first."""
        return remedies(self.evaluation.findings) if self.evaluation else []

    @cached_property
    def cards(self) -> list[tuple[str, list[Card]]]:
        """Key signals by what they are about."""
        if self.evaluation is None:
            return []
        return key_signals(self.evaluation.signals, self.trend, self.now, self._lasts_sec(self.trend))

    @property
    def trend_sec(self) -> int:
        """How long a time the courses of the key signals cover, in whole minutes."""
        return 60 * math.ceil((self.now - self.trend[0].time).total("minutes")) if self.trend else 0

    @property
    def rows(self) -> list[tuple[str, list[Row]]]:
        """All signals by kind."""
        return all_signals(self.evaluation.signals) if self.evaluation else []

    @cached_property
    def unread(self) -> list[Row]:
        """Expected signals that could not be read, with the reason."""
        return unread(self.evaluation.signals) if self.evaluation else []

    @property
    def logs(self) -> list[LogPattern]:
        """Log patterns by the column the reader chose; counts and times the largest first."""
        told = list(self.evaluation.signals.logs) if self.evaluation else []
        told.sort(key=lambda p: p.count, reverse=True)
        match self.view.sort:
            case "service" | "level" | "pattern" as column:
                told.sort(key=lambda p: str(getattr(p, column) or "").lower())
            case "first":
                told.sort(key=lambda p: p.first_seen or p.last_seen, reverse=True)
            case "last":
                told.sort(key=lambda p: p.last_seen, reverse=True)
        return told

    @cached_property
    def issues_shown(self) -> list[StoredIssue]:
        """Issues of the last day; where only one state is asked for, those that make it."""
        of = {ReportedState.CRITICAL: Severity.CRITICAL, ReportedState.STRESSED: Severity.WARNING}
        wanted = of.get(self.view.show) if self.view.show else None
        return [i for i in self.issues if self.view.show is None or i.severity is wanted]

    @property
    def window(self) -> tuple[Instant, Instant]:
        """What the timeline covers: up to now, or around the past moment, as far as there is something to show."""
        if self.past:
            return self.now.subtract(minutes=self.span_min), min(self.today, self.now.add(minutes=self.span_min))
        return self.now.subtract(minutes=self.span_min), self.now

    @property
    def span_min(self) -> int:
        """Minutes the timeline covers before now; of the past moment before and after it."""
        spans = (*SPANS_MIN[:-1], 60 * PAST_HOURS) if self.past else SPANS_MIN
        far = [abs((self.now - p.time).total("minutes")) for p in (*self.strip[:1], *self.strip[-1:])]
        return next((span for span in spans if max(far, default=0.0) <= span), spans[-1])

    @cached_property
    def stretches(self) -> tuple[drawing.Stretch, ...]:
        """The timeline as stretches of one state."""
        return drawing.strip(self.strip, *self.window, self._lasts_sec(self.strip))

    @cached_property
    def changes(self) -> list[drawing.Stretch]:
        """The stretches the reader asked for, the newest first."""
        wanted = [s for s in self.stretches if self.view.show is None or s.state == self.view.show.value]
        return wanted[::-1]

    @property
    def earlier(self) -> Instant | None:
        """When the state changed last before the past moment's stretch."""
        begun = [s.begin for s in self.stretches if s.begin <= self.now]
        return begun[-2] if len(begun) > 1 else None

    @property
    def later(self) -> Instant | None:
        """When the state changed next after the past moment."""
        return next((s.begin for s in self.stretches if s.begin > self.now), None)

    @property
    def marker(self) -> float:
        """Where on the timeline (0…1000) the past moment lies."""
        start, end = self.window
        return round(drawing.STRIP_WIDTH * (self.now - start).total("seconds") / (end - start).total("seconds"), 1)

    @property
    def marks(self) -> list[str]:
        """What to write under the equal parts of the timeline."""
        start, end = self.window
        if self.past:
            part = (end - start).total("seconds") / 6
            digits = 5 if self.span_min > 15 else 8
            return [clock(start.add(seconds=i * part), start)[:digits] for i in range(6)]
        parts = 6 if self.span_min % 60 == 0 else 5
        return [f"−{figures.duration(60 * self.span_min * (parts - i) / parts)}" for i in range(parts)]

    def _lasts_sec(self, points: Sequence[TimelinePoint]) -> float:
        """How long a point holds: a hole is longer than a verdict lasts, and than two steps between points."""
        lasts = unknown_after_sec(self.evaluation.interval_sec) if self.evaluation else LONGEST_STEP_SEC
        step = (points[-1].time - points[0].time).total("seconds") / (len(points) - 1) if len(points) > 1 else 0.0
        return max(lasts, 2 * step)


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


def render_overview(overview: Overview, *, whole: bool) -> str:
    """Several clusters at a glance; `whole`: not only the live part."""
    return _environment().get_template("overview.html" if whole else "overview_live.html").render(overview=overview)


def render_guide(title: str, article: str) -> str:
    """A runbook, given as HTML, as a page of its own."""
    return _environment().get_template("guide.html").render(title=title, article=article)


def render_login(target: str, *, refused: bool) -> str:
    """The login; `target` is where it leads."""
    return _environment().get_template("login.html").render(target=target, refused=refused)


def render_error(
    title: str, message: str, what_to_do: str, *, status: int, field: str | None, request_id: str | None
) -> str:
    """An error for a reader: what went wrong (about the parameter `field`, if any) and what to do about it."""
    return (
        _environment()
        .get_template("error.html")
        .render(title=title, message=message, what_to_do=what_to_do, status=status, field=field, request_id=request_id)
    )


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
        "words": words,
        "clock": clock,
        "ago": ago,
        "duration": figures.duration,
    }
    environment.globals |= {
        "CHANGES_AT_ONCE": CHANGES_AT_ONCE,
        "TABS_AT_ONCE": TABS_AT_ONCE,
        "LOG_COLUMNS": LOG_COLUMNS,
        "MEANS": MEANS,
        "NOTHING": figures.NOTHING,
        "STATES": tuple(ReportedState),
        "UNJUDGED": UNJUDGED,
        "SPECS": SPECS,
    }
    return environment
