"""The pages of Temporal Cloud that workers share. One row an account, overwritten each minute."""

from whenever import Instant

from copilot.metrics.cloud import SharedPage
from copilot.rules.signals.readings import MissingCode
from copilot.store.connections import Connections
from copilot.store.rows import to_column, to_text

# One statement, so that of several workers one has the read: the row is locked, or its commit conflicts.
CLAIM = """
INSERT INTO cloud_pages (account, next_at, completeness, failure_code, failure, page) VALUES ($1, $3, '', '', '', '')
ON CONFLICT (account) DO UPDATE SET next_at = $3 WHERE cloud_pages.next_at <= $2
"""
SHARE = """
UPDATE cloud_pages SET next_at = $2, completeness = $3, failure_code = $4, failure = $5, page = $6 WHERE account = $1
"""
SHARED = "SELECT next_at, completeness, failure_code, failure, page FROM cloud_pages WHERE account = $1"


class StoredPages:
    """The pages in a state store. Methods raise StoreError."""

    def __init__(self, connections: Connections) -> None:
        self._db = connections

    async def shared_page(self, key: str) -> SharedPage | None:
        """What is shared under a key; None before the first read."""
        if (row := await self._db.row(SHARED, key)) is None:
            return None
        return SharedPage(
            next_at=Instant(row["next_at"]),
            completeness=row["completeness"],
            failure_code=MissingCode(row["failure_code"]) if row["failure_code"] else None,
            failure=row["failure"],
            page=bytes(row["page"]),
        )

    async def claim_page(self, key: str, now: Instant, until: Instant) -> bool:
        """Claim the read that is due at `now`; the next one is due at `until`. False: another worker was first."""
        return (await self._db.execute(CLAIM, key, to_column(now), to_column(until))).endswith(" 1")

    async def share_page(self, key: str, page: SharedPage) -> None:
        """Share a page."""
        code = page.failure_code.value if page.failure_code else ""
        await self._db.execute(
            SHARE, key, to_column(page.next_at), to_text(page.completeness), code, to_text(page.failure), page.page
        )
