"""Migrations of the schema.

Aurora DSQL builds an index in the background: the statement returns a job to wait for. The catalog decides whether the
index is valid. A statement that finds the index returns no job: its build may still run (in another program), or may
have failed, which leaves an unusable index.
"""

import logging
import re
from dataclasses import dataclass
from importlib.resources import files

from whenever import Instant

from copilot.errors import StoreError
from copilot.settings.store_address import Flavour
from copilot.store.connections import Connections
from copilot.store.rows import to_column

log = logging.getLogger(__name__)


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

VERSIONS = """
CREATE TABLE IF NOT EXISTS schema_version (
    version int PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL)
"""

APPLIED = "INSERT INTO schema_version (version, name, applied_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
CURRENT_VERSION = "SELECT coalesce(max(version), 0) FROM schema_version"
_INDEX = re.compile(r"CREATE (?:UNIQUE )?INDEX ASYNC (?:IF NOT EXISTS )?(?P<name>\w+) ON")


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file: its statements in order."""

    version: int
    name: str
    statements: tuple[str, ...]


def migrations() -> tuple[Migration, ...]:
    """All migrations, in order."""
    found = []
    for file in files("copilot.store.migrations").iterdir():
        if match := re.fullmatch(r"(\d{4})_(\w+)\.sql", file.name):
            found.append(Migration(int(match[1]), match[2], statements(file.read_text(encoding="utf-8"))))
    return tuple(sorted(found, key=lambda m: m.version))


def statements(sql: str) -> tuple[str, ...]:
    """The statements of a file, without comments: each ends with a semicolon at the end of a line."""
    bare = re.sub(r"^\s*--.*$", "", sql, flags=re.MULTILINE)
    return tuple(s.strip() for s in re.split(r";\s*$", bare, flags=re.MULTILINE) if s.strip())


def for_database(flavour: Flavour, statement: str) -> str:
    """The statement in the dialect of the database: PostgreSQL has no CREATE INDEX ASYNC."""
    if flavour == "dsql":
        return statement
    return re.sub(r"\A(CREATE (?:UNIQUE )?INDEX) ASYNC\b", r"\1", statement)


async def migrate(connections: Connections, now: Instant) -> int:
    """Migrate the schema and return its version. StoreError: it is newer than this program."""
    flavour = connections.address.flavour
    await connections.execute(VERSIONS)
    known = migrations()
    at = await current_version(connections)
    newest = known[-1].version
    if at > newest:
        raise StoreError(f"the schema is at version {at}, this program knows only {newest}: upgrade the program")
    for migration in known:
        if migration.version <= at:
            continue
        for statement in migration.statements:
            if flavour == "dsql" and (index := _INDEX.match(statement)):
                await build_index(connections, statement, index["name"])
            else:
                await connections.execute(for_database(flavour, statement))
        await connections.execute(APPLIED, migration.version, migration.name, to_column(now))
    return newest


async def current_version(connections: Connections) -> int:
    """The schema's version; 0 before the first migration."""
    return int(await connections.value(CURRENT_VERSION))


async def build_index(connections: Connections, statement: str, name: str) -> None:
    """Run a CREATE INDEX ASYNC and wait until the index is valid. An index that a failed build left is built again.
    StoreError: the build failed, with the details of its job."""
    why = None
    for _ in range(BUILDS):
        job = await connections.value(statement)
        if not job and (known := await connections.row(JOB, name)) and known["status"] in RUNNING:
            job = known["job_id"]
        if job:
            log.info("waiting for index %s (job %s)", name, job, extra={"event": "store.index_build", "index": name})
            await connections.outside_transaction(lambda c, job=job: c.execute(WAIT, job, timeout=WAIT_SEC))  # type: ignore[misc]
        if await connections.value(VALID, name):
            return
        if failed := await connections.row(JOB, name):
            why = failed["details"] or failed["status"]
        await connections.execute(f"DROP INDEX IF EXISTS {name}")
    raise StoreError(f"the index {name} cannot be built: {why or 'its job has no details'}")
