"""Rows of the table issues, inside a transaction somebody else began."""

from uuid import UUID

from copilot.core.assessment import HealthAssessment
from copilot.core.explanation import Explanation, readvised
from copilot.store import sql
from copilot.store.codec import join_assessment, join_issue, to_column, to_jsonb, to_text
from copilot.store.issue_life import live_on
from copilot.store.raw import Connection


async def live_on_in(connection: Connection, assessment: HealthAssessment) -> None:
    """Open, renew and resolve the issues that an assessment says (issue_life.py)."""
    cluster, time = to_text(assessment.cluster), to_column(assessment.time)
    known = [join_issue(r) for r in await connection.fetch(sql.ISSUES_UNRESOLVED_AT, cluster, time)]
    later = await connection.fetchrow(sql.NEXT_ASSESSMENT, cluster, time)
    for issue in live_on(assessment, known, None if later is None else join_assessment(later)):
        await connection.execute(
            sql.UPSERT_ISSUE,
            UUID(issue.id),
            cluster,
            to_text(issue.finding),
            to_text(issue.subject),
            issue.severity.value,
            to_text(issue.title),
            to_column(issue.first_seen),
            to_column(issue.last_seen),
            None if issue.resolved_at is None else to_column(issue.resolved_at),
            to_jsonb(issue),
        )


async def reword_in(connection: Connection, assessment: HealthAssessment, explanation: Explanation) -> None:
    """Give the issues that an assessment was the last to see the explanation's advice."""
    if not explanation.actions:
        return
    cluster, time = to_text(assessment.cluster), to_column(assessment.time)
    for issue in [join_issue(r) for r in await connection.fetch(sql.ISSUES_SEEN_AT, cluster, time)]:
        said = readvised(issue, explanation)
        if said != issue:
            await connection.execute(sql.REWORD_ISSUE, UUID(issue.id), to_jsonb(said))
