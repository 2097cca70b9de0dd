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
    """One browser for all tests of a process; each opens pages of its own with `watched`."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        await chromium.close()


@asynccontextmanager
async def watched(
    browser: Browser, *, width: int = 1440, height: int = 1000, light: bool = False, javascript: bool = True
) -> AsyncIterator[Watched]:
    """A fresh page of the browser, listened to."""
    context = await browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="light" if light else "dark",
        java_script_enabled=javascript,
        reduced_motion="reduce",
    )
    page = await context.new_page()
    watch = Watched(page)
    page.on("console", lambda m: watch.console.append(f"{m.type}: {m.text}"))
    page.on("pageerror", lambda e: watch.console.append(f"error: {e}"))
    page.on("request", lambda r: watch.requests.append(r.url))
    yield watch
    await context.close()


async def open_page(seen: Watched, address: str) -> None:
    """Load the page, and wait until its event stream is connected."""
    await seen.page.goto(address)
    await expect(seen.page.locator("body.linked")).to_be_attached()
