"""Contributing factors, ranked by the causal chain: the earliest broken link first, its consequences after it.

One function a finding; each looks at the facts of a tick and says an issue or nothing. Findings may look at amplifiers
and worker signals: they explain, the state is already decided.
"""

from collections.abc import Callable

from copilot.explain.narrative import WAKE
from copilot.rules.findings import queues as queue
from copilot.rules.findings import server
from copilot.rules.findings import workers as worker
from copilot.rules.findings.context import Facts
from copilot.rules.gates.registry import FINISHED_WORK
from copilot.rules.model import Issue

FINDINGS: tuple[Callable[[Facts], Issue | None], ...] = (
    server.server_unreachable,
    server.metrics_blind,
    server.persistence_failing,
    server.persistence_throttled,
    server.rate_limited,
    server.frontend_errors,
    queue.version_without_pollers,
    queue.no_pollers,
    worker.load_burst,
    worker.slots_exhausted,
    server.membership_change,
    server.shard_churn,
    server.persistence_slow,
    server.history_backlog,
    worker.workflow_task_failures,
    worker.retry_storm,
    worker.sticky_cache_thrash,
    worker.worker_slow,
    queue.backlog_draining,
    server.frontend_slow,
    worker.poller_executor_mismatch,
    worker.application_failures,
    server.client_mistakes,
    queue.abandoned_queue,
)


NOTES = frozenset({"client_mistakes", "abandoned_queue", "poller_executor_mismatch"})


def findings(facts: Facts) -> tuple[Issue, ...]:
    """All that was found, the likeliest cause first; then what one slow moment may have caused; then what is worth
    knowing and causes nothing, a burst of load under which nothing suffers among it."""
    found = [issue for find in FINDINGS if (issue := find(facts)) is not None]
    ranked = sorted(found, key=lambda issue: (_a_note(issue), _one_moment(issue, facts)))
    wake = WAKE.get(ranked[0].finding, frozenset()) if ranked else frozenset()
    return (*ranked[:1], *(_unadvised(issue) if issue.finding in wake else issue for issue in ranked[1:]))


def _a_note(issue: Issue) -> bool:
    return issue.finding in NOTES or (issue.finding == "load_burst" and not issue.contributing_factors)


def _unadvised(issue: Issue) -> Issue:
    """What follows from the first cause goes with it: nothing is to be done about it apart."""
    return issue.model_copy(update={"suggested_actions": ()})


def _one_moment(issue: Issue, facts: Facts) -> bool:
    """Whether an issue rests on quantiles alone that have not been over their thresholds for a whole window."""
    if not issue.contributing_factors or not FINISHED_WORK.issuperset(issue.contributing_factors):
        return False
    return not any(facts.lasts(name) for name in issue.contributing_factors)
