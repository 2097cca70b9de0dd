"""One minute of Temporal Cloud's metrics, and the signals of some namespaces in it.

A page of the endpoint and an answer of a Prometheus that scrapes it become the same `CloudMinute`.
"""

import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from whenever import Instant

from copilot.metrics.resolve import RoleState, resolve_signals
from copilot.metrics.window import Vector, matches
from copilot.rules.signals import cloud
from copilot.rules.signals.expressions import Gauge, Leaf, Shares
from copilot.rules.signals.readings import BreakdownRow, Frozen, Missing, MissingCode, Signals
from copilot.rules.signals.taxonomy import SPECS

Sample = tuple[str, Mapping[str, str], float]
"""Family, labels with the names of the table of signals, value."""
_GAUGE_FALLS = "it falls to 0 when a task queue without pollers is unloaded"
SPECS_OF_CLOUD = tuple(
    replace(SPECS[i], expression=m.expression, breakdown=m.breakdown, source="metrics", emitted_by="", substitute=None)
    for i, m in cloud.CLOUD.items()
)
CLOUD_IDS = tuple(cloud.CLOUD)


@dataclass(frozen=True, slots=True)
class CloudMinute:
    """A closed minute. `at`: when it began, by the samples' own time. `incomplete`: why it may lack series; empty where
    it has all."""

    at: Instant
    samples: tuple[Sample, ...]
    incomplete: str = ""

    @property
    def namespaces(self) -> frozenset[str]:
        """Those that have any series."""
        return frozenset(labels.get("namespace", "") for _, labels, _ in self.samples) - {""}

    def of(self, namespaces: Collection[str]) -> "CloudMinute":
        """The part of these namespaces."""
        mine = tuple(s for s in self.samples if s[1].get("namespace") in namespaces)
        unseen = sorted(set(namespaces) - self.namespaces)
        missing = f"no series of {', '.join(unseen)}: is the name whole (with the account), and may the key read it?"
        return replace(self, samples=mine, incomplete=self.incomplete or (missing if unseen else ""))


def sample(family: str, labels: Mapping[str, str], value: float) -> Sample:
    """A sample with the labels' names of the table of signals."""
    named = {cloud.LABELS.get(name, name): text for name, text in labels.items()}
    if "task_type" in named:
        named["task_type"] = named["task_type"].lower()
    return family, named, value


_LINE = re.compile(r"(\w+)\{(.*)\} (\S+)(?: (\d+(?:\.\d+)?))?(?: #.*)?")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"(?:,|$)')
_ESCAPE = re.compile(r'\\([\\"n])')
_MILLISECONDS = 1e11
"""A timestamp above it is in milliseconds, as Prometheus' text format has it; OpenMetrics counts seconds."""


def timestamp(text: str) -> float:
    """Seconds since the epoch."""
    number = float(text)
    return number / 1000 if number > _MILLISECONDS else number


def parse_page(text: str) -> tuple[float, tuple[Sample, ...]] | None:
    """The newest minute on a page (seconds since the epoch; 0 where samples have no time) and its samples; None where
    nothing on it is Temporal Cloud's. ValueError: a line of a family that is read is no sample."""
    found: defaultdict[float, list[Sample]] = defaultdict(list)
    seen = False
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith(cloud.PREFIX):
            continue
        seen = True
        if re.split("[{ ]", line, maxsplit=1)[0] not in cloud.FAMILIES:
            continue
        if (match := _LINE.fullmatch(line)) is None:
            raise ValueError(f"line {number} is not a sample")
        labels = {n: _ESCAPE.sub(lambda m: "\n" if m[1] == "n" else m[1], v) for n, v in _LABEL.findall(match[2])}
        try:
            value = float(match[3])
        except ValueError as error:
            raise ValueError(f"line {number} has no number for its value") from error
        if math.isfinite(value):
            found[timestamp(match[4]) if match[4] else 0.0].append(sample(match[1], labels, value))
    if not seen:
        return None
    newest = max(found, default=0.0)
    return newest, tuple(found[newest])


