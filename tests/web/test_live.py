"""The page stays where its reader is while the world changes."""

from html import unescape
from re import sub

import pytest
from httpx import AsyncClient
from playwright.async_api import Browser, expect

from copilot.rules.signals.readings import LogPattern
from copilot.settings.api import ApiSettings
from tests.api.conftest import client
from tests.api.standin import ToldLoop, deps
from tests.api.test_status import telling
from tests.evaluations import NOON, evaluation, issue
from tests.web.chromium import open_page, served, watched

pytestmark = [pytest.mark.servers, pytest.mark.needs_debian("chromium")]


def with_logs(loop: ToldLoop, tick: int, *patterns: tuple[int, str, str]) -> None:
    said = evaluation("stressed", NOON.add(seconds=tick))
    logs = tuple(
        LogPattern(pattern=text, count=count, service=service, level="error", last_seen=NOON, sample=f"{text} 7")
        for count, service, text in patterns
    )
    loop.tell(said.model_copy(update={"signals": said.signals.model_copy(update={"logs": logs})}))


async def test_an_update_keeps_place_focus_open_details_elements_and_the_chosen_order(browser: Browser) -> None:
    loop = ToldLoop()
    with_logs(loop, 0, (3, "matching", "b"), (9, "history", "c"))
    async with served(deps(loop)) as address, watched(browser, height=500) as seen:
        await open_page(seen, address)
        counts = seen.page.locator(".logs tbody td:first-child")
        await expect(counts).to_have_text(["9", "3"])
        await seen.page.get_by_role("link", name="Pattern").click()
        await expect(counts).to_have_text(["3", "9"])
        await expect(seen.page.locator("[aria-sort]")).to_have_text("Pattern")
        await seen.page.locator(".story summary").click()
        await seen.page.locator(".logs details").first.locator("summary").click()
        await seen.page.locator(".findings .chip").first.focus()
        await seen.page.evaluate("window.kept = [document.activeElement, document.querySelector('.logs'), scrollY]")
        with_logs(loop, 1, (3, "matching", "b"), (9, "history", "c"), (5, "frontend", "a"))
        await expect(counts).to_have_text(["5", "3", "9"])
        assert await seen.page.evaluate(
            "kept[0] === document.activeElement && kept[1] === document.querySelector('.logs') && kept[2] === scrollY"
        )
        opened = await seen.page.locator("details[open]").evaluate_all("all => all.map(d => d.dataset.key)")
        assert opened == ["story", "processes", "sample b"]
        seen.nothing_wrong()


async def test_without_a_free_event_stream_the_page_polls(browser: Browser) -> None:
    loop = telling("happy")
    one = ApiSettings(max_event_streams=1)
    async with (
        served(deps(loop), settings=one) as address,
        watched(browser) as seen,
        AsyncClient() as other,
        other.stream("GET", f"{address}/events"),
    ):
        await open_page(seen, address)
        loop.tell(evaluation("stressed", NOON.add(seconds=1)))
        await expect(seen.page.locator("h1")).to_contain_text("Stressed")
        await expect(seen.page.locator("#connection")).to_be_hidden()


async def test_the_hero_shows_the_worst_finding_once() -> None:
    loop, worst = ToldLoop(), issue()
    loop.tell(evaluation("critical"))
    async with client(deps(loop)) as api:
        hero = unescape(sub("</?code>", "`", (await api.get("/")).text.partition("<main>")[0]))
    assert (hero.count(worst.title), hero.count(worst.likely_cause)) == (1, 1)
