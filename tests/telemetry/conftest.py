"""A Temporal and a database for a worker that is watched."""

from tests.store.conftest import database, postgres, postgres_store
from tests.workflows.conftest import client, temporal

__all__ = ["client", "database", "postgres", "postgres_store", "temporal"]
