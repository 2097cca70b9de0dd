"""What one metrics page is, for `copilot doctor`: does it answer, what does it hold, whose clock does it keep."""

import time
from dataclasses import dataclass

import httpx
from whenever import Instant

from copilot.metrics.dialects import detect_dialects, known_names, sample_name
from copilot.metrics.resolve import PRESENCE_METRIC, leaves_of
from copilot.metrics.window import Page, TargetScrapes
from copilot.rules.signals.expressions import Role
from copilot.rules.signals.taxonomy import SPECS
from copilot.settings.clusters import MetricsEndpoint
from copilot.sources.scrape.pages import MAX_PAGE_BYTES, PageParser, fetch_page, trusted

TIMEOUT_SEC = 5.0
DATE_RESOLUTION_SEC = 1.0


@dataclass(frozen=True, slots=True)
class PageFound:
    """A page that answered: its size and how long it took; how many of the families the taxonomy reads of such pages it
    holds now, in which dialects; how far its clock is ahead of ours (None: it does not say; good to a second); and the
    other role, where the page is of that one."""

    size_bytes: int
    took_sec: float
    families: int
    families_known: int
    dialects: tuple[str, ...]
    ahead_sec: float | None
    looks_like: Role | None


async def check_page(endpoint: MetricsEndpoint, *, transport: httpx.AsyncBaseTransport | None = None) -> PageFound:
    """Read the page once. SourceError when it cannot be read, or cannot be understood."""
    dates: list[tuple[str, float]] = []

    async def note(response: httpx.Response) -> None:
        dates.append((response.headers.get("date", ""), time.time()))

    began = time.monotonic()
    async with httpx.AsyncClient(
        transport=transport, trust_env=False, timeout=None, follow_redirects=False, event_hooks={"response": [note]},
        verify=trusted(endpoint.url),
    ) as client:  # fmt: skip
        url = httpx.URL(endpoint.url)
        body = await fetch_page(client, url, timeout_sec=TIMEOUT_SEC, max_bytes=MAX_PAGE_BYTES)
    took = time.monotonic() - began
    page = _parsed(body, endpoint.role, endpoint.dialect)
    families, known = _families(page, endpoint.role)
    other: Role = "worker" if endpoint.role == "server" else "server"
    of_other, known_of_other = _families(page_as_other := _parsed(body, other), other)
    mistaken = _whose(page, page_as_other) == other and of_other / known_of_other > families / known
    return PageFound(
        size_bytes=len(body),
        took_sec=took,
        families=families,
        families_known=known,
        dialects=(endpoint.dialect,) if endpoint.dialect else _dialects(body, page, endpoint.role),
        ahead_sec=clock_ahead(*dates[-1]) if dates else None,
        looks_like=other if mistaken else None,
    )


def _parsed(body: bytes, role: Role, dialect: str | None = None) -> Page:
    words = known_names(role, leaves_of(SPECS.values()), [PRESENCE_METRIC[role]], dialect)
    return PageParser(TargetScrapes(role, "", words, window_sec=1.0)).parse(body)


def _whose(*pages: Page) -> Role | None:
    """Whose page it is by the family that is always there; a server's has those of its own workers too."""
    names = {series.metric.name for page in pages for series in page}
    return next((role for role in ("server", "worker") if PRESENCE_METRIC[role] in names), None)


def _families(page: Page, role: Role) -> tuple[int, int]:
    """How many of a role's families are there, of how many."""
    leaves = [leaf for leaf in leaves_of(SPECS.values()) if leaf.series.role == role]
    names = {series.metric.name for series in page}
    there = {leaf.series.family for leaf in leaves if sample_name(leaf) in names}
    return len(there), len({leaf.series.family for leaf in leaves})


def _dialects(body: bytes, page: Page, role: Role) -> tuple[str, ...]:
    """As the names tell; where they do not yet, as the counters and timers there are can be spelled."""
    names = {line.split(b"{", 1)[0].split(b" ", 1)[0].decode(errors="replace") for line in body.splitlines()}
    heard = [dialect.name for dialect in detect_dialects(names, role)]
    return tuple(heard or sorted({s.metric.dialect.name for s in page if s.metric.cumulative}))


def clock_ahead(date: str, ours: float) -> float | None:
    """How far the clock behind a Date header, received when ours said `ours`, is ahead of it, in seconds; None without
    one. The header is cut to the second: in the mean it is half a second old."""
    try:
        theirs = Instant.parse_rfc2822(date)
    except ValueError:
        return None
    ahead = theirs.timestamp() + DATE_RESOLUTION_SEC / 2 - ours
    return 0.0 if abs(ahead) <= DATE_RESOLUTION_SEC else ahead
