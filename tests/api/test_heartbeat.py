"""Heartbeats: sent while the Copilot itself is well, and not otherwise."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from pydantic import SecretStr

from copilot.api.heartbeat import beat, silent_because
from copilot.api.live import VerdictCache
from copilot.errors import SourceError
from copilot.loops.live import NOT_RUNNING
from copilot.rules.signals.readings import MissingCode
from copilot.settings.notify import NotifySettings
from tests.api.standin import Clock, ToldLoop, deps
from tests.evaluations import NOON
from tests.fakes.serving import serving
from tests.web.stories import lived


def channel(port: int = 1, **more: object) -> NotifySettings:
    url = SecretStr(f"http://127.0.0.1:{port}/ping/secret")
    return NotifySettings.model_validate({"name": "dead-man", "kind": "heartbeat", "url": url, **more})


def away(loop: ToldLoop, clock: Clock) -> None:
    loop.away = SourceError(MissingCode.TIMEOUT, "the Copilot's own Temporal does not answer")
    clock.now, clock.ran = NOON.add(minutes=20), 1200.0


def says(**wrong: str) -> Callable[[ToldLoop, Clock], None]:
    return lambda loop, _: loop.wrong.update({name.replace("_", "-"): problem for name, problem in wrong.items()})


@pytest.mark.parametrize(
    ("happens", "said"),
    [
        (says(), ""),
        (says(logs_default="Loki answered 500"), ""),
        (away, "default has no fresh verdict"),
        (says(prune_default=NOT_RUNNING), f"prune-default: {NOT_RUNNING}"),
        (says(notify_default="channel ops: answered 403"), "notify-default: channel ops: answered 403"),
    ],
    ids=["all is well", "logs cannot be read", "no fresh verdict", "a loop does not run", "a channel refuses"],
)
async def test_a_heartbeat_needs_fresh_verdicts_running_loops_and_channels_that_work(
    happens: Callable[[ToldLoop, Clock], None], said: str
) -> None:
    store, loop, clock = await lived("critical")
    of = deps(loop, store, clock)
    cache = VerdictCache(of)
    await cache.refresh("default")
    happens(loop, clock)
    await cache.refresh("default")
    await cache._refresh_loops("default")
    assert silent_because(cache, channel(), of.clusters) == said
    assert silent_because(cache, channel(clusters=["another"]), of.clusters) == ""


async def test_heartbeats_are_posted_again_and_again_and_a_cluster_never_judged_stops_them() -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def service(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.put_nowait((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    store, loop, clock = await lived("happy")
    of = replace(deps(loop, store, clock), clusters=("default", "new"))
    cache = VerdictCache(of)
    await cache.refresh("default")
    async with serving(service) as port:
        beating = asyncio.create_task(beat(cache, [channel(port, clusters=["default"])], of.clusters, 0.01))
        async with asyncio.timeout(30):
            assert [await heard.get() for _ in range(3)] == [b"POST /ping/secret HTTP/1.1"] * 3
        beating.cancel()
    assert silent_because(cache, channel(), of.clusters) == "new has no fresh verdict"