def cloud_signals(minute: CloudMinute, now: Instant) -> Signals:
    """The signals of a minute, which is already that of the wanted namespaces, at `now`.

    A family that is absent did not happen. Where the minute may lack series, what is absent is missing, and what is
    there a lower bound. A backlog of 0 is missing without pollers, or while tasks arrive where none is."""
    view = _View(minute)
    why = Missing(code=MissingCode.ABSENT, detail=minute.incomplete or "not on the page")
    read = not minute.incomplete or bool(minute.samples)
    state = RoleState(
        up=read, why_down=why, partly_down="", no_rate="", present=True, throughout=True, place="Temporal Cloud's page"
    )
    signals = resolve_signals(SPECS_OF_CLOUD, {"server": state}, view.vector, now)
    rows = {**signals.breakdowns, **view.on_demand(signals.breakdowns)}
    bounds = [i for i, v in signals.readings.items() if v is not None and SPECS[i].unit in ("1/s", "count")]
    signals = signals.model_copy(
        update={
            "breakdowns": rows,
            "metrics_at": minute.at,
            "at_least": tuple(bounds) if minute.incomplete else (),
            "targets": {},
        }
    )
    return signals.without({"matching.backlog_count": unloaded} if (unloaded := _unloaded(signals)) else {})


def _unloaded(signals: Signals) -> Missing | None:
    """Why a backlog of 0 is not believed."""
    if signals.value("matching.backlog_count") != 0:
        return None
    if signals.value("queue.unpolled_tasks_per_sec") or signals.value("poller.pending_polls") == 0:
        return Missing(code=MissingCode.ABSENT, detail=f"the gauge is 0 and there are no pollers: {_GAUGE_FALLS}")
    return None


class _View:
    """The leaves of one minute."""

    def __init__(self, minute: CloudMinute) -> None:
        self._incomplete = minute.incomplete
        self._by_family: defaultdict[str, list[tuple[Mapping[str, str], float]]] = defaultdict(list)
        for family, labels, value in minute.samples:
            self._by_family[family].append((labels, value))
        self._busy = {
            (labels.get("namespace"), labels.get("operation"))
            for labels, value in self._by_family[cloud.REQUESTS]
            if 60 * value >= cloud.MEANINGFUL_REQUESTS
        }

    def vector(self, leaf: Leaf) -> Vector | Missing:
        """The leaf by group; missing where it is absent from a minute that may be incomplete."""
        if not isinstance(leaf, Gauge) or leaf.series.family not in cloud.FAMILIES:
            return {}
        groups: defaultdict[tuple[str, ...], list[float]] = defaultdict(list)
        for labels, value in self._matching(leaf):
            groups[tuple(labels.get(name, "") for name in leaf.by)].append(value)
        if not groups and self._incomplete:
            return Missing(code=MissingCode.ABSENT, detail=f"{leaf.series.family}: {self._incomplete}")
        if not groups and leaf.timer:
            return {(): math.nan}
        return {group: math.fsum(v) if leaf.agg == "sum" else max(v) for group, v in groups.items()}

    def _matching(self, leaf: Gauge) -> Iterator[tuple[Mapping[str, str], float]]:
        for labels, value in self._by_family.get(leaf.series.family, ()):
            few = "operation" in labels and (labels.get("namespace"), labels["operation"]) not in self._busy
            if not (leaf.timer and few) and matches(leaf.series.match, labels):
                yield labels, value

    def on_demand(self, rows: Mapping[str, Iterable[BreakdownRow]]) -> dict[str, tuple[BreakdownRow, ...]]:
        """Rows of shares with those of the limit that on-demand capacity would have, where that is another one."""
        found = {}
        for signal_id, family in cloud.ON_DEMAND.items():
            shares = cloud.CLOUD[signal_id].expression
            assert isinstance(shares, Shares)
            limits, envelope = (self._limit(f) for f in (shares.limit.series.family, family))
            mine = tuple(rows.get(signal_id, ()))
            more = (
                BreakdownRow(labels={**r.labels, "capacity": "on demand"}, value=r.value * limits[n] / envelope[n])
                for r in mine
                if (n := r.labels.get("namespace", "")) and envelope.get(n) and envelope[n] != limits.get(n)
            )
            found[signal_id] = (*mine, *more)
        return {i: rows for i, rows in found.items() if rows}

    def _limit(self, family: str) -> dict[str, float]:
        return {labels.get("namespace", ""): value for labels, value in self._by_family.get(family, ())}


class SharedPage(Frozen):
    """The newest page of an account, as workers share it. `next_at`: when the next one may be read; `completeness`:
    what the endpoint said of it; `failure`: why there is no page, empty where there is one."""

    next_at: Instant
    completeness: str = ""
    page: bytes = b""
    failure_code: MissingCode | None = None
    failure: str = ""


class SharedPages(Protocol):
    """Where workers share pages. Methods raise StoreError."""

    async def shared_page(self, key: str) -> SharedPage | None:
        """What is shared under a key; None before the first read."""
        ...

    async def claim_page(self, key: str, now: Instant, until: Instant) -> bool:
        """Claim the read that is due at `now`; the next one is due at `until`. False: another worker was first."""
        ...

    async def share_page(self, key: str, page: SharedPage) -> None:
        """Share a page."""
        ...
