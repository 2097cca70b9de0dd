"""Memory and processor time of this process, on the meter of its Temporal runtime."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import psutil
from temporalio.common import MetricMeter

EVERY_SEC = 10.0


@contextlib.asynccontextmanager
async def process_measured(meter: MetricMeter) -> AsyncIterator[None]:
    """Measure while under way."""
    if meter is MetricMeter.noop:
        yield
        return
    task = asyncio.create_task(_measure(meter), name="measure the process")
    try:
        yield
    finally:
        task.cancel()


async def _measure(meter: MetricMeter) -> None:
    process = psutil.Process()
    memory = meter.create_gauge("process_resident_memory_bytes", "Resident memory size in bytes")
    spent = meter.create_gauge_float("process_cpu_seconds_total", "User and system CPU time spent in seconds")
    while True:
        memory.set(process.memory_info().rss)
        times = process.cpu_times()
        spent.set(times.user + times.system)
        await asyncio.sleep(EVERY_SEC)
