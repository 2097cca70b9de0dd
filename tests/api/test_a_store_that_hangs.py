"""A database that takes connections and never answers: what the loop says is told all the same."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import httpx

from copilot.api.app import create_app
from copilot.api.live import LiveCopies, Said
from copilot.store.postgres import PostgresStore
from tests.api.standin import Clock, ToldLoop, deps
from tests.evaluations import NOON, evaluation


@dataclass
class Hanging:
    """Where it listens, and how often it was called; `called` once it was."""

    port: int = 0
    calls: int = 0
    called: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.calls += 1
        self.called.set()
        with suppress(OSError):
            await reader.read()
        writer.close()


@asynccontextmanager
async def hanging() -> AsyncIterator[Hanging]:
    database = Hanging()
    server = await asyncio.start_server(database.take, "127.0.0.1", 0)
    database.port = server.sockets[0].getsockname()[1]
    async with server:
        yield database


async def first(copies: LiveCopies, wanted: str) -> Said:
    """What is said when an evaluation is first told, or the store's silence is, whichever comes first."""
    async for said in copies.changes("default"):
        if said.store_problem or (said.evaluation is not None and said.evaluation.evaluation_id == wanted):
            return said
    raise AssertionError("closed before")


async def test_every_tick_is_told_while_the_store_is_still_asked_and_then_nobody_waits_for_it() -> None:
    loop, clock = ToldLoop(), Clock()
    loop.tell(evaluation("happy"))
    async with hanging() as database:
        store = PostgresStore(f"postgresql://copilot@127.0.0.1:{database.port}/copilot")
        app = create_app(deps(loop, store, clock))
        copies: LiveCopies = app.state.live
        running = asyncio.create_task(copies.run())
        await database.called.wait()
        clock.now = NOON.add(seconds=5)
        newest = evaluation("stressed", clock.now)
        loop.tell(newest)
        said = await first(copies, newest.evaluation_id)
        assert said.store_problem is None, "the store was waited for"
        assert said.evaluation is not None
        assert not said.evaluation.verdict.stale

        said = await first(copies, "none")
        assert said.store_problem == said.degraded_because == "the state store did not answer within 3 s"
        await copies.close()
        await running
        calls = database.calls
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://copilot") as api:
            for path in ("/status/issues", "/status/timeline", "/signals/demand.starts_per_sec"):
                body = (await api.get(path)).json()
                assert body["degraded_because"] == said.store_problem, path
            assert said.store_problem in (await api.get("/")).text
        assert database.calls == calls, "the store that hangs was asked again"
        await store.close()
