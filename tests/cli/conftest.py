"""Databases for the commands that need one."""

from tests.store.conftest import aws, database, dsql, names, postgres, postgres_store

__all__ = ["aws", "database", "dsql", "names", "postgres", "postgres_store"]
