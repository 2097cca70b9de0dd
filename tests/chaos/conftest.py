"""The dev server of the loops' tests and the PostgreSQL of the store's."""

from tests.store.conftest import database as database
from tests.store.conftest import postgres as postgres
from tests.workflows.conftest import client as client
from tests.workflows.conftest import temporal as temporal
