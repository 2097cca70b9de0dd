"""The life of an issue: opened, seen again, resolved. One (cluster, finding, subject) is one issue."""

from collections.abc import Iterable
from uuid import UUID, uuid5

from whenever import Instant

from copilot.rules.model import Detected, DetectedIssue, Evaluation, ReportedState

ISSUES = UUID("6f0c1d52-0b7e-5d0a-9a3c-3d1f6f1c9b11")

Key = tuple[str, str]


def key(issue: Detected) -> Key:
    """Equal for findings of one cluster that are the same problem."""
    return issue.finding, issue.subject


def advance(
    evaluation: Evaluation, known: Iterable[DetectedIssue], newer: Evaluation | None = None
) -> list[DetectedIssue]:
    """The issues that an evaluation opens, sees again or resolves; unchanged ones are left out.

    `known` are the cluster's issues that were not resolved at the evaluation's time. `newer`: the next later evaluation
    that is stored already. Then this one is late: it fills in the past, and neither reopens nor resolves what the later
    one decided."""
    time = evaluation.time
    known = list(known)
    seen = {key(f) for f in evaluation.findings}
    later = {key(f) for f in newer.findings} if newer else set()
    changed = []
    for finding in evaluation.findings:
        mine = [i for i in known if key(i) == key(finding)]
        lasting = next((i for i in mine if i.first_seen <= time), None)
        if lasting is not None and newer is None:
            changed.append(_stored(finding, lasting.id, lasting.first_seen, max(lasting.last_seen, time), None))
        elif lasting is not None:
            changed.append(lasting.model_copy(update={"last_seen": max(lasting.last_seen, time)}))
        elif newer is not None and key(finding) in later and mine:
            begun = min(mine, key=lambda i: i.first_seen)
            changed.append(begun.model_copy(update={"first_seen": time}))
        else:
            new_id = str(uuid5(ISSUES, "\n".join((evaluation.cluster, *key(finding), evaluation.evaluation_id))))
            changed.append(_stored(finding, new_id, time, time, newer.time if newer else None))
    # In a stale or unknown evaluation, an absent finding does not mean that the problem is over.
    if not evaluation.verdict.stale and evaluation.verdict.health_state is not ReportedState.UNKNOWN:
        changed += [
            i.model_copy(update={"resolved_at": time})
            for i in known
            if key(i) not in seen and i.last_seen < time and (newer is None or i.resolved_at is not None)
        ]
    return changed


def _stored(
    finding: Detected, issue_id: str, first_seen: Instant, last_seen: Instant, resolved_at: Instant | None
) -> DetectedIssue:
    fields = {name: getattr(finding, name) for name in Detected.model_fields}
    return DetectedIssue(**fields, id=issue_id, first_seen=first_seen, last_seen=last_seen, resolved_at=resolved_at)
