"""The whole way on real servers: a healthy cluster, a killed Copilot worker, dead workers, the end."""

import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, expect
from whenever import Instant

from copilot.embedded.data_folder import find_demo
from tests.e2e.running_demo import (
    CRITICAL_WITHIN,
    HAPPY_WITHIN,
    INTERVAL_SEC,
    PRINTED_WITHIN,
    STRESSED_WITHIN,
    Line,
    running_demo,
    told,
)
from tests.folders import passable_folder
from tests.web.chromium import browser, watched

__all__ = ["browser"]
IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"

pytestmark = [pytest.mark.servers, pytest.mark.alone, pytest.mark.long, pytest.mark.needs_debian("chromium")]


def others(lines: list[Line], *expected: str) -> list[Any]:
    """What the lines in none of these states say."""
    return [told(line) for line in lines if line["health_state"] not in expected]


async def look(page: str, browser: Browser, name: str, *texts: str) -> None:
    """Open the demo's page, see that it says this, and keep a picture of it for the README where one is asked for."""
    async with watched(browser, light=name == "happy", width=1180, height=880) as seen:
        await seen.page.goto(page)
        await expect(seen.page.locator("body.linked")).to_be_attached()
        said = (await seen.page.inner_text("body")).lower()
        assert [text for text in texts if text.lower() not in said] == []
        if os.environ.get("COPILOT_SCREENSHOTS"):
            await seen.page.screenshot(path=IMAGES / f"demo-{name}.png")
        seen.nothing_wrong()


def when(line: Line) -> Instant:
    return Instant.parse_iso(line["time"])


@pytest.mark.timeout(1200)
async def test_a_demo_is_happy_outlives_its_worker_is_critical_without_workers_and_happy_with_them_again(
    browser: Browser,
) -> None:
    with passable_folder() as folder, running_demo(folder) as demo:
        demo.until_state("happy", within=240)
        about = find_demo(folder)

        def status() -> dict[str, Any]:
            answer: dict[str, Any] = httpx.get(f"{about.page}/status", timeout=30).json()
            return answer

        healthy = [demo.next() for _ in range(6)]
        assert others(healthy, "happy") == []
        last = healthy[-1]
        assert last["coverage"] == 1.0
        assert 0.5 < last["readings"]["demand.starts_per_sec"] < 8.0
        assert last["readings"]["matching.tasks_dispatched_per_sec"] > 1.0
        assert last["readings"]["frontend.reachable"] == 1.0

        # Every face says the same, and a browser asks nobody else.
        since = status()["since"]
        assert status()["health_state"] == "happy"
        said = demo.copilot("status", "--config", str(about.config))
        assert (said.returncode, "happy" in said.stdout.lower()) == (0, True)
        await look(about.page, browser, "happy", "Happy")

        # A killed Copilot worker loses no state and doubles nothing.
        before = demo.next()
        demo.child("worker").send_signal(signal.SIGKILL)
        after = [demo.next() for _ in range(3)]
        assert others(after, "happy") == []
        assert status()["since"] == since
        times = [when(line) for line in demo.lines]
        assert times == sorted(set(times))
        assert (when(after[0]) - when(before)).total("seconds") <= 6 * INTERVAL_SEC
        assert after[-1]["readings"]["matching.tasks_dispatched_per_sec"] > 1.0
        assert "copilot-worker" in demo.said()

        # Dead workers are critical in time, and named.
        start, here = Instant.now(), ("--data-dir", str(folder))
        assert demo.copilot("fault", "workers-down", *here).returncode == 0
        lines = demo.until_state("stressed", STRESSED_WITHIN + PRINTED_WITHIN)
        left = CRITICAL_WITHIN + PRINTED_WITHIN - (Instant.now() - start).total("seconds")
        lines += demo.until_state("critical", left)
        assert others(lines[:-1], "happy", "stressed") == []
        assert (lines[-1]["top_factor"], lines[-1]["bottleneck"]) == ("no_pollers", "worker_limited")
        critical = status()
        assert "orders" in critical["summary"]
        advice = " ".join(a["description"] for a in critical["recommended_actions"]).lower()
        assert "start workers" in advice
        assert "restart the server" not in advice
        assert demo.copilot("status", "--config", str(about.config)).returncode == 1
        await look(about.page, browser, "critical", "Critical", "No pollers on")

        assert demo.copilot("fault", "workers-down", "--clear", *here).returncode == 0
        back = demo.until_state("happy", HAPPY_WITHIN)
        assert "stressed" in [line["health_state"] for line in back]

        demo.ends_on_ctrl_c()
        assert (folder / "stderr.txt").exists()
