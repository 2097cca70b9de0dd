"""Workers share one read of Temporal Cloud a minute through a real store."""

import asyncio

import pytest

from copilot.sources.cloud.account import CloudAccount
from copilot.store.cloud_pages import CLAIM, SHARE, SHARED
from copilot.store.postgres import PostgresStore
from tests.fakes.cloud import DELAY, floor
from tests.sources.test_cloud import SHOP, Clock, cluster, endpoint_at
from tests.store.conftest import Server
from tests.store.dsql_rules import complaints


@pytest.mark.servers
async def test_two_workers_share_one_read_a_minute_through_the_store(postgres: Server, database: str) -> None:
    clock = Clock()
    endpoint = endpoint_at(clock)
    stores = [PostgresStore(database) for _ in range(2)]
    await stores[0].setup_schema()
    async with endpoint.run():
        settings = cluster(endpoint.url).cloud
        assert settings is not None
        workers = [CloudAccount(settings, [SHOP], shared=s.cloud_pages, clock=clock) for s in stores]
        for _ in range(3):
            minutes = await asyncio.gather(*(worker.newest() for worker in workers))
            assert minutes[0] == minutes[1]
            clock.tick()
        assert len(endpoint.reads) == 3
        endpoint.keys = {}
        refused = await asyncio.gather(*(worker.newest() for worker in workers), return_exceptions=True)
        assert len({str(error) for error in refused}) == 1
        assert "the API key is refused" in str(refused[0])
        assert len(endpoint.requests) == 4
        endpoint.keys = {"key": 200}
        clock.tick()
        await postgres.run("DROP TABLE cloud_pages")
        assert (await workers[0].newest()).at == floor(clock.now - DELAY), "without the store it reads by itself"
        for worker in workers:
            await worker.aclose()
        for store in stores:
            await store.close()


def test_the_statements_are_of_dsqls_kind() -> None:
    assert complaints([CLAIM, SHARE, SHARED]) == []
