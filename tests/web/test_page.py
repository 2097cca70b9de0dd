import json
import re

import pytest
from playwright.async_api import Browser, expect

from copilot.rules.model import HealthAssessment
from copilot.rules.signals.change import Change
from copilot.rules.signals.logs import TOP_PATTERN
from copilot.rules.signals.readings import LogPattern, Missing, MissingCode
from tests.api.conftest import client
from tests.api.standin import Clock, ToldLoop, away_store, deps
from tests.api.test_status import telling
from tests.evaluations import NOON, evaluation, in_a_models_words
from tests.web.chromium import open_page, served, watched
from tests.web.stories import lived, story

pytestmark = [pytest.mark.servers, pytest.mark.needs_debian("chromium")]


async def test_each_state_looks_different_without_its_color() -> None:
    looks: set[str] = set()
    for state in ("happy", "stressed", "critical", "unknown"):
        async with client(deps(telling(state))) as api:
            robot = re.search(r'<div class="robot">(.*?)</div>', (await api.get("/")).text, re.DOTALL)
        assert robot is not None
        label = re.search(r'aria-label="(Robot, [^"]+)"', robot[1])
        assert label is not None
        looks |= {re.sub(state, "", robot[1].replace(label[1], "")), label[1]}
    assert len(looks) == 8


