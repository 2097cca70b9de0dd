"""Where things lie in time: sparklines, and the timeline around a moment."""

import re

from copilot.web.drawing import spark
from tests.api.conftest import client
from tests.api.standin import Clock, ToldLoop, deps
from tests.evaluations import NOON, evaluation, snapshot
from tests.fakes.memory_store import MemoryStore


def test_a_sparkline_places_values_in_time_and_leaves_holes_where_nobody_looked() -> None:
    drawn = spark([(0, 1.0), (10, 2.0), (20, None), (30, 4.0), (40, 4.0), (100, 4.0)], whole=120, lasts=20)
    assert drawn.lines == ("0,21.5 10,15", "30,2 40,2", "99,2 101,2")


async def test_a_young_history_fills_the_page_and_says_how_long_it_is() -> None:
    loop, store, now = ToldLoop(), MemoryStore(), NOON.add(seconds=150)
    said = [evaluation("happy", NOON.add(seconds=30 * i)) for i in range(6)]
    await store.save_snapshots([snapshot(e) for e in said])
    loop.tell(said[-1])
    async with client(deps(loop, store, Clock(now))) as api:
        present = (await api.get("/")).text
        past = (await api.get("/?at=2026-11-22T12:01:00Z")).text
    assert "<small>the last 3 min</small>" in present
    assert re.findall(r"<li>([^<]+)</li>", past[past.index('class="hours"') :])[0] == "11:56:00"
    assert "<small>the 1 min before 12:01:00 UTC</small>" in past
