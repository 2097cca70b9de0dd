"""What the store adds to the newest verdict: stored issues, verdicts of the past, and the page's timeline."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from whenever import Instant

from copilot.api.deps import Deps
from copilot.api.errors import Problem
from copilot.api.live import MOST_CHANGES, trigger_of
from copilot.errors import StoreError
from copilot.explain import ExplainedEvaluation, explained_as_of, explained_issue
from copilot.explain.changes import with_changes
from copilot.explain.model.answer import in_words
from copilot.rules.changes import BEFORE, changes_before
from copilot.rules.model import DetectedIssue, Issue, Severity, StoredIssue
from copilot.rules.signals.change import Change
from copilot.rules.staleness import age_sec
from copilot.store.base import Store, TimelinePoint
from copilot.store.issue_life import advance, key
from copilot.web.page import PAST_HOURS
from copilot.web.verdicts import VerdictView

MAX_ISSUES = 500
MAX_OPEN = 5_000
"""More than one evaluation can find: in practice, all."""
TREND_HOURS, TREND_POINTS = 1, 90
STRIP_HOURS, STRIP_POINTS = 6, 400
ISSUES_HOURS = 24
T = TypeVar("T")


async def view_at(deps: Deps, cluster: str, at: Instant) -> VerdictView:
    """A cluster's verdict as it read at `at`. Problem 404 for a time in the future; StoreError."""
    if at > deps.now():
        raise Problem(404, "yet_to_come", f"{at.format_iso()} is in the future", "at")
    stored = await deps.store.evaluation_at(cluster, at)
    if stored is None:
        return VerdictView(cluster, at)
    original, changes = in_words(stored), list[Change]()
    if stored.began is not None:
        changes = await deps.store.changes(cluster, stored.began - BEFORE, stored.began, MOST_CHANGES)
    before = changes_before(changes, stored)
    shown, age = with_changes(explained_as_of(original, at), before), age_sec(stored, at)
    return VerdictView(cluster, at, shown, original, age, trigger_of(original), changes=before)


async def from_store(view: VerdictView, read: Callable[[], Awaitable[T]], otherwise: T) -> tuple[T, str | None]:
    """What is read, or `otherwise` and why the store did not answer. It is not queried if it did not answer the last
    time: it may hang."""
    if view.store_problem is not None:
        return otherwise, view.store_problem
    try:
        return await read(), None
    except StoreError as error:
        return otherwise, str(error)


async def stored_issues(
    store: Store, cluster: str, *, resolved: int = 0, severity: Severity | None = None
) -> list[DetectedIssue]:
    """All open issues, of any severity (the newest evaluation may change it), and of a severity the `resolved` issues
    that were resolved last. StoreError."""
    found = await store.issues(cluster, limit=MAX_OPEN)
    if resolved:
        found += await store.resolved_issues(cluster, severity=severity, limit=resolved)
    # An issue that is resolved between the two queries is in both results.
    return list({i.id: i for i in found}.values())


def current_issues(newest: ExplainedEvaluation | None, stored: list[DetectedIssue]) -> list[StoredIssue]:
    """Stored issues explained, as the newest evaluation changes them, with those that only it knows: open ones first,
    critical before warning, then resolved ones, the last resolved first."""
    open_ = [i for i in stored if i.resolved_at is None]
    changed = {i.id: i for i in advance(newest, open_)} if newest else {}
    known = {key(i) for i in open_}
    merged = [changed.pop(i.id, i) for i in stored]
    issues = [*(i for i in changed.values() if key(i) not in known), *merged]
    issues.sort(key=lambda i: i.resolved_at or Instant.MAX, reverse=True)
    issues.sort(key=lambda i: (1, "") if i.resolved_at else (0, i.severity.value))
    current = {key(i): i for i in newest.findings} if newest else {}
    return [_with_text(i, current.get(key(i)) if i.resolved_at is None else None) for i in issues]


def _with_text(issue: DetectedIssue, current: Issue | None) -> StoredIssue:
    """The issue with the text of the newest evaluation's finding, or its own as it was last seen."""
    if current is None:
        return explained_issue(issue)
    life = {name: getattr(issue, name) for name in ("id", "first_seen", "last_seen", "resolved_at")}
    return StoredIssue(**{name: getattr(current, name) for name in Issue.model_fields}, **life)


@dataclass(frozen=True, slots=True)
class History:
    """What the page draws besides the verdict: points with signals, the timeline and the changes over it, issues of the
    last day. `problem` says why the store did not answer, None when it did."""

    trend: list[TimelinePoint] = field(default_factory=list)
    strip: list[TimelinePoint] = field(default_factory=list)
    issues: list[StoredIssue] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    problem: str | None = None


class PageHistory:
    """The history for the page; the current one is read from the store once per tick, not once per reader."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._latest: dict[str, tuple[str, History]] = {}

    async def until_now(self, view: VerdictView) -> History:
        """The last hour with signals, the last hours without, and the issues of the last day."""
        tick = view.evaluation.evaluation_id if view.evaluation else ""
        latest = self._latest.get(view.cluster)
        if latest is not None and latest[0] == tick:
            return latest[1]
        last = latest[1] if latest else History()
        history, problem = await from_store(view, partial(self._until_now, view), last)
        if problem is not None:
            return replace(history, problem=problem)
        if history.strip and view.evaluation and history.strip[-1].time >= view.evaluation.time:
            self._latest[view.cluster] = (tick, history)
        return history

    async def _until_now(self, view: VerdictView) -> History:
        history = await self._read(view, view.now.subtract(hours=STRIP_HOURS), view.now)
        stored = await stored_issues(self._deps.store, view.cluster, resolved=MAX_ISSUES)
        since = view.now.subtract(hours=ISSUES_HOURS)
        issues = current_issues(view.evaluation, stored)
        return replace(history, issues=[i for i in issues if i.resolved_at is None or i.resolved_at >= since])

    async def around(self, cluster: str, at: Instant) -> tuple[VerdictView, History]:
        """The verdict at a time in the past, and the timeline around it. StoreError."""
        view = await view_at(self._deps, cluster, at)
        return view, await self._read(view, at.subtract(hours=PAST_HOURS), at.add(hours=PAST_HOURS))

    async def _read(self, view: VerdictView, start: Instant, end: Instant) -> History:
        store, now, cluster = self._deps.store, view.now, view.cluster
        trend = await store.timeline(cluster, now.subtract(hours=TREND_HOURS), now, TREND_POINTS, signals=True)
        points = await store.timeline(cluster, start, end, STRIP_POINTS)
        return History(trend, points, changes=await store.changes(cluster, start, end, MOST_CHANGES))
