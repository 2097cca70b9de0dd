"""Which server versions emit which metric families. A family without a row is older than 1.20 and still emitted.

Source: the server's metric definitions at the release tags 1.20 to 1.32.
"""

import re
from collections.abc import Iterable, Mapping
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
    "persistence_sql_open_conn": (1, 29),
    "persistence_sql_in_use": (1, 29),
    "persistence_sql_max_open_conn": (1, 29),
    "tasks_added": (1, 32),
    "pending_polls": (1, 32),
}
"""The first release that emits a family."""

_VERSION = re.compile(r"v?(\d+)[._](\d+)(?:[._-].*)?")


def release(version: str) -> Release | None:
    """The release of a version; None if it is not one.

    Temporal's API writes `1.31.2`, a page `1_31_2`; both may have more behind it, as in `1.32.0-rc.1`."""
    match = _VERSION.fullmatch(version.strip())
    return (int(match[1]), int(match[2])) if match else None


def lowest(versions: Iterable[str]) -> Release | None:
    """The oldest release among them, which counts while a cluster is upgraded; None if none can be understood."""
    return min((r for v in versions if (r := release(v)) is not None), default=None)
