"""The page's content for the templates, and their rendering."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markdown_it import MarkdownIt
from markupsafe import Markup, escape
from whenever import Instant

from copilot.explain.changes import before_words, change_words
from copilot.explain.executions import executions_sentence, workers_sentence
from copilot.explain.explanation import freshness
from copilot.explain.mutes import about, muted_words
from copilot.explain.numbers import NOTHING, bounded, duration, quantity
from copilot.explain.processes import ProcessRow, process_rows, processes_sentence
from copilot.rules.model import GateResult, ReportedState, Severity, StoredIssue
from copilot.rules.signals.change import Change
from copilot.rules.signals.readings import LogPattern
from copilot.rules.signals.taxonomy import SPECS
from copilot.rules.staleness import unknown_after_sec
from copilot.sources.knowledge.runbooks import Runbook, anchor
from copilot.store.base import TimelinePoint
from copilot.web import drawing
from copilot.web.cards import Callout, Card, all_signals, callout, key_signals, remedies, unread
from copilot.web.mutes import MuteRow, mute_rows
from copilot.web.verdicts import VerdictView

UNJUDGED = {
    None: "unjudged",
    "missing": "unjudged: readings are missing",
    "no_traffic": "unjudged: no traffic",
    "not_expected": "unjudged: no source measures it",
    "recovering": "unjudged: just recovered",
}
MEANS = {
    ReportedState.HAPPY: "making progress",
    ReportedState.STRESSED: "degraded but progressing",
    ReportedState.CRITICAL: "no forward progress",
    ReportedState.UNKNOWN: "not enough data",
}
LOG_COLUMNS = ("count", "service", "level", "pattern", "first", "last")
MAX_STEP_SEC = 600.0
GATES_SHOWN = 9
CHANGES_SHOWN = 32
WORKERS_SHOWN = 50
MARKS_SHOWN = 40
TABS_SHOWN = 8
"""With more clusters only those that are not happy have a tab beside the one that is shown."""
SPANS_MIN = (5, 15, 60, 360)
PAST_HOURS = 3
"""How much of the timeline a historical view shows before and after its time."""


def ago(time: Instant, now: Instant) -> str:
    """How long ago, as text."""
    seconds = (now - time).total("seconds")
    return "just now" if seconds < 1 else f"{duration(round(seconds))} ago"


def clock(time: Instant, now: Instant) -> str:
    """The time of day in UTC, with the date if it is another day."""
    text = time.round("second", mode="floor").format_iso().removesuffix("Z")
    day, _, hour = text.partition("T")
    return f"{hour} UTC" if now.format_iso().startswith(day) else f"{day} {hour} UTC"


def words(name: str) -> str:
    """An identifier (work_stalled) as words."""
    text = name.replace("_", " ").replace(".", " · ")
    return text[:1].upper() + text[1:]


def prose(text: str) -> Markup:
    """A sentence as HTML: escaped, with `names` in backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))


@dataclass(frozen=True, slots=True)
class PageQuery:
    """The parameters of the page. `cluster` None: the overview. `at`: a time in the past, None: now. `show`: only this
    state. `sort`: the column of log patterns, one of LOG_COLUMNS."""

    cluster: str | None = None
    at: Instant | None = None
    show: ReportedState | None = None
    sort: str = "count"

    def href(self, **changed: Any) -> str:
        """The address of this page with some parameters changed."""
        to = replace(self, **changed)
        parameters = {
            "cluster": to.cluster,
            "at": to.at.round("second", mode="ceil").format_iso() if to.at else None,
            "show": to.show.value if to.show else None,
            "sort": to.sort if to.sort != "count" else None,
        }
        query = urlencode({name: value for name, value in parameters.items() if value is not None})
        return f"/?{query}" if query else "/"


