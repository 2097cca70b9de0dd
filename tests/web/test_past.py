"""The past on the page: sparklines, the timeline, and a moment shared as a link."""

import re

import pytest
from playwright.async_api import Browser, expect

from copilot.rules.model import Severity
from copilot.web.drawing import spark
from tests.api.conftest import client
from tests.api.standin import Clock, ToldLoop, deps
from tests.evaluations import NOON, assessment, evaluation, issue, snapshot
from tests.fakes.memory_store import MemoryStore
from tests.web.chromium import open_page, served, watched
from tests.web.stories import story

INCIDENT = NOON.subtract(minutes=257)
"""In the lived hours it was critical then, for five minutes."""


def address_of(at: object) -> str:
    return f"/?cluster=default&at={at}"


async def test_a_link_to_a_moment_shows_what_was_said_then_and_says_so() -> None:
    async with client(await story("happy")) as api:
        then = (await api.get(address_of(INCIDENT))).text
        before = (await api.get(address_of(NOON.subtract(hours=7)))).text
        told = (await api.get("/status", params={"at": str(INCIDENT)})).json()
        now = (await api.get("/")).text
        ahead = (await api.get(address_of(NOON.add(hours=1)))).text
    assert 'data-state="critical"' in then
    assert "Historical view" in then
    assert "7:43:00 UTC" in then
    assert (told["health_state"], told["timestamp"]) == ("critical", INCIDENT.format_iso())
    assert "No evaluation is stored for this time." in before
    for page in (now, ahead):
        assert 'class="all" data-state="happy"' in page
        assert "Historical view" not in page


async def test_what_nobody_renewed_was_blind_then_too() -> None:
    async with client(await story("happy")) as api:
        told = (await api.get("/status", params={"at": str(NOON.subtract(hours=6).add(minutes=2))})).json()
        later = await api.get("/status", params={"at": "2126-01-01"})
        long_ago = await api.get("/?at=0001-01-01")
    assert told["health_state"] == "happy"
    assert (later.status_code, later.json()["error"]["code"]) == (404, "yet_to_come")
    assert long_ago.status_code == 422


@pytest.mark.servers
@pytest.mark.needs_debian("chromium")
async def test_the_timeline_leads_into_the_past_and_back(browser: Browser) -> None:
    async with served(await story("happy")) as address, watched(browser) as seen:
        await open_page(seen, address)
        await seen.page.locator(".changes summary").click()
        await seen.page.locator(".filter a[data-state=critical]").click()
        await expect(seen.page.locator(".changes li")).to_have_count(1)
        await seen.page.locator(".changes li a").click()
        await expect(seen.page.locator("h1")).to_contain_text("Critical")
        await expect(seen.page.locator(".then")).to_contain_text("Historical view")
        await expect(seen.page).to_have_url(address + "/?cluster=default&at=2026-11-22T07%3A41%3A00Z&show=critical")
        await seen.page.get_by_role("link", name="previous change").click()
        await expect(seen.page.locator("h1")).to_contain_text("Stressed")
        await seen.page.go_back()
        await expect(seen.page.locator("h1")).to_contain_text("Critical")
        await seen.page.get_by_role("button", name="Copy link").click()
        await expect(seen.page.locator("#announcer")).to_contain_text("Link copied")
        await seen.page.get_by_role("link", name="Back to now").click()
        await expect(seen.page.locator("h1")).to_contain_text("Happy")
        seen.nothing_wrong()


async def test_issues_of_the_last_day_are_listed_with_their_end_and_their_begin_leads_there() -> None:
    loop, store = ToldLoop(), MemoryStore()
    begun, over = NOON.subtract(minutes=50), NOON.subtract(minutes=20)
    found = (issue(), issue(subject="billing", severity=Severity.WARNING))
    for findings, time in ((found, NOON.subtract(hours=30)), ((), NOON.subtract(hours=29)), (found, begun), ((), over)):
        state = "critical" if findings else "happy"
        await store.save_assessment(assessment(state, time, findings=findings))
    loop.tell(evaluation("happy"))
    async with client(deps(loop, store)) as api:
        page = (await api.get("/")).text
        warnings = (await api.get("/?show=stressed")).text
        neither = (await api.get("/?show=happy")).text
    assert page.count("after 30 min") == 2, "what was over a day ago is not told any more"
    assert "at=2026-11-22T11%3A10%3A00Z" in page
    listed = warnings[warnings.index('id="issues"') :]
    assert '<tr data-severity="warning"' in listed
    assert '<tr data-severity="critical"' not in listed
    assert "None that caused happy." in neither


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
