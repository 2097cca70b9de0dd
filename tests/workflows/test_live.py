"""The live verdict is asked of the loop itself, and needs no database."""

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import httpx
import pytest
from temporalio.client import Client
from whenever import Instant

from copilot.api.deps import Deps
from copilot.errors import SourceError
from copilot.loops.definitions import notify_id
from copilot.loops.live import LoopLive
from copilot.loops.starter import keep_loops_running, loops_of, start_configured
from copilot.loops.watchdog import Progress, StarvedError
from copilot.rules.signals.readings import MissingCode
from copilot.store.postgres import PostgresStore
from tests.api import conftest as api_of
from tests.fakes.memory_store import MemoryStore
from tests.store.conftest import Server, database, postgres
from tests.workflows.conftest import EVER, Observed, a_channel, a_cluster, eventually, in_order

__all__ = ["database", "postgres"]
pytestmark = pytest.mark.servers


async def test_a_loop_that_does_not_run_or_has_no_worker_is_reported(client: Client) -> None:
    observed = Observed(client, a_cluster())
    live = LoopLive(client, timeout_sec=1)
    with pytest.raises(SourceError, match="`copilot start` starts it") as error:
        await live.evaluation(observed.cluster.name)
    assert error.value.code is MissingCode.ABSENT
    await observed.start()
    with pytest.raises(SourceError, match="does `copilot worker` run") as error:
        await live.evaluation(observed.cluster.name)
    assert error.value.code is MissingCode.TIMEOUT


async def test_a_worker_that_makes_no_progress_ends_unless_temporal_or_nobody_else_is_at_fault(client: Client) -> None:
    observed, clock = Observed(client, a_cluster()), [0.0]
    settings = observed.settings().model_copy(update={"clusters": (observed.cluster,)})
    progress = Progress(client, settings, lambda: clock[0])

    async def check_after(seconds: float) -> None:
        clock[0] += seconds
        await progress.check()

    for _ in range(3):  # a loop that does not run
        await check_after(100)
    elsewhere = Progress(client, settings.model_copy(update={"task_queue": "another"}), lambda: clock[0])
    await observed.start()
    async with observed.worker():
        await observed.cycles(1)
        await check_after(100)
        await observed.cycles(2)
        await check_after(100)
        assert progress.problem() is None
    await elsewhere.check()
    with pytest.raises(
        StarvedError, match=r"no evaluation of cluster .* for 130 s .*: this worker is starved or stuck"
    ):
        await check_after(130)
    await elsewhere.check()
    away = Progress(await Client.connect("127.0.0.1:1", lazy=True), settings, lambda: clock[0])
    await away.check()
    clock[0] += 130
    await away.check()


async def test_every_loop_that_does_not_run_is_named_and_started_again(client: Client) -> None:
    observed = Observed(client, a_cluster(), channels=(a_channel("hook", "http://127.0.0.1:1"),))
    settings = observed.settings().model_copy(update={"clusters": (observed.cluster,)})
    name = observed.cluster.name
    ids = [loop.workflow_id(name) for loop in loops_of(observed.cluster, settings)]
    live = LoopLive(client, loops={name: ids})
    deps = Deps(store=MemoryStore(), live=live, clusters=(name,), now=Instant.now)
    async with observed.worker():
        for loop in loops_of(observed.cluster, settings):
            await start_configured(client, settings, observed.cluster, loop)
        await eventually(lambda: no_problem(live, name))
        for each in ids[1:]:
            await client.get_workflow_handle(each).terminate()
        async with api_of.client(deps) as api:
            why = f"loops {', '.join(ids[1:])}: not running: run `copilot start`"
            await eventually(lambda: says(api, degraded_because=why))
            metrics = (await api.get("/metrics")).text
            assert f'copilot_loop_problem{{cluster="{name}",loop="{ids[1]}"}} 1.0' in metrics
            assert f'copilot_loop_problem{{cluster="{name}",loop="{ids[0]}"}} 0.0' in metrics
        keeping = asyncio.create_task(keep_loops_running(client, settings, every_sec=0.1))
        await eventually(lambda: no_problem(live, name))
        keeping.cancel()
        observed.frontend(answers=False)

        async def failing_channel() -> str | None:
            return (await live.problems(name))[notify_id(name)] or None

        assert "channel hook: " in await eventually(failing_channel)