@dataclass(frozen=True)
class Page:
    """The page of one cluster. In a historical view `verdict` is that of `query.at`, and `today` is the current time.
    `trend`: the last points with signals; `strip`: the timeline; `issues`: those of the last day; `changed`: the
    changes over the timeline, the newest first; `runbooks`: the names of all runbooks; `acts`: whether the reader may
    do more than read."""

    query: PageQuery
    tabs: Sequence[VerdictView]
    verdict: VerdictView
    today: Instant
    degraded_because: str | None
    trend: Sequence[TimelinePoint] = ()
    strip: Sequence[TimelinePoint] = ()
    issues: Sequence[StoredIssue] = ()
    changed: Sequence[Change] = ()
    runbooks: frozenset[str] = field(default=frozenset())
    logged_in: bool = False
    acts: bool = True

    @property
    def historical(self) -> bool:
        """Whether this shows a time in the past."""
        return self.query.at is not None

    @property
    def warning(self) -> str | None:
        """The sentence that must not be missed: the verdict is old, or there is none; None when it is fresh."""
        e = self.verdict.evaluation
        if e is None and self.historical:
            return "No evaluation is stored for this time."
        if e is None:
            return "No evaluation of this cluster has been received yet."
        if self.verdict.state is ReportedState.UNKNOWN:
            before = f" Before that: {e.verdict.last_known_state}." if e.verdict.last_known_state else ""
            return f"Unknown since {clock(e.verdict.since, self.verdict.now)}.{before}"
        return "Stale: this state is held without fresh evidence." if e.verdict.stale else None

    @property
    def freshness(self) -> str:
        """How old metrics are that come late by design; empty where all readings are live."""
        return freshness(self.verdict.evaluation.signals) if self.verdict.evaluation else ""

    @property
    def outdated(self) -> bool:
        """Whether the evaluation is so old that its readings say nothing about now."""
        e, age = self.verdict.evaluation, self.verdict.age_sec
        return e is not None and age is not None and age > unknown_after_sec(e.interval_sec)

    @cached_property
    def callout(self) -> Callout | None:
        """The worst finding; None without one, or when it is outdated."""
        return callout(self.verdict.evaluation) if self.verdict.evaluation and not self.outdated else None

    @property
    def rules_summary(self) -> str:
        """The state and the gates that decided it, from the rules alone."""
        e = self.verdict.evaluation
        if e is None:
            return ""
        firing = [g.sentence or words(g.name) for g in e.verdict.gates if g.fired]
        why = "; ".join(firing) if firing else "no gate is firing"
        return f"{words(self.verdict.state.value)} since {clock(e.verdict.since, self.verdict.now)}: {why}."

    @cached_property
    def mutes(self) -> list[MuteRow]:
        """What is muted, will be, or was until lately."""
        return mute_rows(self.verdict)

    @property
    def muted(self) -> str:
        """Until when, by whom and why the verdict's notifications are held back; empty where they are sent."""
        judged = self.verdict.muted
        return muted_words(judged.by, judged.until) if judged and judged.by and judged.until else ""

    @property
    def finding_names(self) -> list[str]:
        """The findings that can be silenced, the first one first."""
        e = self.verdict.evaluation
        return list(dict.fromkeys(f.finding for f in e.findings)) if e else []

    @cached_property
    def gates(self) -> list[GateResult]:
        """Gates: firing ones (critical before warning), those with missing readings, and the rest, the nearest to their
        threshold first."""
        return sorted(self.verdict.evaluation.verdict.gates, key=_interest) if self.verdict.evaluation else []

    @property
    def gates_shown(self) -> int:
        """How many gates are visible at first: all that are firing, and some more."""
        return max(GATES_SHOWN, sum(g.fired is True for g in self.gates))

    @cached_property
    def cards(self) -> list[tuple[str, list[Card]]]:
        """The key signals by topic."""
        e = self.verdict.evaluation
        return key_signals(e.signals, self.trend, self.verdict.now, self._point_lasts_sec(self.trend)) if e else []

    @property
    def trend_sec(self) -> int:
        """How long a time the sparklines cover, in whole minutes."""
        return 60 * math.ceil((self.verdict.now - self.trend[0].time).total("minutes")) if self.trend else 0

    @property
    def processes(self) -> Sequence[ProcessRow]:
        """Every process that is read, or was; those that are not read first."""
        e = self.verdict.evaluation
        return process_rows(e.processes, self.verdict.now) if e else ()

    @property
    def processes_sentence(self) -> str:
        """How many processes are read, and which is not."""
        e = self.verdict.evaluation
        return processes_sentence(e.processes, self.verdict.now) if e else ""

    @property
    def logs(self) -> list[LogPattern]:
        """Log patterns by the chosen column; counts and times in descending order."""
        patterns = list(self.verdict.evaluation.signals.logs) if self.verdict.evaluation else []
        patterns.sort(key=lambda p: p.count, reverse=True)
        match self.query.sort:
            case "service" | "level" | "pattern" as column:
                patterns.sort(key=lambda p: str(getattr(p, column) or "").lower())
            case "first":
                patterns.sort(key=lambda p: p.first_seen or p.last_seen, reverse=True)
            case "last":
                patterns.sort(key=lambda p: p.last_seen, reverse=True)
        return patterns

    @cached_property
    def issues_shown(self) -> list[StoredIssue]:
        """Issues of the last day; with a state filter, those that cause the state."""
        causes = {ReportedState.CRITICAL: Severity.CRITICAL, ReportedState.STRESSED: Severity.WARNING}
        show = self.query.show
        return [i for i in self.issues if show is None or i.severity is causes.get(show)]

    @property
    def window(self) -> tuple[Instant, Instant]:
        """What the timeline covers: up to now, or around the historical time."""
        end = min(self.today, self.verdict.now.add(minutes=self.span_min)) if self.historical else self.verdict.now
        return self.verdict.now.subtract(minutes=self.span_min), end

    @property
    def span_min(self) -> int:
        """Minutes of the timeline before now, as far as there is history; on each side of a historical time."""
        spans = (*SPANS_MIN[:-1], 60 * PAST_HOURS) if self.historical else SPANS_MIN
        far = [abs((self.verdict.now - p.time).total("minutes")) for p in (*self.strip[:1], *self.strip[-1:])]
        return next((span for span in spans if max(far, default=0.0) <= span), spans[-1])

    @cached_property
    def stretches(self) -> tuple[drawing.Stretch, ...]:
        """The timeline as stretches of one state."""
        return drawing.strip(self.strip, *self.window, self._point_lasts_sec(self.strip))

    @cached_property
    def changes(self) -> list[drawing.Stretch]:
        """The stretches that pass the state filter, the newest first."""
        shown = [s for s in self.stretches if self.query.show is None or s.state == self.query.show.value]
        return shown[::-1]

    @cached_property
    def marked(self) -> list[tuple[float, Change]]:
        """The changes on the timeline, the newest first, each with its place (0…1000)."""
        start, end = self.window
        inside = [c for c in self.changed if start <= c.at <= end][:MARKS_SHOWN]
        return [(round(drawing.place(c.at, start, end), 1), c) for c in inside]

    @property
    def earlier(self) -> Instant | None:
        """The change of state before the historical time's stretch; None without one."""
        begun = [s.begin for s in self.stretches if s.begin <= self.verdict.now]
        return begun[-2] if len(begun) > 1 else None

    @property
    def later(self) -> Instant | None:
        """The next change of state after the historical time; None without one."""
        return next((s.begin for s in self.stretches if s.begin > self.verdict.now), None)

    @property
    def marker(self) -> float:
        """The historical time's place on the timeline (0…1000)."""
        return round(drawing.place(self.verdict.now, *self.window), 1)

    @property
    def marks(self) -> list[str]:
        """The labels under the equal parts of the timeline."""
        start, end = self.window
        if self.historical:
            part = (end - start).total("seconds") / 6
            digits = 5 if self.span_min > 15 else 8
            return [clock(start.add(seconds=i * part), start)[:digits] for i in range(6)]
        parts = 6 if self.span_min % 60 == 0 else 5
        return [f"−{duration(60 * self.span_min * (parts - i) / parts)}" for i in range(parts)]

    def _point_lasts_sec(self, points: Sequence[TimelinePoint]) -> float:
        """Seconds a point holds: a gap is longer than a verdict lasts, and than two steps between points."""
        lasts = unknown_after_sec(self.verdict.evaluation.interval_sec) if self.verdict.evaluation else MAX_STEP_SEC
        step = (points[-1].time - points[0].time).total("seconds") / (len(points) - 1) if len(points) > 1 else 0.0
        return max(lasts, 2 * step)


