"""What is read beside the verdict, in a browser: from a real dev server's stuck executions to its own UI's pages."""

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, Page, expect
from temporalio.testing import ActivityEnvironment
from typer.testing import CliRunner
from whenever import Instant

from copilot.cli.main import app
from copilot.inspection.executions import ExecutionsKind, Inspection
from copilot.inspection.workers import Executor, WorkerRow, WorkersListed, merged
from copilot.loops.activities.inspect import InspectActivities, WorkerKeeper
from copilot.loops.messages import ClusterNow
from copilot.redaction.redactor import redacted_name
from copilot.sources.temporal.executions import ExecutionsReader
from copilot.sources.temporal.source import TemporalApiSource
from tests.api.conftest import client
from tests.api.standin import Clock, ToldLoop, deps
from tests.evaluations import NOON, evaluation
from tests.fakes.memory_store import MemoryStore
from tests.sources.test_executions import REPORTS_SOON, checkouts, cluster
from tests.sources.watched_frontend import dev_server
from tests.web.chromium import open_page, served, watched
from tests.workflows.conftest import eventually

NAMED = re.compile("stuck-[012]")


@pytest.mark.servers
@pytest.mark.needs_debian("chromium")
async def test_stuck_executions_are_shown_by_name_and_link_to_their_pages(browser: Browser, tmp_path: Path) -> None:
    async with dev_server(tmp_path, REPORTS_SOON, ui=True) as server, checkouts(server, well=1):
        settings, store, loop = cluster(server.address, server.ui_url), MemoryStore(), ToldLoop()
        inspecting = InspectActivities({"default": ExecutionsReader(settings, redact=redacted_name)}, store)
        source = TemporalApiSource(settings)
        keeper = WorkerKeeper({"default": [source]}, store, redacted_name)

        async def three_are_stored() -> bool | None:
            now = ClusterNow(cluster="default", now=Instant.now().timestamp())
            await ActivityEnvironment().run(inspecting.inspect_executions, now)
            found = Inspection.model_validate(await store.inspection("default", "executions"))
            return found.chosen(ExecutionsKind.REPORTED_PROBLEMS)[0].count == 3 or None

        async def workers_are_stored() -> bool | None:
            await source.read(Instant.now())
            keeper.after_read("default")
            return bool((await store.inspection("default", "workers") or {}).get("workers")) or None

        assert await eventually(three_are_stored, within=90)
        assert await eventually(workers_are_stored)
        loop.tell(evaluation("happy", Instant.now()))
        clock = Clock(Instant.now())
        async with served(deps(loop, store, clock)) as address, watched(browser) as seen:
            await open_page(seen, address)
            card, workers = seen.page.locator("#executions"), seen.page.locator("#workers")
            await expect(card).to_contain_text("3 executions of Checkout report problems, first at")
            await expect(card.get_by_role("link", name=NAMED).first).to_be_visible()
            await expect(seen.page.locator("h1")).to_contain_text("Happy")
            await expect(workers.locator("details")).not_to_have_attribute("open", "")
            await workers.locator("summary").click()
            await expect(workers.locator("tbody tr").first).to_contain_text("temporal-python")
            reported = card.locator("tr", has_text="Reported problems")
            for link, title in (
                (reported.get_by_role("link", name=NAMED).first, NAMED),
                (reported.locator(".num a"), re.compile("Workflows")),
                (reported.get_by_role("link", name="orders"), re.compile("orders")),
                (workers.locator("tbody td a").first, re.compile("Workers")),
            ):
                await leads_to(seen.page, link, title)
            done = await asyncio.to_thread(CliRunner().invoke, app, ["executions", "--api", address])
            assert (done.exit_code, len(NAMED.findall(done.output)) >= 6) == (1, True), done.output
            done = await asyncio.to_thread(CliRunner().invoke, app, ["workers", "--api", address])
            assert done.exit_code == 0, done.output
            assert "temporal-python" in done.output
        await source.aclose()


async def leads_to(page: Page, link: Locator, title: re.Pattern[str]) -> None:
    """The link opens a page of that title in a new tab. A script draws it: only the title tells whether it is there."""
    async with page.context.expect_page() as opening:
        await link.click()
    opened = await opening.value
    try:
        await expect(opened).to_have_title(title)
    finally:
        await opened.close()


async def test_without_an_inspection_the_answers_say_so_and_the_page_has_no_card() -> None:
    loop = ToldLoop()
    loop.tell(evaluation("happy"))
    async with client(deps(loop)) as api:
        for path, rows in (("/executions", "parts"), ("/workers", "workers")):
            body = (await api.get(path)).json()
            assert (body["time"], body["age_sec"], body[rows]) == (None, None, [])
            assert "nothing was read yet" in body["problem"]
        page = (await api.get("/")).text
        assert 'id="executions"' not in page
        assert 'id="workers"' not in page
        assert (await api.get("/executions?kind=lost")).status_code == 422
        assert (await api.get("/workers?cluster=other")).status_code == 404


async def test_a_verdict_is_the_same_with_and_without_what_is_read_beside_it() -> None:
    store, loop = MemoryStore(), ToldLoop()
    loop.tell(evaluation("critical"))
    async with client(deps(loop, store)) as api:
        before = (await api.get("/status")).json()
    worker = WorkerRow(
        namespace="n",
        task_queue="orders",
        instance="a",
        last_heartbeat=NOON,
        activity=Executor(used=2, slots=2, pollers=1),
    )
    listed = merged(None, WorkersListed(cluster="default", time=NOON, workers=(worker,)), ["n"])
    await store.save_inspection("default", "workers", NOON, listed.model_dump(mode="json"))
    part = {"kind": "reported_problems", "namespace": "n", "query": "q", "count": 3, "read_at": NOON.format_iso()}
    group = {"workflow_type": "Checkout", "task_queue": "orders", "cause": "", "count": 3, "first": NOON.format_iso()}
    document = {"cluster": "default", "time": NOON.format_iso(), "parts": [{**part, "groups": [group]}]}
    await store.save_inspection("default", "executions", NOON, document)
    async with client(deps(loop, store)) as api:
        assert (await api.get("/status")).json() == before
        cited = (await api.get("/status/summary")).json()["narrative"]["reactions"]
        assert cited[-1] == "3 executions of `Checkout` report problems, first at 12:00 UTC."
        assert (await api.get("/workers?limit=1")).json()["workers"][0]["trouble"] == ["all activity slots are in use"]
        assert (await api.get("/executions?kind=failed")).json()["parts"] == []
        assert (await api.get("/?at=2026-11-22T12:00:00Z")).text.count('id="executions"') == 0
