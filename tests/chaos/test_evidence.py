"""The last step of chaos comes to an end beside loops that do not."""

from contextlib import AsyncExitStack

import pytest
from temporalio.client import Client

from chaos import promises
from chaos.evidence import gathered
from chaos.stack import CLUSTER
from chaos.waiting import InVainError, until
from copilot.loops.definitions import observe_id, scheduled_id
from copilot.loops.starter import SCHEDULING
from copilot.store.postgres import PostgresStore
from tests.workflows.conftest import Observed, a_cluster


@pytest.mark.servers
async def test_the_evidence_is_read_though_loops_run_on(client: Client, database: str) -> None:
    cluster = a_cluster().model_copy(update={"name": CLUSTER})
    observed = Observed(client, cluster, database=PostgresStore(database))
    async with AsyncExitStack() as stack:
        assert observed.database is not None
        stack.push_async_callback(observed.database.close)
        await observed.database.setup_schema()
        await stack.enter_async_context(observed.worker())
        await observed.start()
        await observed.start(SCHEDULING)
        await observed.cycles(2)
        found = await gathered(client, database, [observe_id(CLUSTER), scheduled_id(CLUSTER)])
    told = [*promises.kept_once(found), *promises.one_loop(found)]
    assert [(p.name, p.broken) for p in told if p.broken] == []
    assert [p.name for p in told if not p.checked] == []
    assert found.loops.keys() == {observe_id(CLUSTER), scheduled_id(CLUSTER)}


async def test_who_waits_in_vain_is_told_for_what() -> None:
    async def never() -> bool:
        return False

    with pytest.raises(InVainError, match=r"waited 0\.05 s in vain for postgres to be back"):
        await until(never, "postgres to be back", within_sec=0.05)
