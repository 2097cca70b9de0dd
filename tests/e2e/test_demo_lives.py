"""The whole way on real servers: a healthy cluster, a killed Copilot worker, dead workers, the end.

One demo; its tests run in this order, and each leaves the cluster happy.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from playwright.async_api import Browser, expect
from whenever import Instant

from tests.e2e.running_demo import (
    CRITICAL_WITHIN,
    HAPPY_WITHIN,
    INTERVAL_SEC,
    PRINTED_WITHIN,
    STRESSED_WITHIN,
    Demo,
    Line,
    running_demo,
    told,
)
from tests.folders import passable_folder
from tests.web.chromium import browser, watched

__all__ = ["browser"]
IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"

pytestmark = [pytest.mark.servers, pytest.mark.alone]


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with passable_folder() as folder, running_demo(folder) as running:
        yield running


def states(lines: list[Line]) -> list[str]:
    return [line["health_state"] for line in lines]


def others(lines: list[Line], *expected: str) -> list[Any]:
    """What the lines in none of these states say."""
    return [told(line) for line in lines if line["health_state"] not in expected]


async def look(demo: Demo, browser: Browser, name: str, *texts: str) -> None:
    """Open the demo's page, see that it says this, and keep a picture of it for the README where one is asked for."""
    async with watched(browser, light=name == "happy", width=1180, height=880) as seen:
        await seen.page.goto(demo.described().page)
        await expect(seen.page.locator("body.linked")).to_be_attached()
        said = (await seen.page.inner_text("body")).lower()
        assert [text for text in texts if text.lower() not in said] == []
        if os.environ.get("COPILOT_SCREENSHOTS"):
            await seen.page.screenshot(path=IMAGES / f"demo-{name}.png")
        seen.nothing_wrong()


def when(line: Line) -> Instant:
    return Instant.parse_iso(line["time"])


def test_a_healthy_cluster_is_happy_with_its_own_numbers(demo: Demo) -> None:
    demo.until_state("happy", within=120)
    seen = [demo.next() for _ in range(6)]
    assert others(seen, "happy") == []
    last = seen[-1]
    assert last["coverage"] == 1.0
    assert 0.5 < last["readings"]["demand.starts_per_sec"] < 8.0
    assert last["readings"]["matching.tasks_dispatched_per_sec"] > 1.0
    assert last["readings"]["frontend.reachable"] == 1.0


def test_every_face_says_the_same(demo: Demo) -> None:
    line, page = demo.next(), demo.described().page
    status = demo.status()
    assert status["health_state"] == line["health_state"] == "happy"
    assert "Happy" in httpx.get(page).text
    said = demo.copilot("status", "--config", str(demo.described().config))
    assert said.returncode == 0
    assert "happy" in said.stdout.lower()


@pytest.mark.needs_debian("chromium")
async def test_a_browser_shows_the_happy_cluster_and_asks_nobody_else(demo: Demo, browser: Browser) -> None:
    await look(demo, browser, "happy", "Happy")


def test_a_killed_copilot_worker_loses_no_state_and_doubles_nothing(demo: Demo) -> None:
    before, since = demo.next(), demo.status()["since"]
    demo.child("worker").send_signal(signal.SIGKILL)
    after = [demo.next() for _ in range(3)]
    assert others(after, "happy") == []
    assert demo.status()["since"] == since
    times = [when(line) for line in demo.lines]
    assert times == sorted(set(times))
    assert (when(after[0]) - when(before)).total("seconds") <= 6 * INTERVAL_SEC
    assert after[-1]["readings"]["matching.tasks_dispatched_per_sec"] > 1.0
    assert "copilot-worker" in demo.said()


def test_dead_workers_are_critical_in_time_and_named(demo: Demo) -> None:
    start = Instant.now()
    demo.fault("workers-down")
    lines = demo.until_state("stressed", STRESSED_WITHIN + PRINTED_WITHIN)
    lines += demo.until_state("critical", CRITICAL_WITHIN + PRINTED_WITHIN - (Instant.now() - start).total("seconds"))
    assert others(lines[:-1], "happy", "stressed") == []
    assert (lines[-1]["top_factor"], lines[-1]["bottleneck"]) == ("no_pollers", "worker_limited")
    status = demo.status()
    assert "orders" in status["summary"]
    advice = " ".join(a["description"] for a in status["recommended_actions"]).lower()
    assert "start workers" in advice
    assert "restart the server" not in advice
    assert demo.copilot("status", "--config", str(demo.described().config)).returncode == 1


@pytest.mark.needs_debian("chromium")
async def test_a_browser_shows_the_critical_cluster_and_its_cause(demo: Demo, browser: Browser) -> None:
    await look(demo, browser, "critical", "Critical", "No pollers on")


def test_started_workers_bring_happy_back(demo: Demo) -> None:
    demo.fault("workers-down", "--clear")
    back = demo.until_state("happy", HAPPY_WITHIN)
    assert "stressed" in states(back)


def test_ctrl_c_ends_every_process_and_exits_0(demo: Demo) -> None:
    family = psutil.Process(demo.process.pid).children(recursive=True)
    assert len(family) >= 9
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(timeout=30) == 0
    assert psutil.wait_procs(family, timeout=10)[1] == []
    assert Path(demo.folder, "stderr.txt").exists()
