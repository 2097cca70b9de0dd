"""Stepping one process's wall clock."""

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from chaos.clock import SteppedClock, possible

TELLS = "import sys, time\nfor _ in sys.stdin: print(time.time(), time.monotonic(), flush=True)"


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", TELLS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as made:
        yield made
        made.kill()


def clocks(of: subprocess.Popen[str]) -> tuple[float, float]:
    """How far its wall clock and its monotonic clock are from ours."""
    assert of.stdin is not None
    assert of.stdout is not None
    of.stdin.write("\n")
    of.stdin.flush()
    wall, monotonic = map(float, of.stdout.readline().split())
    return wall - time.time(), monotonic - time.monotonic()


@pytest.mark.skipif(not possible(), reason="clocks are stepped on Linux, x86-64, only")
def test_the_wall_clock_of_one_process_steps_and_nothing_else_does(child: subprocess.Popen[str]) -> None:
    assert clocks(child) == pytest.approx((0, 0), abs=60)
    clock = SteppedClock(child.pid)
    for offset in (3600, -86400, 0):
        clock.set(offset)
        assert clocks(child) == pytest.approx((offset, 0), abs=60)
