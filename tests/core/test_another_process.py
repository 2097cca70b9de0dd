"""An address that leads to another process from read to read, as a Kubernetes service before several pods: its counters
jump back and forth, and no rate of them is true."""

from itertools import accumulate

import pytest

from tests.scraped import Pages, read

OPERATIONS = ("StartWorkflowExecution", "PollWorkflowTaskQueue", "GetShard")
SECONDS = 10.0


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
