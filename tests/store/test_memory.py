import pytest

from copilot.store.base import Store
from tests.fakes.memory_store import MemoryStore
from tests.store.contract import StoreContract


@pytest.fixture
def store() -> Store:
    return MemoryStore()


class TestMemoryStore(StoreContract):
    pass
