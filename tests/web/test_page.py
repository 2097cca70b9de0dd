import asyncio
import json
import re

import httpx
import pytest
from playwright.async_api import Browser, expect

from copilot.rules.model import HealthAssessment
from copilot.rules.signals.logs import TOP_PATTERN
from copilot.rules.signals.readings import LogPattern, Missing, MissingCode
from tests.api.conftest import client
from tests.api.standin import Clock, ToldLoop, away_store, deps
from tests.evaluations import NOON, evaluation, in_a_models_words
from tests.web.chromium import served, watched
from tests.web.stories import story
from tests.workflows.conftest import eventually

pytestmark = [pytest.mark.servers, pytest.mark.needs_debian("chromium")]


@pytest.mark.parametrize(
    ("state", "word", "light"),
    [
        pytest.param("happy", "Happy", True, id="happy"),
        pytest.param("stressed", "Stressed", False, id="stressed"),
        pytest.param("critical", "Critical", False, id="critical"),
        pytest.param("unknown", "Unknown", False, id="blind"),
    ],
)
async def test_the_page_shows_each_state_and_stays_at_home(
    browser: Browser, state: str, word: str, light: bool
) -> None:
    async with served(await story(state)) as address, watched(browser, light=light) as seen:
        await seen.page.goto(address)
        await expect(seen.page.locator("body.linked")).to_be_attached()
        await expect(seen.page.locator("h1")).to_have_text(f"State of default: {word}")
        await expect(seen.page.locator(".all")).to_have_attribute("data-state", state)
        await expect(seen.page).to_have_title(f"{word} · default · Temporal SRE Copilot")
        seen.nothing_wrong()


@pytest.mark.parametrize("width", [320, 390, 800, 1440, 2560])
async def test_nothing_hangs_over_the_edge_at_any_width(browser: Browser, width: int) -> None:
    async with served(await story("critical")) as address, watched(browser, width=width) as seen:
        await seen.page.goto(address)
        await seen.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert await seen.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


async def test_each_state_looks_different_without_its_colour() -> None:
    looks: set[str] = set()
    for state in ("happy", "stressed", "critical", "unknown"):
        async with client(await story(state)) as api:
            robot = re.search(r'<div class="robot">(.*?)</div>', (await api.get("/")).text, re.DOTALL)
        assert robot is not None
        label = re.search(r'aria-label="(Robot, [^"]+)"', robot[1])
        assert label is not None
        looks |= {re.sub(state, "", robot[1].replace(label[1], "")), label[1]}
    assert len(looks) == 8


async def test_a_new_verdict_arrives_by_itself_and_is_announced(browser: Browser) -> None:
    loop, clock = ToldLoop(), Clock()
    loop.tell(evaluation("happy"))
    async with served(deps(loop, clock=clock)) as address, watched(browser) as seen:
        await seen.page.goto(address)
        await expect(seen.page.locator("h1")).to_contain_text("Happy")
        await seen.page.locator(".every summary").click()
        clock.now = NOON.add(seconds=30)
        loop.tell(evaluation("critical", clock.now))
        await expect(seen.page.locator("h1")).to_contain_text("Critical")
        await expect(seen.page).to_have_title("Critical · default · Temporal SRE Copilot")
        await expect(seen.page.locator("#announcer")).to_have_text("The state of default is now critical")
        await expect(seen.page.locator("#icon")).to_have_attribute("href", "/static/icons/critical.svg")
        assert await seen.page.locator(".every").get_attribute("open") is not None, "what was open stays open"
        seen.nothing_wrong()


async def test_a_verdict_nobody_renews_becomes_stale_and_then_blind_before_the_readers_eyes(browser: Browser) -> None:
    loop, clock = ToldLoop(), Clock()
    loop.tell(evaluation("happy"))
    async with served(deps(loop, clock=clock)) as address, watched(browser) as seen:
        await seen.page.goto(address)
        await expect(seen.page.locator(".warning")).to_have_count(0)
        clock.now = NOON.add(seconds=50)
        await expect(seen.page.locator(".warning")).to_contain_text("Stale")
        await expect(seen.page.locator(".means")).to_contain_text("last known: making progress")
        clock.now = NOON.add(minutes=7)
        await expect(seen.page.locator(".warning")).to_contain_text("Unknown since 12:01:30 UTC")
        await expect(seen.page.locator(".warning")).to_contain_text("Before that: happy")
        await expect(seen.page.locator("h1")).to_contain_text("Unknown")
        await expect(seen.page.locator("#updated")).to_contain_text("7 min")
        seen.nothing_wrong()


async def test_a_page_whose_copilot_is_gone_says_so_and_finds_it_again(browser: Browser) -> None:
    loop = ToldLoop()
    loop.tell(evaluation("happy"))
    async with watched(browser) as seen:
        async with served(deps(loop)) as address:
            await seen.page.goto(address)
            await expect(seen.page.locator("body.linked")).to_be_attached()
        await expect(seen.page.locator("#connection")).to_contain_text("Connection to the Copilot lost")
        await expect(seen.page.locator("body.lost")).to_be_attached()
        await expect(seen.page.locator("#announcer")).to_contain_text("Connection to the Copilot lost")
        await expect(seen.page).to_have_title("Connection lost · Happy · default · Temporal SRE Copilot")
        await expect(seen.page.locator("#icon")).to_have_attribute("href", "/static/icons/unknown.svg")
        loop.tell(evaluation("stressed", NOON.add(seconds=1)))
        async with served(deps(loop), int(address.rpartition(":")[2])):
            await expect(seen.page.locator("#connection")).to_be_hidden(timeout=15_000)
            await expect(seen.page.locator("h1")).to_contain_text("Stressed")


