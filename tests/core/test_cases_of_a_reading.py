"""Every case issue 3 names for a computed reading, over hand-written pages: what it must be, to the stated accuracy.

The same cases go through a real Prometheus in tests/sources/test_prometheus_agrees.py."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import pytest

from copilot.errors import SourceError
from copilot.metrics.resolve import NO_TRAFFIC, leaves_of, read_scrapes
from copilot.rules.signals.expressions import Expression, Gauge, Plus, Quantile, Ratio, rate, server
from copilot.rules.signals.readings import Missing, MissingCode
from copilot.rules.signals.spec import SignalSpec
from tests.scraped import START, Pages

EVERY, READS = 5.0, 7
HITS = rate("hits")
SHARE = Ratio(rate("a"), Plus((rate("a"), rate("b"))))
MEDIAN = Quantile(0.5, server("spent"))
TYPE = "# TYPE hits counter"
BOUNDS = ("0.1", "0.2", "0.5", "+Inf")


@dataclass(frozen=True)
class Case:
    """Lines of a page (as a function of its number, or always the same), what is computed of them and what it must
    be: `exactly`, or within 5 %. `refused`: the pages that break off."""

    of: Expression
    lines: Callable[[int], Iterable[str]] | Iterable[str]
    expected: float | MissingCode | tuple[float, float]
    exactly: bool = False
    said: str = ""
    present: bool = True
    refused: frozenset[int] = field(default_factory=frozenset)


def histogram(*steps: int) -> Callable[[int], Iterable[str]]:
    """A histogram each of whose buckets counts so many more a page, less in the buckets below."""
    return lambda n: [f'spent_bucket{{le="{le}"}} {s * n}' for le, s in zip(BOUNDS, steps, strict=True)]


ESCAPED = 'hits{text="a\\"b\\\\c\\nd, } {"}'
CASES = {
    "a rate, within 5 %": Case(HITS, lambda n: [f"hits {1000 + 15 * n}"], 3.0),
    "a rate of unevenly counted events, within 5 %": Case(HITS, lambda n: [f"hits {15 * n + n % 2}"], 3.0),
    "a rate of several series": Case(HITS, lambda n: [f'hits{{p="1"}} {5 * n}', f'hits{{p="2"}} {10 * n}'], 3.0),
    "a gauge, exactly": Case(
        Gauge(server("level"), "max"), lambda n: [f"level 0.1234567{n}"], 0.12345676, exactly=True),
    "a count, exactly": Case(
        Gauge(server("level"), "sum"), lambda n: [f'level{{p="{p}"}} {p * 1000 + n}' for p in range(50)],
        sum(p * 1000 + 6 for p in range(50)), exactly=True),
    "a quantile, within its bucket": Case(MEDIAN, histogram(1, 9, 10, 10), (0.1, 0.2)),
    "a quantile above the last bound is that bound": Case(MEDIAN, histogram(1, 1, 1, 10), 0.5, exactly=True),
    "a quantile without a +Inf bucket is none": Case(
        MEDIAN, lambda n: [f'spent_bucket{{le="{le}"}} {n}' for le in BOUNDS[:3]], NO_TRAFFIC),
    "a counter reset": Case(HITS, lambda n: [f"hits {15 * n if n < 4 else 15 * (n - 3)}"], 3.0),
    "a counter reset to zero": Case(HITS, lambda n: [f"hits {100 + 15 * n if n < 4 else 15 * (n - 4)}"], 75 / 30),
    "a rate that is NaN": Case(HITS, lambda n: [f"hits {'NaN' if n > 4 else n}"], MissingCode.PARSE, said="nan"),
    "one NaN between numbers is passed over, as rate() does": Case(
        HITS, lambda n: [f"hits {'NaN' if n == 3 else 15 * n}"], 3.0),
    "a gauge that is NaN": Case(Gauge(server("level"), "sum"), ["level NaN"], MissingCode.PARSE, said="nan"),
    "a rate that is +Inf": Case(HITS, lambda n: [f"hits {'+Inf' if n > 3 else n}"], MissingCode.PARSE, said="inf"),
    "a gauge that is -Inf": Case(Gauge(server("level"), "max"), ["level -Inf"], MissingCode.PARSE, said="-inf"),
    "a quantile of nothing": Case(MEDIAN, histogram(1, 2, 3, 4)(1), NO_TRAFFIC),
    "a share of nothing": Case(SHARE, ["a 7", "b 7"], NO_TRAFFIC),
    "a share whose parts are absent beside the presence metric": Case(SHARE, [], NO_TRAFFIC),
    "a share with one part absent beside the presence metric": Case(SHARE, lambda n: [f"b {n}"], 0.0, exactly=True),
    "an absent counter beside the presence metric": Case(HITS, [], 0.0, exactly=True),
    "an absent counter without the presence metric": Case(HITS, [], MissingCode.ABSENT, said="nor is", present=False),
    "an absent histogram beside the presence metric": Case(MEDIAN, [], NO_TRAFFIC),
    "an absent histogram without the presence metric": Case(MEDIAN, [], MissingCode.ABSENT, present=False),
    "an absent gauge whose absence tells nothing": Case(
        Gauge(server("level"), "sum"), [], MissingCode.ABSENT, said="level is not on"),
    "an absent gauge whose absence is zero": Case(
        Gauge(server("level"), "sum", (), "service_requests"), [], 0.0, exactly=True),
    "one sample only": Case(
        HITS, ["hits 9"], MissingCode.ABSENT, said="a rate needs two", refused=frozenset(range(READS - 1))),
    "one sample only of a series on a page read throughout is its first event": Case(
        HITS, lambda n: ["hits 9"] if n == 6 else [], 9 / 30),
    "labels with escapes": Case(
        rate("hits", 'text=a"b\\c\nd, } {'), lambda n: [f"{ESCAPED} {15 * n}", f'hits{{text="x"}} {n}'], 3.0),
    "a family given in two places": Case(
        HITS,
        lambda n: [TYPE, f'hits{{p="1"}} {5 * n}', "other 1", TYPE, f'hits{{p="2"}} {10 * n}'],
        3.0),
    "a series given twice: the first counts": Case(HITS, lambda n: [f"hits {15 * n}", f"hits {99 * n}"], 3.0),
    "truncated pages are as if not read": Case(HITS, lambda n: [f"hits {15 * n}"], 3.0, refused=frozenset({2, 4})),
    "the newest page truncated": Case(
        Gauge(server("level"), "sum"), lambda n: [f"level {n}"], 5.0, exactly=True, refused=frozenset({6})),
    "the two newest pages truncated": Case(
        HITS, lambda n: [f"hits {15 * n}"], MissingCode.PARSE, said="middle of a line",
        refused=frozenset({5, 6})),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_a_reading_is_right_or_missing_with_the_reason(case: Case) -> None:
    spec = SignalSpec("x.y", "primary", "count", "", None, case.of)
    pages = Pages(leaves=leaves_of([spec]), window_sec=EVERY * (READS - 1))
    for n in range(READS):
        seen = [f"service_requests {n}"] if case.present else ["up 1"]
        lines = case.lines(n) if callable(case.lines) else case.lines
        body = "".join(f"{line}\n" for line in (*seen, *lines)).encode()
        try:
            pages.add_bytes(EVERY * n, body[: -3 if n in case.refused else None])
        except SourceError as error:
            assert n in case.refused
            pages.target.fail(Missing(code=error.code, detail=error.detail))
    now = START.add(seconds=EVERY * (READS - 1))
    found = read_scrapes([spec], [pages.target], now, EVERY * (READS - 1), interval_sec=EVERY)
    value, why = found.value("x.y"), found.why_missing("x.y")
    match case.expected:
        case MissingCode() as code:
            assert value is None
            assert why is not None
            assert case.said in why.detail
            assert why.code == code
        case float(number) if math.isnan(number):
            assert found.quiet("x.y")
        case (lowest, highest):
            assert value is not None
            assert lowest <= value <= highest
        case number:
            assert value == (number if case.exactly else pytest.approx(number, rel=0.05))