async def no_problem(live: LoopLive, cluster: str) -> bool | None:
    found = await live.problems(cluster)
    return True if found and not any(found.values()) else None


@pytest.fixture
def stoppable(postgres: Server, database: str) -> Iterator[Server]:  # noqa: ARG001
    """The PostgreSQL of the process, emptied, which the test may stop and start."""
    yield postgres
    with contextlib.suppress(subprocess.CalledProcessError):  # it runs, unless the test failed
        postgres.start()


async def kept(server: Server) -> list[str]:
    """The stored ticks, in the order in which they were written."""
    connection = await asyncpg.connect(server.url())
    rows = await connection.fetch("SELECT evaluation_id FROM metrics_snapshots ORDER BY ctid")
    await connection.close()
    return [row["evaluation_id"] for row in rows]


async def test_with_the_database_down_the_verdict_goes_on_and_everything_arrives_once_and_in_order_afterwards(
    client: Client, stoppable: Server
) -> None:
    observed = Observed(client, a_cluster(), database=PostgresStore(stoppable.url()))
    name, reads = observed.cluster.name, PostgresStore(stoppable.url())
    await reads.setup_schema()
    deps = Deps(store=reads, live=LoopLive(client), clusters=(name,), now=Instant.now)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(observed.database.close)  # type: ignore[union-attr]
        stack.push_async_callback(reads.close)
        await stack.enter_async_context(observed.worker())
        api = await stack.enter_async_context(api_of.client(deps))
        await observed.start(ticks_per_run=4)
        await eventually(lambda: says(api, degraded=False, health_state="happy"))
        await asyncio.to_thread(stoppable.stop)
        degraded = await eventually(lambda: says(api, degraded=True, health_state="happy"))
        assert "state store" in degraded["degraded_because"]
        observed.source.changed = {"frontend__reachable": 0.0}
        stressed = await eventually(lambda: says(api, degraded=True, health_state="stressed"))
        assert stressed["timestamp"] > degraded["timestamp"]
        away = await observed.cycles((await observed.status()).cycles + 6)
        assert away.runs >= 2
        await asyncio.to_thread(stoppable.start)
        status = await observed.cycles(away.cycles + 1)
        ids = await eventually(lambda: written(stoppable, status.cycles))
        assert in_order(ids)
        fresh = await eventually(lambda: says(api, degraded=False))
        assert fresh["timestamp"] > stressed["timestamp"]

        async def assessed() -> list[str] | None:
            found = await reads.assessments_in_range(name, *EVER)
            states = [a.verdict.health_state.value for a in found]
            return states if "stressed" in states else None

        assert (await eventually(assessed))[:2] == ["happy", "stressed"]


async def test_a_store_that_can_be_read_but_not_written_is_reported(client: Client) -> None:
    observed = Observed(client, a_cluster())
    live = LoopLive(client, again_sec=0)
    deps = Deps(store=MemoryStore(), live=live, clusters=(observed.cluster.name,), now=Instant.now)
    async with observed.worker(), api_of.client(deps) as api:
        await observed.start(ticks_per_run=2)
        await eventually(lambda: says(api, degraded=False, health_state="happy"))
        observed.store.away = True
        why = "verdicts wait to be stored: the state store is away"
        told = await eventually(lambda: says(api, degraded_because=why))
        runs = (await observed.status()).runs

        async def told_by_a_later_run() -> dict[str, Any] | None:
            later = (await observed.status()).runs > runs + 1
            return await says(api, degraded_because=why) if later else None

        assert (await eventually(told_by_a_later_run))["timestamp"] > told["timestamp"]
        observed.store.away = False
        await eventually(lambda: says(api, degraded=False))


async def says(api: httpx.AsyncClient, **wanted: Any) -> dict[str, Any] | None:
    """What the API says, once it says so."""
    answer = await api.get("/status")
    body: dict[str, Any] = answer.json()
    assert answer.status_code == 200
    return body if {k: body.get(k) for k in wanted} == wanted else None


async def written(server: Server, at_least: int) -> list[str] | None:
    ids = await kept(server)
    return ids if len(ids) >= at_least else None
