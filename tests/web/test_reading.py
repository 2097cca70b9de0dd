"""Who reads the page: by ear, by keyboard, on a telephone, on paper, in the dark."""

from dataclasses import replace

import pytest
from playwright.async_api import Browser, expect

from copilot.api.auth import new_token, token_hash
from copilot.rules.signals.readings import LogPattern
from copilot.settings.api import ApiSettings
from tests.api.standin import ToldLoop, deps
from tests.api.test_status import telling
from tests.evaluations import NOON, evaluation, in_a_models_words
from tests.web.axe import barriers
from tests.web.chromium import open_page, served, watched
from tests.web.stories import story

pytestmark = [pytest.mark.servers, pytest.mark.needs_debian("chromium")]

OPEN_ALL = "document.querySelectorAll('details').forEach(d => d.open = true)"
WIDTHS = (320, 800, 2560, 390, 1440)
CONTRAST = "color-contrast"
"""The rule of axe-core that a theme can break; axe-core takes long, and of the other theme needs no more."""


@pytest.mark.parametrize("state", ["happy", "stressed", "critical", "unknown"])
async def test_each_state_is_shown_without_barriers_and_overflow(browser: Browser, state: str) -> None:
    async with served(await story(state)) as address, watched(browser) as seen:
        await open_page(seen, address)
        await expect(seen.page.locator("h1")).to_have_text(f"State of default: {state.capitalize()}")
        await expect(seen.page.locator(".all")).to_have_attribute("data-state", state)
        await expect(seen.page).to_have_title(f"{state.capitalize()} · default · Temporal SRE Copilot")
        await seen.page.evaluate(OPEN_ALL)
        part = "html" if state in ("critical", "unknown") else ".hero"
        for width in WIDTHS:
            await seen.page.set_viewport_size({"width": width, "height": 1000})
            assert await seen.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, width
            if width == 390:
                await seen.page.emulate_media(color_scheme="light")
                assert await barriers(seen.page, part=part) == [], "light, 390 px"
                await seen.page.emulate_media(color_scheme="dark")
        assert await barriers(seen.page, CONTRAST, part=part) == [], "dark, 1440 px"
        seen.nothing_wrong()


async def test_no_other_page_has_barriers(browser: Browser) -> None:
    loop = ToldLoop()
    said = in_a_models_words("MODEL-WORDS", cluster="eu")
    judged = tuple(replace(g, evidence={"matching.backlog_count": 1204.0}) for g in said.verdict.gates)
    said = said.model_copy(update={"verdict": said.verdict.model_copy(update={"gates": judged})})
    logs = (
        LogPattern(pattern="database locked", count=128, service="history", last_seen=NOON, sample="it was locked"),
    )
    loop.tell(said.model_copy(update={"signals": said.signals.model_copy(update={"logs": logs})}))
    loop.tell(evaluation("happy", cluster="us"))
    token = new_token()
    locked = ApiSettings(tokens={"alice": token_hash(token)})
    over = deps(loop, clusters=("eu", "us", "never"))
    async with served(over) as open_address, served(over, settings=locked) as locked_address, watched(browser) as seen:

        async def readable(*rules: str, dark: bool = False, part: str = "html") -> None:
            await seen.page.emulate_media(color_scheme="dark" if dark else "light")
            assert await barriers(seen.page, *rules, part=part) == [], f"{seen.page.url}, dark: {dark}"

        await seen.page.goto(open_address + "/")
        await readable()
        await readable(CONTRAST, dark=True)
        await seen.page.goto(open_address + "/?cluster=eu&sort=service")
        await seen.page.evaluate(OPEN_ALL)
        await readable(dark=True)
        await seen.page.locator(".callout .runbook-link").click()
        await expect(seen.page.locator("#runbook h1")).to_be_visible()
        await readable(part="#runbook")
        await seen.page.goto(open_address + "/runbooks/no_pollers/page")
        await expect(seen.page.locator("main h1")).to_be_visible()
        await readable(CONTRAST)
        await seen.page.set_viewport_size({"width": 390, "height": 1000})
        await readable(dark=True)
        await seen.page.goto(open_address + "/?cluster=eu&at=2026-01-01")
        await readable()
        seen.nothing_wrong()
        await seen.page.goto(locked_address)
        await expect(seen.page.get_by_label("Token")).to_be_focused()
        await readable()
        await readable(CONTRAST, dark=True)


async def test_the_keyboard_alone_is_enough_and_a_print_has_a_white_background(browser: Browser) -> None:
    async with served(await story("critical")) as address, watched(browser) as seen:
        await open_page(seen, address)
        assert await seen.page.evaluate("document.getAnimations().length") == 0, "of one who wants reduced motion"
        await seen.page.keyboard.press("Tab")
        await expect(seen.page.get_by_role("link", name="Skip to what is wrong")).to_be_focused()
        await seen.page.keyboard.press("Enter")
        await expect(seen.page.locator("#analysis")).to_be_focused()
        runbook = seen.page.locator(".action .runbook-link")
        assert (await runbook.get_attribute("href") or "").startswith("/runbooks/no_pollers/page")
        for _ in range(12):
            await seen.page.keyboard.press("Tab")
            if await runbook.evaluate("e => e === document.activeElement"):
                break
        await seen.page.keyboard.press("Enter")
        await expect(seen.page.locator("#runbook h1")).to_be_visible()
        assert seen.page.url == address + "/#analysis"
        await seen.page.keyboard.press("Escape")
        await expect(seen.page.locator("#runbook")).to_be_hidden()
        await expect(runbook).to_be_focused()

        await seen.page.locator(".card[data-signal='matching.backlog_count']").press("Enter")
        await expect(seen.page.locator("#chart-title")).to_have_text("Tasks in backlog")
        await expect(seen.page.locator("#plot canvas")).to_be_visible()
        await seen.page.get_by_role("button", name="24 h").press("Enter")
        await expect(seen.page.locator("#chart-meaning")).to_contain_text("tasks in the backlog")
        await seen.page.keyboard.press("Escape")
        await expect(seen.page.locator("#chart")).to_be_hidden()

        await seen.page.emulate_media(media="print")
        await expect(seen.page.locator(".filter")).to_be_hidden()
        background = "getComputedStyle(document.querySelector('.hero')).backgroundImage"
        assert await seen.page.evaluate(background) == "none"
        await expect(seen.page.locator(".story dl")).to_be_visible()
        await expect(seen.page.locator("h1").first).to_be_visible()
        seen.nothing_wrong()


async def test_a_browser_logs_in_watches_and_logs_out(browser: Browser) -> None:
    token = new_token()
    locked = ApiSettings(tokens={"alice": token_hash(token)})
    async with served(deps(telling("happy")), settings=locked) as address, watched(browser) as seen:
        await seen.page.goto(address + "/?show=critical")
        await seen.page.get_by_label("Token").fill(token)
        await seen.page.keyboard.press("Enter")
        await expect(seen.page.locator("body.linked")).to_be_attached()
        assert seen.page.url == address + "/?show=critical"
        assert await seen.page.evaluate("document.cookie") == ""
        await seen.page.get_by_role("button", name="Log out").click()
        await expect(seen.page.get_by_label("Token")).to_be_visible()
        seen.nothing_wrong()
