"""Which server versions emit which metric families. A family without a row is older than 1.20 and still emitted.

Source: the server's metric definitions at the release tags 1.20 to 1.32.
"""

import re
from collections.abc import Collection, Mapping
from typing import TypeAlias

Release: TypeAlias = tuple[int, int]
"""Major and minor version of a Temporal server."""

SINCE: Mapping[str, Release] = {
    "semaphore_latency": (1, 23),
    "approximate_backlog_count": (1, 25),
    "approximate_backlog_age_seconds": (1, 25),
    "workflow_tasks_completed": (1, 28),
    "activity_success": (1, 29),
    "activity_task_fail": (1, 29),
    "activity_task_timeout": (1, 29),
    "host_rps_limit": (1, 24),
    "service_panics": (1, 22),
    "dlq_writes": (1, 23),
    "circuit_breaker_executable_blocked": (1, 25),
    "persistence_sql_open_conn": (1, 29),
    "persistence_sql_in_use": (1, 29),
    "persistence_sql_max_open_conn": (1, 29),
    "tasks_added": (1, 32),
    "pending_polls": (1, 32),
}
"""The first release that emits a family."""

_VERSION = re.compile(r"v?(1)[._](\d+)(?:[._+-].*)?")


def release(version: str) -> Release | None:
    """The release of a version; None if it is not one, as of a build that counts in its own way.

    Temporal's API writes `1.31.2`, a page `1_31_2`; both may have more behind it, as in `1.32.0-rc.1`."""
    match = _VERSION.fullmatch(version.strip())
    return (int(match[1]), int(match[2])) if match else None


def lowest(versions: Collection[str]) -> Release | None:
    """The oldest release among them, which counts while a cluster is upgraded; None without any, and if one cannot be
    understood: it may be the oldest."""
    known = [r for r in map(release, versions) if r is not None]
    return min(known) if known and len(known) == len(versions) else None
