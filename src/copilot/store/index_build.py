"""An index of Aurora DSQL is built in the background: the statement gives a job, the job is waited for.

What counts in the end is the catalog's word that the index is valid. A statement that finds the index there already
gives no job: the build may still run (another program's), or may have failed, which leaves an index nobody uses.
"""

import logging
from typing import TYPE_CHECKING, Any

from copilot.core.errors import StoreError
from copilot.store.raw import Connection

if TYPE_CHECKING:
    from copilot.store.connections import Connections

# A build takes 5 to 24 s on an empty table; a statement may take 5 minutes.
WAIT_SEC = 240.0
BUILDS = 2

WAIT = "CALL sys.wait_for_job($1)"
JOB = """
SELECT job_id, status, details FROM sys.jobs
WHERE job_type = 'INDEX_BUILD' AND (object_name = $1 OR object_name LIKE '%.' || $1) ORDER BY start_time DESC LIMIT 1
"""
VALID = """
SELECT i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = $1 AND n.nspname = current_schema()
"""
RUNNING = ("submitted", "processing")

log = logging.getLogger(__name__)


async def build_index(connections: "Connections", statement: str, name: str) -> None:
    """Run a CREATE INDEX ASYNC and return when its index can be used. StoreError with the job's words if it cannot be
    built; an index left over by a build that failed is built anew."""
    why = ""
    for _ in range(BUILDS):
        job = await connections.transaction(lambda c: c.fetchval(statement)) or await _running(connections, name)
        if job:
            log.info("waiting for the index %s (job %s)", name, job)
            await connections.plainly(lambda c, job=job: c.execute(WAIT, job, timeout=WAIT_SEC))  # type: ignore[misc]
        if await connections.transaction(lambda c: c.fetchval(VALID, name)):
            return
        why = await connections.transaction(lambda c: _details(c, name))
        await connections.transaction(lambda c: c.execute(f"DROP INDEX IF EXISTS {name}"))
    raise StoreError(f"the index {name} cannot be built: {why or 'its job says nothing'}")


async def _running(connections: "Connections", name: str) -> Any:
    row = await connections.transaction(lambda c: c.fetchrow(JOB, name))
    return row["job_id"] if row is not None and row["status"] in RUNNING else None


async def _details(connection: Connection, name: str) -> str:
    row = await connection.fetchrow(JOB, name)
    return "" if row is None else str(row["details"] or row["status"])
