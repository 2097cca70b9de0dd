"""Issues as they are to be told now: their life is the store's, their words are the newest evaluation's."""

from collections.abc import Mapping
from operator import itemgetter

from copilot.explain import ExplainedEvaluation, explained_issue
from copilot.rules.model import DetectedIssue, Issue, Severity, StoredIssue
from copilot.store.base import Store
from copilot.store.issue_life import key, live_on

MAX_ISSUES = 500
MAX_OPEN = 5_000
"""More than one evaluation can find: in practice, all."""


async def stored_issues(
    store: Store, cluster: str, *, resolved: int = 0, severity: Severity | None = None
) -> list[DetectedIssue]:
    """The open issues, of whatever severity (the newest evaluation may know a better one), and of the resolved ones of
    a severity the last `resolved`. StoreError."""
    found = await store.issues(cluster, limit=MAX_OPEN)
    if resolved:
        found += await store.resolved_issues(cluster, severity=severity, limit=resolved)
    # What was resolved between the two questions is in both answers.
    return list({i.id: i for i in found}.values())


def as_the_newest_sees_them(newest: ExplainedEvaluation | None, stored: list[DetectedIssue]) -> list[StoredIssue]:
    """Stored issues in words, each as the newest evaluation changes it, and those only it knows: the open ones, the
    worst first, then the resolved ones, the last resolved first."""
    open_ = [i for i in stored if i.resolved_at is None]
    changed = {i.id: i for i in live_on(newest, open_)} if newest else {}
    known = {key(i) for i in open_}
    merged = [changed.pop(i.id, i) for i in stored]
    all_ = [*(i for i in changed.values() if key(i) not in known), *merged]
    over = [(i.resolved_at, i) for i in all_ if i.resolved_at is not None]
    ranked = [
        *sorted((i for i in all_ if i.resolved_at is None), key=lambda i: i.severity.value),
        *(i for _, i in sorted(over, key=itemgetter(0), reverse=True)),
    ]
    words = {key(i): i for i in newest.findings} if newest else {}
    return [_in_words(i, words) for i in ranked]


def _in_words(issue: DetectedIssue, words: Mapping[tuple[str, str], Issue]) -> StoredIssue:
    """The issue in the words of the newest evaluation, while it is open and that evaluation has it."""
    current = words.get(key(issue)) if issue.resolved_at is None else None
    if current is None:
        return explained_issue(issue)
    life = {name: getattr(issue, name) for name in ("id", "first_seen", "last_seen", "resolved_at")}
    return StoredIssue(**{name: getattr(current, name) for name in Issue.model_fields}, **life)
