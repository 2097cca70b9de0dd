"""How long a person waits for the first verdict of `copilot demo`, from a warm install."""

import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks import Row

FIRST_VERDICT_LIMIT_SEC = 20.0


def rows() -> Iterator[Row]:
    """Seconds from the command to the first evaluation, and to the end of everything after it was told to end."""
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "copilot", "demo", "--json", "--for", "1s"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as demo:
        assert demo.stdout is not None
        line = demo.stdout.readline()
        yield Row("first verdict", time.monotonic() - began, "s", FIRST_VERDICT_LIMIT_SEC, note=line[:64])
        demo.communicate(timeout=60)
        yield Row("all ended", time.monotonic() - began, "s", note=f"exit {demo.returncode}")
