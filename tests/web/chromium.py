"""The page in a real browser, served over a real socket."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from copilot.api.app import create_app
from copilot.api.deps import Deps
from copilot.api.serve import listening_socket, serve_on
from copilot.settings.api import ApiSettings

expect.set_options(timeout=30_000)  # A busy machine is slow: the default of 5 s would judge it, not the page.
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@asynccontextmanager
async def served(
    deps: Deps, port: int = 0, *, settings: ApiSettings | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """The app on a free port (or one it had before); gives its address."""
    listening = listening_socket("127.0.0.1", port)
    port = listening.getsockname()[1]
    serving = asyncio.create_task(serve_on(create_app(deps, settings), listening, tls=tls))
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        serving.cancel()
        await asyncio.wait((serving,))


@dataclass
class Watched:
    """A browser page and all it said and asked for."""

    page: Page
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def nothing_wrong(self) -> None:
        """No message on the console, and no request that left this machine."""
        assert self.console == []
        assert [r for r in self.requests if not r.startswith("http://127.0.0.1:")] == []


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests of a process; each takes a page with `watched`."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        await chromium.close()


_idle: list[Watched] = []
"""Pages that no test uses now. A page that has loaded ours once loads it again in a fraction of the time."""


@asynccontextmanager
async def watched(
    browser: Browser, *, width: int = 1440, height: int = 1000, light: bool = False
) -> AsyncIterator[Watched]:
    """An empty page of the browser, listened to."""
    seen = _idle.pop() if _idle else await _new(browser)
    await seen.page.set_viewport_size({"width": width, "height": height})
    await seen.page.emulate_media(media="null", color_scheme="light" if light else "dark", reduced_motion="reduce")
    yield seen
    await seen.page.goto("about:blank")
    await seen.page.context.clear_cookies()
    seen.console.clear()
    seen.requests.clear()
    _idle.append(seen)


async def _new(browser: Browser) -> Watched:
    seen = Watched(await (await browser.new_context()).new_page())
    seen.page.on("console", lambda m: seen.console.append(f"{m.type}: {m.text}"))
    seen.page.on("pageerror", lambda e: seen.console.append(f"error: {e}"))
    seen.page.on("request", lambda r: seen.requests.append(r.url))
    return seen


async def open_page(seen: Watched, address: str) -> None:
    """Load the page, and wait until its event stream is connected."""
    await seen.page.goto(address)
    await expect(seen.page.locator("body.linked")).to_be_attached()