async def test_the_page_can_be_read_without_javascript(browser: Browser) -> None:
    async with served(await story("critical")) as address, watched(browser, javascript=False) as seen:
        await seen.page.goto(address)
        await expect(seen.page.locator("h1")).to_contain_text("Critical")
        await expect(seen.page.locator(".callout")).to_contain_text("No pollers on orders")
        await expect(seen.page.locator("[data-gate=fired]").first).to_contain_text("Work stalled default orders")
        assert await seen.page.locator(".spark polyline").count() > 10
        assert await seen.page.locator(".stretch").count() > 3
        assert await seen.page.locator("noscript").text_content() is not None


async def test_a_card_opens_its_signal_over_a_longer_time(browser: Browser) -> None:
    async with served(await story("critical")) as address, watched(browser) as seen:
        await seen.page.goto(address)
        await seen.page.clock.install()
        await seen.page.locator(".card[data-signal='matching.backlog_count']").press("Enter")
        await expect(seen.page.locator("#chart-title")).to_have_text("Tasks in backlog")
        await expect(seen.page.locator("#plot canvas")).to_be_visible()
        await seen.page.get_by_role("button", name="24 h").click()
        await expect(seen.page.locator("#chart-meaning")).to_contain_text("tasks in the backlog")
        await seen.page.keyboard.press("Escape")
        await expect(seen.page.locator("#chart")).to_be_hidden()
        seen.nothing_wrong()


async def test_before_the_first_evaluation_the_page_waits_and_claims_nothing(browser: Browser) -> None:
    async with served(deps()) as address, watched(browser) as seen:
        await seen.page.goto(address)
        await expect(seen.page.locator("h1")).to_contain_text("Unknown")
        await expect(seen.page.locator(".warning")).to_contain_text(
            "No evaluation of this cluster has been received yet"
        )
        seen.nothing_wrong()


async def test_a_store_that_is_away_is_said_and_the_live_verdict_goes_on(browser: Browser) -> None:
    loop = ToldLoop()
    loop.tell(evaluation("stressed"))
    async with served(deps(loop, away_store())) as address, watched(browser) as seen:
        await seen.page.goto(address)
        await expect(seen.page.locator("h1")).to_contain_text("Stressed")
        await expect(seen.page.locator(".notice")).to_contain_text(
            "the state store at 127.0.0.1:1/copilot cannot be used"
        )
        seen.nothing_wrong()


async def test_several_clusters_can_be_switched_and_show_their_state(browser: Browser) -> None:
    loop = ToldLoop()
    loop.tell(evaluation("happy", cluster="eu"))
    loop.tell(evaluation("critical", cluster="us & ca"))
    async with served(deps(loop, clusters=("eu", "us & ca"))) as address, watched(browser) as seen:
        await seen.page.goto(address)
        await expect(seen.page.locator("h1")).to_have_text("1 critical")
        assert await seen.page.locator(".clusters > li").evaluate_all("c => c.map(li => li.dataset.cluster)") == [
            "us & ca",
            "eu",
        ]
        await expect(seen.page.locator(".cluster-card .do")).to_have_text(
            re.compile("^Do this first: Start workers for ")
        )
        await seen.page.get_by_role("link", name="us & ca").click()
        await expect(seen.page.locator("h1")).to_contain_text("Critical")
        await expect(seen.page.locator("body.linked")).to_be_attached()
        await seen.page.locator(".tab[data-state=happy]").click()
        await expect(seen.page.locator("h1")).to_contain_text("State of eu: Happy")
        await seen.page.get_by_role("link", name="Temporal SRE Copilot").click()
        loop.tell(evaluation("stressed", NOON.add(seconds=1), cluster="us & ca"))
        await expect(seen.page.locator("h1")).to_have_text("1 stressed")
        seen.nothing_wrong()


async def test_of_many_clusters_only_those_in_trouble_are_named_beside_the_one_shown() -> None:
    names = [f"c{i}" for i in range(12)]
    loop = ToldLoop()
    for name in names:
        loop.tell(evaluation("critical" if name == "c7" else "happy", cluster=name))
    async with client(deps(loop, clusters=tuple(names))) as api:
        many = (await api.get("/?cluster=c3")).text
    async with client(deps(loop, clusters=tuple(names[:8]))) as api:
        few = (await api.get("/?cluster=c3")).text
    tabs = [
        re.findall(r'class="tab"[^>]*>(?:\s*<svg.*?</svg>\s*<span>)?([^<]+)', page, re.DOTALL) for page in (many, few)
    ]
    assert tabs == [["all 12", "c3", "c7"], names[:8]]