def _interest(gate: GateResult) -> tuple[int, bool, float]:
    unjudged = 1 if gate.unjudged in (None, "missing") else 3
    rank = unjudged if gate.fired is None else 0 if gate.fired else 2
    return rank, gate.severity is not Severity.CRITICAL, gate.margin if gate.margin is not None else 0.0


def render(template: str, **content: object) -> str:
    """The HTML of a file of `templates`. page.html and overview.html are whole pages of `page` and `overview`, and
    live.html and overview_live.html their live parts; a template fails where content that it names is missing."""
    return _environment().get_template(template).render(**content)


def runbook_html(runbook: Runbook) -> str:
    """The runbook as an `<article>`; its headings have the anchors by which its sections are cited."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    tokens = markdown.parse(runbook.markdown)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrSet("id", anchor(inline.content))
    for token in (child for t in tokens for child in t.children or ()):
        if token.type == "link_open" and not str(token.attrGet("href") or "").startswith("#"):
            token.attrSet("rel", "noopener noreferrer")
    return f'<article class="runbook">\n{markdown.renderer.render(tokens, markdown.options, {})}</article>\n'


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
        f.__name__: f
        for f in (
            *(quantity, words, clock, ago, bounded, duration, prose, remedies, all_signals, unread),
            *(executions_sentence, workers_sentence, before_words, change_words, about),
        )
    }
    environment.globals |= {
        "CHANGES_SHOWN": CHANGES_SHOWN,
        "TABS_SHOWN": TABS_SHOWN,
        "WORKERS_SHOWN": WORKERS_SHOWN,
        "LOG_COLUMNS": LOG_COLUMNS,
    }
    environment.globals |= {"MEANS": MEANS, "NOTHING": NOTHING, "UNJUDGED": UNJUDGED, "SPECS": SPECS}
    environment.globals["STATES"] = tuple(ReportedState)
    return environment
