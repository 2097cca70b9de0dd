"""Pages that do not continue each other, so that no rate of them is true: an address that leads to another process from
read to read, as a Kubernetes service before several pods; deltas; another spelling of the same counters."""

import random
from itertools import accumulate

import pytest

from copilot.metrics.continuity import ANOTHER_PROCESS, DELTAS, UNCLEAR
from tests.scraped import Pages, read, recorded

OPERATIONS = ("StartWorkflowExecution", "PollWorkflowTaskQueue", "GetShard")
SECONDS = 10.0
FAILED_POLLS = "worker_poll.long_poll_failures_per_sec"


def page(counted: float) -> list[str]:
    labels = [f'service_name="frontend",operation="{name}"' for name in OPERATIONS]
    return [f"service_requests{{{text}}} {counted / number:g}" for number, text in enumerate(labels, 1)]


def reads(*counted: float) -> Pages:
    pages = Pages(window_sec=60.0)
    for number, value in enumerate(counted):
        pages.add(SECONDS * number, *page(value))
    return pages


@pytest.mark.parametrize(
    "counted",
    [
        pytest.param((10_000, 7_000), id="at the second read"),
        pytest.param((10_000, 10_050, 7_030), id="one of the two is older"),
        pytest.param((7_000, 10_050, 10_100, 7_050, 10_150), id="back and forth"),
        pytest.param((10_000, 10_050, 300, 310, 10_250), id="one of the two has just begun"),
    ],
)
def test_a_page_of_another_process_gives_no_readings(counted: tuple[float, ...]) -> None:
    signals = read(reads(*counted), at=SECONDS * (len(counted) - 1))
    why = signals.why_missing("frontend.request_rate_per_sec")
    assert why is not None
    assert "another process from read to read" in why.detail
    assert signals.targets == {"server": 0}
    assert not any(signals.covered(i) for i in signals.readings)


@pytest.mark.parametrize(
    "counted",
    [
        pytest.param((10_000, 10_050, 40, 90, 140), id="one restart"),
        pytest.param((900, 1_800, 80, 900, 1_700, 70, 950), id="it crashes again and again"),
        pytest.param((3, 4, 2, 3, 1), id="an idle process that restarts"),
        pytest.param(tuple(accumulate((0, 50, 5_000, 50, 9_000))), id="a burst of requests"),
    ],
)
def test_a_process_that_restarts_is_read(counted: tuple[float, ...]) -> None:
    assert read(reads(*counted), at=SECONDS * (len(counted) - 1)).value("frontend.request_rate_per_sec") is not None


def test_it_is_read_again_a_window_after_the_last_jump() -> None:
    counted = (10_000, 7_000, *(7_000 + 50 * n for n in range(1, 8)))
    assert read(reads(*counted), at=80).value("frontend.request_rate_per_sec") == pytest.approx(20 / 3)


def of_worker(*pages: tuple[float, ...], started: tuple[float, ...] = ()) -> Pages:
    """A worker's page of these counts of calls at each read, and when its process started."""
    found = Pages("worker")
    for n, counts in enumerate(pages):
        lines = [f'temporal_request{{operation="{i}"}} {count:g}' for i, count in enumerate(counts)]
        lines += [f"process_start_time_seconds {started[n % len(started)]}"] if started else []
        found.add(SECONDS * n, "temporal_num_pollers 4", *lines)
    return found


def why(pages: Pages) -> str:
    """Why there is no rate of the worker's calls."""
    missing = read(pages, at=SECONDS * (len(pages.target.times) - 1)).why_missing(FAILED_POLLS)
    return missing.detail if missing else ""


def deltas(reads: int, mean: float, kinds: int = 4) -> list[tuple[float, ...]]:
    """What happened between reads: of so many kinds of calls, about `mean` each."""
    chosen = random.Random(7)
    return [tuple(float(round(chosen.gauss(mean, mean**0.5))) for _ in range(kinds)) for _ in range(reads)]


