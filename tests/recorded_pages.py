"""Consecutive pages of real servers, read every five seconds while something happened to them (tests/data/pages,
thinned to the families that the taxonomy reads), and the readings over them."""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache

from copilot.metrics.resolve import read_scrapes
from copilot.rules.signals.expressions import Role
from copilot.rules.signals.readings import Missing, MissingCode, Signals
from copilot.rules.signals.taxonomy import SPECS
from tests.scraped import DATA, START, Pages

Keep = Callable[[int, str], bool]
"""Number of a read and the text of a series → whether the series stays on the page."""

TARGETS: dict[str, Role] = {"server": "server", "worker-1": "worker", "worker-2": "worker"}
WINDOW_SEC, EVERY_SEC = 30.0, 5.0
ABSENT = "-"


@dataclass(frozen=True)
class Read:
    """One read of one target, `at` seconds after the first: series text → value text, or why it failed."""

    at: float
    page: dict[str, str] | None
    why: Missing | None

    def body(self, types: dict[str, str]) -> bytes:
        """The page as it was served (without what nobody reads)."""
        families: dict[str, list[str]] = {}
        for series, value in (self.page or {}).items():
            name = series.split("{")[0]
            family = next((n for n in (name, name.rpartition("_")[0]) if n in types), name)
            families.setdefault(family, []).append(f"{series} {value}\n")
        head = {f: f"# TYPE {f} {types[f]}\n" if f in types else "" for f in families}
        return "".join(head[f] + "".join(lines) for f, lines in families.items()).encode()


@dataclass(frozen=True)
class Roll:
    """All reads of one target, and when what was done to the cluster (seconds)."""

    role: Role
    reads: tuple[Read, ...]
    marks: dict[str, float]
    types: dict[str, str] = field(default_factory=dict)

    def bodies(self) -> list[bytes | None]:
        """The pages as they were served; None where the read failed."""
        return [None if r.page is None else r.body(self.types) for r in self.reads]

    def total(self, number: int, name: str, *containing: str) -> float | None:
        """On the read of that number: the sum of the series of a sample name whose text holds all of these; None
        where there is none."""
        page = self.reads[number].page or {}
        found = [float(v) for s, v in page.items() if s.split("{")[0] == name and all(c in s for c in containing)]
        return sum(found) if found else None


@cache
def roll(scene: str, target: str) -> Roll:
    """What was read of a target in a scene."""
    head, *rows = gzip.decompress((DATA / "pages" / scene / f"{target}.pages.gz").read_bytes()).decode().splitlines()
    about = json.loads(head)
    series = [row.split("\t") for row in rows]
    columns = [(name, values.split(" ")) for name, values in series]
    reads, taken = [], 0
    for entry in about["reads"]:
        if "code" in entry:
            why = Missing(code=MissingCode(entry["code"]), detail=entry["detail"])
            reads.append(Read(entry["at"], None, why))
            continue
        page = {name: values[taken] for name, values in columns if values[taken] != ABSENT}
        reads.append(Read(entry["at"], page, None))
        taken += 1
    return Roll(about["role"], tuple(reads), about["marks"], about["types"])


@cache
def played(scene: str, *, keep: Keep | None = None, beats: int | None = None) -> list[Signals]:
    """The readings after each beat of a scene, or the first `beats` of them, of pages of which only some series are
    kept. The time of each is START plus the seconds of the beat."""
    rolls = {name: roll(scene, name) for name in TARGETS}
    pages = {name: Pages(found.role, window_sec=WINDOW_SEC) for name, found in rolls.items()}
    ticks = []
    for number in range(len(rolls["server"].reads))[:beats]:
        for name, found in rolls.items():
            read = found.reads[number]
            if read.page is None:
                assert read.why is not None
                pages[name].target.fail(read.why)
            else:
                kept = {s: v for s, v in read.page.items() if keep is None or keep(number, s)}
                page = pages[name].parser.parse(replace(read, page=kept).body(found.types))
                pages[name].target.record(START.add(seconds=read.at), page)
        now = START.add(seconds=rolls["server"].reads[number].at)
        known = [p.target for p in pages.values()]
        ticks.append(read_scrapes(SPECS.values(), known, now, WINDOW_SEC, interval_sec=EVERY_SEC))
    return ticks
