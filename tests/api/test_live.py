"""The cache of the newest verdicts: what it fetches, and what clocks and a store that hangs do to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import httpx

from copilot.api.app import create_app
from copilot.api.live import VerdictCache
from copilot.errors import SourceError
from copilot.rules.signals.readings import MissingCode
from copilot.store.postgres import PostgresStore
from copilot.web.verdicts import VerdictView
from tests.api.standin import Clock, ToldLoop, deps
from tests.evaluations import NOON, assessment, evaluation, snapshot
from tests.fakes.memory_store import MemoryStore

AWAY = SourceError(MissingCode.TIMEOUT, "the Copilot's own Temporal does not answer", asked="query verdict")


async def newest(cache: VerdictCache) -> VerdictView:
    await cache.refresh("default")
    return cache.view("default")


async def test_an_evaluation_is_fetched_once_and_again_after_an_outage_of_the_loop() -> None:
    loop = ToldLoop(took=1.5)
    cache = VerdictCache(deps(loop))
    assert (await newest(cache)).evaluation is None
    assert loop.fetched == 0
    for state in ("happy", "stressed"):
        loop.tell(evaluation(state, NOON.add(seconds=len(state))))
        views = [await newest(cache) for _ in range(3)]
        assert {(view.state, view.cycle_sec) for view in views} == {(state, 1.5)}
    assert loop.fetched == 2
    loop.away = AWAY
    assert "does not answer" in ((await newest(cache)).degraded_because or "")
    loop.away = None
    assert (await newest(cache)).degraded_because is None
    assert loop.fetched == 3


async def test_a_verdict_grows_old_although_the_wall_clock_went_back() -> None:
    loop, clock = ToldLoop(), Clock()
    cache = VerdictCache(deps(loop, clock=clock))
    loop.tell(evaluation("happy", time=NOON))
    assert (await newest(cache)).age_sec == 0
    loop.away = AWAY
    clock.now, clock.ran = NOON.subtract(hours=1), 50.0
    view = await newest(cache)
    assert (view.age_sec, view.stale) == (50, True)
    clock.ran = 100.0
    assert (await newest(cache)).state == "unknown"


async def test_clocks_that_disagree_are_named_and_measured() -> None:
    loop, clock = ToldLoop(), Clock(NOON)
    cache = VerdictCache(deps(loop, clock=clock))
    for tick, off, said in (
        (0, 600, None),  # It may be old: nobody saw it come.
        (30, 600, "this machine's clock is 600 s ahead of the clock of the Copilot's own Temporal"),
        (60, -45, "this machine's clock is 45 s behind the clock"),
        (90, 35, None),
    ):
        clock.now, clock.ran = NOON.add(seconds=tick + off), float(tick)
        loop.tell(evaluation("happy", time=NOON.add(seconds=tick)))
        view = await newest(cache)
        assert (view.state == "unknown") == (off == 600)
        assert (said or "None") in str(view.degraded_because)
        assert view.ahead_sec == (off if tick else None)


async def test_a_loop_whose_clock_was_corrected_backwards_is_followed() -> None:
    loop, store, clock = ToldLoop(), MemoryStore(), Clock(NOON.add(hours=1))
    cache = VerdictCache(deps(loop, store, clock))
    ahead = evaluation("critical", time=NOON.add(hours=1))
    loop.tell(ahead)
    await store.save_snapshots([snapshot(ahead)])
    await store.save_assessment(assessment("critical", time=ahead.time))
    await newest(cache)
    clock.now, clock.ran = NOON.add(seconds=30), 30.0
    right = evaluation("happy", time=NOON.add(seconds=30))
    loop.tell(right)
    view = await newest(cache)
    assert (view.revision[0], view.age_sec) == (right.evaluation_id, 0)


async def test_a_loop_whose_clock_is_always_ahead_is_followed() -> None:
    loop, clock = ToldLoop(), Clock()
    cache = VerdictCache(deps(loop, clock=clock))
    for tick in range(3):
        clock.now, clock.ran = NOON.add(seconds=30 * tick), 30.0 * tick
        made = evaluation("happy", time=NOON.add(seconds=30 * tick + 300))
        loop.tell(made)
        view = await newest(cache)
        assert (view.revision[0], view.age_sec, view.stale) == (made.evaluation_id, 0, False)


@dataclass
class Hanging:
    """A database that takes connections and never answers: its port, and how often it was called."""

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


async def first(cache: VerdictCache, wanted: str) -> VerdictView:
    """The first view with this evaluation, or with a problem of the store."""
    async for view in cache.changes("default"):
        if view.store_problem or (view.revision[0] == wanted):
            return view
    raise AssertionError("closed before")


async def test_every_tick_is_shown_while_a_query_hangs_in_the_store_which_is_then_left_alone() -> None:
    loop, clock = ToldLoop(), Clock()
    loop.tell(evaluation("happy"))
    async with hanging() as database:
        store = PostgresStore(f"postgresql://copilot@127.0.0.1:{database.port}/copilot")
        app = create_app(deps(loop, store, clock))
        cache: VerdictCache = app.state.live
        running = asyncio.create_task(cache.run())
        await database.called.wait()
        clock.now = NOON.add(seconds=5)
        made = evaluation("stressed", clock.now)
        loop.tell(made)
        view = await first(cache, made.evaluation_id)
        assert view.store_problem is None, "the store was waited for"
        assert not view.stale

        view = await first(cache, "none")
        assert view.store_problem == view.degraded_because == "the state store did not answer within 3 s"
        await cache.close()
        await running
        calls = database.calls
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as api:
            for path in ("/status/issues", "/status/timeline", "/signals/demand.starts_per_sec"):
                body = (await api.get(path)).json()
                assert body["degraded_because"] == view.store_problem, path
            assert view.store_problem in (await api.get("/")).text
        assert database.calls == calls, "the store that hangs was asked again"
        await store.close()
