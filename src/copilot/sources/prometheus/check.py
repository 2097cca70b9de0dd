"""What a Prometheus knows of a cluster, for `copilot doctor`: does it answer, whose metrics has it, how often read."""

import asyncio
import json
import time
from dataclasses import dataclass

import httpx
from whenever import Instant

from copilot.errors import SourceError
from copilot.metrics.window import epoch_seconds
from copilot.rules.signals.expressions import Role
from copilot.rules.signals.readings import MissingCode
from copilot.settings.clusters import PrometheusSettings
from copilot.sources.prometheus.client import auth, instant_query, query_url, tls
from copilot.sources.prometheus.instant import ROLES
from copilot.sources.prometheus.queries import RoleQuestions
from copilot.sources.scrape.check import TIMEOUT_SEC, clock_ahead
from copilot.sources.scrape.pages import ENCODING, body

MAX_VERSION_BYTES = 100_000
ENOUGH = 2
REACHES_SEC = (120.0, 300.0, 900.0)
"""How far back is looked for two samples, the shortest first: a target may be young."""


@dataclass(frozen=True, slots=True)
class RoleFound:
    """The targets of a role: how many live, how many are down, their dialects, and the most samples a counter of one
    had in the rate window (a rate needs two, four are good). `scraped_every_sec`: told where these are too few."""

    role: Role
    living: int
    down: int
    dialects: tuple[str, ...]
    samples: int
    scraped_every_sec: float | None = None


@dataclass(frozen=True, slots=True)
class PrometheusFound:
    """A Prometheus that answered. `version` is empty where it does not say; `ahead_sec` as in `PageFound`."""

    version: str
    took_sec: float
    ahead_sec: float | None
    roles: tuple[RoleFound, ...]


async def check_prometheus(
    settings: PrometheusSettings, window_sec: float, *, transport: httpx.AsyncBaseTransport | None = None
) -> PrometheusFound:
    """Ask for its version and for the targets of each role. SourceError when it does not answer, SettingsError when a
    file of the settings cannot be used."""
    dates: list[tuple[str, float]] = []

    async def note(response: httpx.Response) -> None:
        dates.append((response.headers.get("date", ""), time.time()))

    async with httpx.AsyncClient(
        transport=transport, trust_env=False, timeout=None, follow_redirects=False, verify=tls(settings),
        auth=auth(settings), event_hooks={"response": [note]},
    ) as client:  # fmt: skip
        try:
            async with asyncio.timeout(TIMEOUT_SEC):
                began = time.monotonic()
                roles = [await _role(client, query_url(settings), r, settings, window_sec) for r in ROLES]
                took = time.monotonic() - began
                version = await _version(client, f"{settings.url.rstrip('/')}/api/v1/status/buildinfo")
        except TimeoutError as error:
            raise SourceError(MissingCode.TIMEOUT, f"timed out after {TIMEOUT_SEC:g} s") from error
    return PrometheusFound(version, took, clock_ahead(*dates[0]) if dates else None, tuple(roles))


async def _role(
    client: httpx.AsyncClient, url: httpx.URL, role: Role, settings: PrometheusSettings, window_sec: float
) -> RoleFound:
    questions = RoleQuestions(role, settings, window_sec)
    at = epoch_seconds(Instant.now())
    found = questions.understood(await instant_query(client, url, questions.targets(), at), at)
    heard = tuple(d.name for d in questions.dialects)
    every = None if found.samples >= ENOUGH or not found.up else await _scraped_every(client, url, role, settings)
    return RoleFound(role, len(found.up), len(found.down), heard, found.samples, every)


async def _scraped_every(
    client: httpx.AsyncClient, url: httpx.URL, role: Role, settings: PrometheusSettings
) -> float | None:
    """Seconds between two samples, to five; None where the last quarter of an hour does not tell."""
    for reach_sec in REACHES_SEC:
        questions = RoleQuestions(role, settings, reach_sec)
        at = epoch_seconds(Instant.now())
        found = questions.understood(await instant_query(client, url, questions.targets(), at), at)
        if found.samples >= ENOUGH:
            return 5.0 * max(1, round(reach_sec / found.samples / 5))
    return None


async def _version(client: httpx.AsyncClient, url: str) -> str:
    """Not every kind of Prometheus says it."""
    try:
        async with client.stream("GET", url, headers=ENCODING) as response:
            answer = json.loads(await body(response, MAX_VERSION_BYTES))
    except (httpx.HTTPError, SourceError, ValueError, RecursionError):
        return ""
    data = answer.get("data") if isinstance(answer, dict) else None
    return str(data.get("version", "")) if isinstance(data, dict) else ""
