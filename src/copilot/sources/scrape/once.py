"""Metrics pages read once or twice, from files or URLs, and the signals on them: what `copilot read` prints."""

import asyncio
import gzip
import io
import math
import re
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from whenever import Instant, TimeDelta

from copilot.errors import SourceError
from copilot.metrics.cloud import CloudMinute, cloud_signals, parse_page
from copilot.metrics.dialects import DIALECTS, MetricName, detect_dialects, known_names, sample_name
from copilot.metrics.resolve import PRESENCE_METRIC, leaves_of, read_scrapes
from copilot.metrics.window import TargetScrapes
from copilot.rules.signals.expressions import START_TIME, Role
from copilot.rules.signals.readings import MissingCode, Signals
from copilot.rules.signals.taxonomy import SPECS
from copilot.sources.prometheus.queries import ROLES
from copilot.sources.scrape.pages import MAX_PAGE_BYTES, PageParser, fetch_page, page_client

TIMEOUT_SEC = 10.0
LONGEST_NAME = 1_000
TAXONOMY_LEAVES = leaves_of(SPECS.values())
CLOUD_DIALECT = "Temporal Cloud"
BUILD_INFORMATION = "build_information"
"""The server's gauge whose label `build_version` is its release, as 1_31_2 or 1.31.2."""
_OF_ANY_PAGE = {BUILD_INFORMATION, START_TIME}


@dataclass(frozen=True, slots=True)
class PagesRead:
    """The signals of some pages. `version`: the server's release, the lowest of several; None where no page has it.
    `dialects`: by role, those of its pages. `left_out`: which lines of which page were left out, and why."""

    version: str | None
    dialects: dict[Role, tuple[str, ...]]
    signals: Signals
    left_out: tuple[str, ...] = ()


async def read_pages(pages: Sequence[str], after: Sequence[str], seconds: float, role: Role | None = None) -> PagesRead:
    """Read these pages (file names or URLs), and `after` as later reads of the same targets, which give rates: live
    pages are read again after `seconds`. `role`: that of all pages; None: what each page shows. Raises SourceError that
    names the page where one cannot be read, or is not Temporal's."""
    now, began = Instant.now(), time.monotonic()
    bodies = await _bodies(pages)
    if len(bodies) == 1 and (minute := _of_cloud(bodies[0])) is not None:
        return PagesRead(None, {"server": (CLOUD_DIALECT,)}, cloud_signals(minute, minute.at))
    targets = [_target(page, body, role) for page, body in zip(pages, bodies, strict=True)]
    for target in targets:
        target.record(now)
    if after:
        if any(map(_is_url, after)):
            await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
            seconds = time.monotonic() - began
        now += TimeDelta(seconds=seconds)
        for target, page, body in zip(targets, after, await _bodies(after), strict=True):
            with _naming(page):
                target.parse(body)
            target.record(now)
    window = seconds * 1.000001  # Both reads are inside, whatever the rounding.
    signals = read_scrapes(SPECS.values(), [t.scrapes for t in targets], now, window, interval_sec=seconds)
    versions = {version for target in targets for version in target.versions}
    dialects = {
        t.role: tuple(dict.fromkeys(d for o in targets if o.role == t.role for d in o.dialects)) for t in targets
    }
    left_out = tuple(f"{target.scrapes.name}: {target.left_out}" for target in targets if target.left_out)
    return PagesRead(min(versions, key=_release, default=None), dialects, signals, left_out)


def _of_cloud(body: bytes) -> CloudMinute | None:
    """The newest minute of a page of Temporal Cloud; None where it is another one. SourceError (parse)."""
    try:
        found = parse_page(body.decode(errors="replace"))
    except ValueError as error:
        raise SourceError(MissingCode.PARSE, str(error)) from error
    return None if found is None else CloudMinute(Instant.from_timestamp(found[0]), found[1])