async def test_an_open_page_follows_its_verdicts_and_says_when_they_or_the_server_are_gone(
    browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    loop, clock = telling("happy"), Clock()
    async with watched(browser) as seen:
        title, warning = seen.page.locator("h1"), seen.page.locator(".warning")
        processes = seen.page.locator("#processes")
        announcer, icon = seen.page.locator("#announcer"), seen.page.locator("#icon")
        async with served(deps(loop, clock=clock)) as address:
            await open_page(seen, address)
            await expect(title).to_contain_text("Happy")
            await expect(warning).to_have_count(0)
            await expect(processes.locator("p")).to_have_text("2 processes are read.")
            await expect(processes.locator("table")).to_be_hidden()
            await seen.page.locator(".every summary").click()

            clock.now = NOON.add(seconds=30)
            loop.tell(evaluation("critical", clock.now))
            await expect(title).to_contain_text("Critical")
            await expect(seen.page).to_have_title("Critical · default · Temporal SRE Copilot")
            await expect(announcer).to_have_text("The state of default is now critical")
            await expect(processes.locator("p")).to_contain_text("The worker process is not read: http://10.0.0.2:9464")
            await expect(processes.locator("[data-process=not_read]")).to_contain_text("not read: Connection refused")
            await expect(icon).to_have_attribute("href", "/static/icons/critical.svg")
            assert await seen.page.locator(".every").get_attribute("open") is not None, "what was open stays open"

            clock.now = NOON.add(seconds=80)
            await expect(warning).to_contain_text("Stale")
            await expect(seen.page.locator(".means")).to_contain_text("last known: no forward progress")
            clock.now = NOON.add(minutes=7)
            await expect(warning).to_contain_text("Unknown since 12:02:00 UTC")
            await expect(warning).to_contain_text("Before that: critical")
            await expect(title).to_contain_text("Unknown")
            await expect(seen.page.locator("#updated")).to_contain_text("6 min")
            seen.nothing_wrong()
        assert "graceful shutdown exceeded" not in caplog.text, "an open page does not hold the server up"

        await expect(seen.page.locator("#connection")).to_contain_text("Connection to the Copilot lost")
        await expect(seen.page.locator("body.lost")).to_be_attached()
        await expect(announcer).to_contain_text("Connection to the Copilot lost")
        await expect(seen.page).to_have_title("Connection lost · Unknown · default · Temporal SRE Copilot")
        await expect(icon).to_have_attribute("href", "/static/icons/unknown.svg")
        loop.tell(evaluation("stressed", clock.now))
        async with served(deps(loop, clock=clock), int(address.rpartition(":")[2])):
            await expect(seen.page.locator("#connection")).to_be_hidden()
            await expect(title).to_contain_text("Stressed")


async def test_changes_are_marks_on_the_timeline_and_those_before_the_problem_a_list(browser: Browser) -> None:
    store, loop, clock = await lived("critical")
    began = loop.newest["default"].began
    assert began is not None
    deploys = [
        Change(
            cluster="default", at=began.subtract(minutes=n), kind="deploy", text=f"`v{n}`", task_queue=queue, link=link
        )
        for n, queue, link in ((1, "", ""), (5, "orders", "https://ci.example/5?a=<b>"), (90, "", ""))
    ]
    await store.save_changes(deploys)
    async with served(deps(loop, store, clock)) as address, watched(browser) as seen:
        await open_page(seen, address)
        await expect(seen.page.locator(".timeline .change")).to_have_count(3)
        before = seen.page.locator("ul.before li")
        await expect(before).to_have_text(["5 min before: v5", "1 min before: v1"])
        await expect(before.locator("a")).to_have_attribute("href", "https://ci.example/5?a=<b>")
        await expect(seen.page.locator(".key .mark")).to_be_visible()
        await seen.page.locator(".changes summary").first.click()
        await expect(seen.page.locator("[data-key^='change '] code").last).to_have_text("v90")
        seen.nothing_wrong()


async def test_the_page_is_complete_without_javascript() -> None:
    async with client(await story("critical")) as api:
        page = (await api.get("/")).text
    for part in ("</span>Critical</h1>", '<section class="callout" data-severity="critical"', "<noscript>",
                 "No pollers on <code>orders</code>", 'data-key="gate work_stalled default orders'):  # fmt: skip
        assert part in page
    assert (page.count("<polyline") > 10, page.count('class="stretch"') > 3) == (True, True)


async def test_what_is_missing_is_named_at_the_top() -> None:
    async with client(deps()) as api:
        assert "No evaluation of this cluster has been received yet" in (await api.get("/")).text
    async with client(deps(telling("stressed"), away_store())) as api:
        page = (await api.get("/")).text
    assert "</span>Stressed</h1>" in page
    assert "</strong> the state store at 127.0.0.1:1/copilot cannot be used" in page


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


async def test_of_many_clusters_only_the_unhappy_ones_have_tabs() -> None:
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


HOVER = "document.querySelectorAll('*').forEach(e => e.dispatchEvent(new MouseEvent('mouseover', {bubbles: true})))"


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
        await open_page(seen, address)
        await seen.page.get_by_role("link", name=HOSTILE[0]).click()
        await expect(seen.page.locator("body.linked")).to_be_attached()
        loop.tell(said.model_copy(update={"time": NOON.add(seconds=1), "evaluation_id": "next"}))
        await expect(seen.page.locator("footer")).to_contain_text("evaluation next")
        await seen.page.evaluate(HOVER)
        await expect(seen.page.locator(".callout h2")).to_contain_text("<script>window.pwned=1</script>")
        assert await seen.page.evaluate("window.pwned") is None
        for width in (1440, 390):
            await seen.page.set_viewport_size({"width": width, "height": 900})
            await seen.page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            assert await seen.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert await seen.page.locator("main script, main img, main [onerror], [onmouseover]").count() == 0
        seen.nothing_wrong()


async def test_the_rules_summary_and_first_action_are_above_a_models_text_and_larger() -> None:
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


async def test_the_page_lists_log_patterns_or_why_there_are_none() -> None:
    signals = evaluation("stressed").signals
    pattern = LogPattern(
        pattern="database locked",
        count=128,
        service="history",
        last_seen=NOON,
        level="error",
        sample="‹secret-1› held it",
    )
    refused = Missing(code=MissingCode.TARGET_DOWN, detail="logs: Connection refused")
    read = signals.model_copy(update={"logs": (pattern,)})
    unread = signals.model_copy(
        update={"readings": signals.readings | {TOP_PATTERN: None}, "missing": signals.missing | {TOP_PATTERN: refused}}
    )
    async with client(deps(telling("stressed", signals=read))) as api:
        page = (await api.get("/")).text
    for part in ("Log patterns", "128", "history", "error", "database locked", "‹secret-1› held it"):
        assert part in page
    assert "No logs" not in page
    async with client(deps(telling("stressed", signals=unread))) as api:
        assert "No logs: logs: Connection refused." in (await api.get("/")).text
