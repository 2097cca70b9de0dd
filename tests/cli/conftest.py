"""Databases for the commands that need one."""

from tests.store.conftest import aws, database, dsql, dsql_front, names, postgres, postgres_store

__all__ = ["aws", "database", "dsql", "dsql_front", "names", "postgres", "postgres_store"]