class PageTarget:
    """One target read as of a role: its newest page, and what was read of it. Raises SourceError (parse)."""

    def __init__(self, name: str, body: bytes, role: Role, dialect: str | None = None) -> None:
        names = known_names(role, TAXONOMY_LEAVES, [PRESENCE_METRIC[role]], dialect)
        names[BUILD_INFORMATION] = MetricName(BUILD_INFORMATION, next(d for d in DIALECTS if d.role == role), False)
        self.role: Role = role
        self.scrapes = TargetScrapes(role, name, names, window_sec=math.inf)
        self._parser = PageParser(self.scrapes)
        self.parse(body)

    def parse(self, body: bytes) -> None:
        """Parse a page, which is then the newest. Raises SourceError (parse)."""
        self._newest = self._parser.parse(body)
        lines = (line[:LONGEST_NAME] for line in body.split(b"\n"))
        self._raw_names = {re.split(rb"[{ \t]", line, maxsplit=1)[0].decode(errors="replace") for line in lines}

    def record(self, at: Instant) -> None:
        """Record the newest page as read at `at`."""
        self.scrapes.record(at, self._newest)

    @property
    def left_out(self) -> str:
        """Which lines of the newest page were left out, and why; empty if none were."""
        return self._parser.left_out

    @property
    def metrics(self) -> set[str]:
        """The metrics of its role on the newest page."""
        return {series.metric.name for series in self._newest} - _OF_ANY_PAGE

    @property
    def series(self) -> Iterator[tuple[MetricName, Mapping[str, str]]]:
        """The series of the newest page that the taxonomy reads."""
        return ((s.metric, s.labels) for s in self._newest if s.metric.name not in _OF_ANY_PAGE)

    @property
    def families(self) -> tuple[int, int]:
        """How many of the families that the taxonomy reads of such pages it has, of how many."""
        of_role = [leaf for leaf in TAXONOMY_LEAVES if leaf.series.role == self.role]
        there = {leaf.series.family for leaf in of_role if sample_name(leaf) in self.metrics}
        return len(there), len({leaf.series.family for leaf in of_role})

    @property
    def versions(self) -> set[str]:
        """The server releases that the newest page shows."""
        labels = (s.labels.get("build_version", "") for s in self._newest if s.metric.name == BUILD_INFORMATION)
        return {label.replace("_", ".") for label in labels if label}

    @property
    def dialects(self) -> list[str]:
        """The dialects of the newest page; before its anchors appear, those that its counters and timers fit."""
        detected = [dialect.name for dialect in detect_dialects(self._raw_names, self.role)]
        return detected or sorted({s.metric.dialect.name for s in self._newest if s.metric.cumulative})


def of_its_role(candidates: Iterable[PageTarget]) -> PageTarget | None:
    """The candidate of the role whose presence metric the page has; None without one. A server's page has the metrics
    of its own workers too."""
    present = [target for target in candidates if PRESENCE_METRIC[target.role] in target.metrics]
    return min(present, key=lambda target: ROLES.index(target.role), default=None)


def _target(name: str, body: bytes, role: Role | None) -> PageTarget:
    """The page as a target of its role: that of its presence metric, else the one with more metrics on it."""
    with _naming(name):
        candidates = [PageTarget(name, body, candidate) for candidate in ([role] if role else ROLES)]
        best = of_its_role(candidates) or max(candidates, key=lambda target: len(target.metrics))
        if not best.metrics:
            raise SourceError(MissingCode.PARSE, f"no metrics of a Temporal {role or 'server or worker'}")
        return best


@contextmanager
def _naming(page: str) -> Iterator[None]:
    """Name the page in a SourceError."""
    try:
        yield
    except SourceError as error:
        raise SourceError(error.code, error.detail, asked=page) from error


def _is_url(page: str) -> bool:
    return page.startswith(("http://", "https://"))


async def _bodies(pages: Sequence[str]) -> list[bytes]:
    urls = [page for page in pages if _is_url(page)]
    async with page_client(*urls) as client:
        return list(await asyncio.gather(*(_body(client, page) for page in pages)))


async def _body(client: httpx.AsyncClient, page: str) -> bytes:
    with _naming(page):
        try:
            if _is_url(page):
                return await fetch_page(client, page, timeout_sec=TIMEOUT_SEC)
            content = await asyncio.to_thread(Path(page).read_bytes)
            packed = content.startswith(b"\x1f\x8b")
            return gzip.GzipFile(fileobj=io.BytesIO(content)).read(MAX_PAGE_BYTES + 1) if packed else content
        except (OSError, EOFError, zlib.error, httpx.InvalidURL) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise SourceError(MissingCode.PARSE, f"cannot be read: {reason}") from error


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
