"""A span for each statement of the store, by the name it has in sql.py; values are never told."""

from collections.abc import Iterator
from typing import Any

from asyncpg.connection import LoggedQuery

from copilot.store import sql
from copilot.store.raw import RawConnection
from copilot.telemetry.spans import tracing


def trace_statements(connection: RawConnection) -> None:
    """Trace what is sent over this connection, where this process is traced."""
    if tracing() is not None:
        connection.add_query_logger(_told)


def _told(query: LoggedQuery) -> None:
    traced = tracing()
    if traced is None:
        return
    name = NAMES.get(query.query)
    if name is None:
        return
    error = None if query.exception is None else type(query.exception).__name__
    traced.ended(f"store {name}", {"db.system.name": "postgresql", "db.operation.name": name}, query.elapsed, error)


def _named(statements: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in statements.items():
        if not name.isupper() or name.startswith("_"):
            continue
        if isinstance(value, str):
            yield value, name
        elif isinstance(value, dict):
            yield from ((text, f"{name} {table}") for table, text in value.items())


NAMES = {**dict(_named(vars(sql))), "COMMIT;": "COMMIT"}