def pods(order: str) -> list[tuple[float, ...]]:
    """Counters of processes with calls of different kinds, as an address before all of them shows them in turn."""
    shares = {"A": (9, 1, 5, 3), "B": (1, 9, 3, 5), "C": (5, 5, 9, 1)}
    return [tuple(100.0 * share + 10 * n for share in shares[pod]) for n, pod in enumerate(order)]


@pytest.mark.parametrize(
    ("pages", "started", "says"),
    [
        pytest.param(deltas(5, 50), (), DELTAS, id="deltas"),
        pytest.param(deltas(7, 5_000), (), DELTAS, id="large deltas"),
        pytest.param(deltas(2, 50), (), UNCLEAR, id="deltas, read twice"),
        pytest.param(deltas(3, 4), (1.5,), DELTAS, id="small deltas of a process whose start is known"),
        pytest.param([(50, 20), (45, 18)], (1.5,), DELTAS, id="deltas that fall alike, of a known start"),
        pytest.param(pods("ABABBA"), (), ANOTHER_PROCESS, id="two pods in turn"),
        pytest.param(pods("ABCACB"), (), ANOTHER_PROCESS, id="three pods in turn"),
        pytest.param(pods("ABAB"), (1.5, 7.5), ANOTHER_PROCESS, id="two pods whose starts are known"),
        pytest.param([(900, 900), (30, 25), (60, 50)], (1.5, 7.5, 7.5), "", id="a restart whose start is known"),
        pytest.param([(9, 7, 30), (3, 9, 4), (5, 11, 9)], (), "", id="a young process that restarts"),
        pytest.param([(50, 20), (60, 20), (60, 30)], (1.5,), "", id="counters that grow"),
    ],
)
def test_deltas_are_refused_with_their_cure_and_told_from_pods_and_restarts(
    pages: list[tuple[float, ...]], started: tuple[float, ...], says: str
) -> None:
    assert says in why(of_worker(*pages, started=started))
    assert bool(says) == bool(why(of_worker(*pages, started=started)))
    assert "temporality to cumulative" in DELTAS


SPELLINGS = ("worker", "worker_suffixed")


@pytest.mark.parametrize("order", [SPELLINGS, SPELLINGS[::-1]])
def test_after_a_change_of_dialect_there_is_no_rate_until_the_second_page_and_then_the_right_one(
    order: tuple[str, str],
) -> None:
    """The counters go on under another name, as behind a collector, and timers in another unit."""
    before, after = map(recorded, order)
    pages = Pages("worker", window_sec=60)
    for n in range(6):
        pages.add_bytes(10.0 * n, before, grown=1 + 0.01 * n)
    p95 = "workers.wft_execution_p95_ms"
    assert read(pages, at=50).value(p95) is not None
    pages.add_bytes(60, after)
    once = read(pages, at=60)
    assert "read once so far" in once.missing[p95].detail
    assert once.value("workers.workflow_slots_available") is not None
    for n in range(1, 7):
        pages.add_bytes(60 + 10 * n, after, grown=1 + 0.01 * n)
        alone = Pages("worker", window_sec=60)
        for m in range(n + 1):
            alone.add_bytes(60 + 10 * m, after, grown=1 + 0.01 * m)
        assert read(pages, at=60 + 10 * n) == read(alone, at=60 + 10 * n)


def test_timers_that_change_their_unit_under_one_name_are_never_a_thousand_times_wrong() -> None:
    pages = Pages("server", window_sec=60)
    for n in range(12):
        unit, labels = (1000, "50") if n > 5 else (1, "0.05")
        count = 100.0 + 10 * n
        pages.add(
            10 * n,
            f'service_requests{{service_name="frontend",operation="GetX"}} {count}',
            *(
                f'service_latency_bucket{{service_name="frontend",operation="GetX",le="{le}"}} {counted}'
                for le, counted in ((labels, count), (f"{5 * unit}", count), ("+Inf", count))
            ),
        )
        if n not in (0, 6):
            found = read(pages, at=10 * n).value("frontend.latency_p99_ms")
            assert found is not None
            assert 10 < found < 100
