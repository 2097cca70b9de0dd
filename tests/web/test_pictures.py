"""The pictures of the README, of recordings. COPILOT_SCREENSHOTS=1 writes them (those of the demo: tests/e2e)."""

import os
from pathlib import Path

import pytest
from playwright.async_api import Browser

from copilot.api.deps import Deps
from tests.api.standin import Clock, ToldLoop, deps
from tests.evaluations import NOON, evaluation
from tests.web.chromium import open_page, served, watched
from tests.web.stories import story

IMAGES = Path(__file__).parents[2] / "docs" / "images"
WRITING = os.environ.get("COPILOT_SCREENSHOTS") == "1"
MAX_BYTES = 300_000
PICTURES = {
    "happy": ("happy", "/", True),
    "stressed": ("stressed", "/", False),
    "critical": ("critical", "/", False),
    "blind": ("unknown", "/", False),
    "past": ("happy", "/?at=2026-11-22T07:43:00Z", False),
    "overview": (None, "/", False),
}


def several() -> Deps:
    loop = ToldLoop()
    states = {"eu-central": "critical", "us-east": "happy", "us-west": "happy", "ap-south": "stressed"}
    for name, state in states.items():
        loop.tell(evaluation(state, cluster=name))
    return deps(loop, clock=Clock(NOON.add(seconds=4)), clusters=tuple(states))


@pytest.mark.servers
@pytest.mark.needs_debian("chromium")
@pytest.mark.parametrize("name", PICTURES if WRITING else ["past"])
async def test_a_picture_can_be_taken(browser: Browser, name: str, tmp_path: Path) -> None:
    """It replaces the README's with COPILOT_SCREENSHOTS=1; without it, one picture is enough."""
    folder = IMAGES if WRITING else tmp_path
    state, path, light = PICTURES[name]
    shown = await story(state) if state else several()
    async with served(shown) as address, watched(browser, light=light, width=1180, height=880) as seen:
        await open_page(seen, address + path)
        height = min(880, await seen.page.evaluate("document.querySelector('footer').getBoundingClientRect().bottom"))
        clip = {"x": 0.0, "y": 0.0, "width": 1180.0, "height": float(height)}
        await seen.page.screenshot(path=folder / f"{name}.png", clip=clip)  # type: ignore[arg-type]
    assert 10_000 < (folder / f"{name}.png").stat().st_size < MAX_BYTES


def test_pictures_exist_and_are_not_huge() -> None:
    sizes = {name: (IMAGES / f"{name}.png").stat().st_size for name in (*PICTURES, "demo-happy", "demo-critical")}
    assert {name: size for name, size in sizes.items() if not 10_000 < size < MAX_BYTES} == {}