HOSTILE = (
    "<script>window.pwned=1</script>",
    '"><img src=x onerror=window.pwned=1>',
    "' onmouseover='window.pwned=1",
    "{{ 7*7 }}{% raw %}",
    "</title></svg><svg onload=window.pwned=1>",
    "javascript:window.pwned=1",
    "\u202egnp.exe \x00 &lt;b&gt;",
    "unbroken" * 60,
)


async def test_hostile_names_are_shown_as_text_and_run_nothing(browser: Browser) -> None:
    bad = " ".join(HOSTILE)
    plain = in_a_models_words(bad, note=bad, cluster=HOSTILE[0])
    said = HealthAssessment.model_validate_json(plain.model_dump_json().replace("orders", json.dumps(bad)[1:-1]))
    read = said.signals.model_copy(update={
        "missing": {i: Missing(code=MissingCode.PARSE, detail=bad) for i in ("frontend.reachable", TOP_PATTERN)},
        "logs": (LogPattern(pattern=bad, count=3, service=bad, last_seen=NOON, sample=bad),),
    })  # fmt: skip
    said = said.model_copy(update={"evaluation_id": bad, "signals": read})
    loop = ToldLoop()
    loop.tell(said)
    async with served(deps(loop, clusters=(HOSTILE[0], HOSTILE[1]))) as address, watched(browser) as seen:
        await seen.page.goto(address)
        await expect(seen.page.locator("body.linked")).to_be_attached()
        await seen.page.get_by_role("link", name=HOSTILE[0]).click()
        await expect(seen.page.locator("body.linked")).to_be_attached()
        loop.tell(said.model_copy(update={"time": NOON.add(seconds=1), "evaluation_id": "next"}))
        await expect(seen.page.locator("footer")).to_contain_text("evaluation next")
        for element in await seen.page.locator(".card, .services li, h3, .tab").all():
            await element.hover(force=True, timeout=2_000, no_wait_after=True)
        await expect(seen.page.locator(".callout h2")).to_contain_text("<script>window.pwned=1</script>")
        assert await seen.page.evaluate("window.pwned") is None
        for width in (1440, 390):
            await seen.page.set_viewport_size({"width": width, "height": 900})
            await seen.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            assert await seen.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert await seen.page.locator("main script, main img, main [onerror], [onmouseover]").count() == 0
        seen.nothing_wrong()


async def test_the_rules_state_and_first_action_stand_above_a_models_text_and_larger() -> None:
    loop = ToldLoop()
    loop.tell(in_a_models_words("Only `or<i>ders` waits, see <b>here</b>."))
    async with client(deps(loop)) as api:
        page = (await api.get("/")).text
        css = (await api.get("/static/hero.css")).text
    texts = ("Critical since 11:57:00 UTC:", "Start workers for <code>orders</code>",
             "Only <code>or&lt;i&gt;ders</code> waits, see &lt;b&gt;here&lt;/b&gt;.")  # fmt: skip
    assert 0 < page.index(texts[0]) < page.index(texts[1]) < page.index(texts[2])
    assert "explained by the model" in page
    assert "`" not in page
    rules, action, model = (
        float(re.search(rf"^{part} {{[^}}]*font-size: (?:clamp\()?([.\d]+)rem", css, re.MULTILINE)[1])  # type: ignore[index]
        for part in (r"\.rules", r"\.callout p", r"\.model")
    )
    assert min(rules, action) > model


async def test_the_page_lists_what_the_logs_say_or_why_they_say_nothing() -> None:
    told = evaluation("stressed")
    pattern = LogPattern(
        pattern="database locked",
        count=128,
        service="history",
        last_seen=NOON,
        level="error",
        sample="‹secret-1› held it",
    )
    refused = Missing(code=MissingCode.TARGET_DOWN, detail="logs: Connection refused")
    loop = ToldLoop()
    async with served(deps(loop)) as address, httpx.AsyncClient() as client:
        loop.tell(told.model_copy(update={"signals": told.signals.model_copy(update={"logs": (pattern,)})}))

        async def shown(part: str) -> str | None:
            page = (await client.get(address)).text
            return page if part in page else None

        page = await eventually(lambda: shown("database locked"))
        for part in ("Log patterns", "128", "history", "error", "database locked", "‹secret-1› held it"):
            assert part in page
        assert "No logs" not in page
        signals = told.signals.model_copy(
            update={
                "readings": {**told.signals.readings, TOP_PATTERN: None},
                "missing": {**told.signals.missing, TOP_PATTERN: refused},
            }
        )
        later = told.time.add(seconds=10)
        loop.tell(told.model_copy(update={"signals": signals, "time": later, "evaluation_id": "later"}))
        assert await eventually(lambda: shown("No logs: logs: Connection refused."))


async def test_the_server_ends_at_once_though_pages_are_open(browser: Browser) -> None:
    loop = ToldLoop()
    loop.tell(evaluation("happy"))
    async with watched(browser) as seen:
        async with served(deps(loop)) as address:
            await seen.page.goto(address)
            await expect(seen.page.locator("body.linked")).to_be_attached()
            before = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - before < 2.0
