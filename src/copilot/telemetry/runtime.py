"""The Temporal runtime of a process: its log, its metrics, and memory and CPU of the process on its meter."""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator
from urllib.parse import unquote

import psutil
from temporalio.common import MetricMeter
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    OpenTelemetryConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

from copilot.errors import StartError
from copilot.settings.load import WorkerSettings
from copilot.telemetry.spans import endpoint

MEASURE_EVERY_SEC = 10.0
BUCKETS = {"copilot_worker_cycle": (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0)}


@contextlib.asynccontextmanager
async def measuring_process(meter: MetricMeter) -> AsyncIterator[None]:
    """Record memory and CPU time while the block runs."""
    process = psutil.Process()
    memory = meter.create_gauge("process_resident_memory_bytes", "Resident memory size in bytes")
    spent = meter.create_gauge_float("process_cpu_seconds_total", "User and system CPU time spent in seconds")

    async def measure() -> None:
        while True:
            memory.set(process.memory_info().rss)
            times = process.cpu_times()
            spent.set(times.user + times.system)
            await asyncio.sleep(MEASURE_EVERY_SEC)

    task = asyncio.create_task(measure(), name="measure the process")
    try:
        yield
    finally:
        task.cancel()


def start_runtime(worker: WorkerSettings | None = None) -> Runtime:
    """Create the runtime of every later client; with `worker`, of a worker that exports metrics. StartError: the port
    for metrics is taken."""
    core = LogForwardingConfig(logging.getLogger("temporalio"), append_target_to_name=False)
    logs = LoggingConfig(TelemetryFilter(core_level="WARN", other_level="ERROR"), forwarding=core)
    metrics = None if worker is None else _metrics(worker)
    try:
        runtime = Runtime(telemetry=TelemetryConfig(logging=logs, metrics=metrics, attach_service_name=False))
    except (RuntimeError, ValueError) as error:
        where = metrics.bind_address if isinstance(metrics, PrometheusConfig) else "the OTLP endpoint"
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise StartError(f"the worker's metrics cannot be exported at {where} ({reason})") from error
    Runtime.set_default(runtime, error_if_already_set=False)
    return runtime


def _metrics(worker: WorkerSettings) -> PrometheusConfig | OpenTelemetryConfig | None:
    if worker.metrics_port is not None:
        host = f"[{worker.metrics_host}]" if ":" in worker.metrics_host else worker.metrics_host
        return PrometheusConfig(
            f"{host}:{worker.metrics_port}",
            counters_total_suffix=True,
            unit_suffix=True,
            durations_as_seconds=True,
            histogram_bucket_overrides=BUCKETS,
        )
    if (url := endpoint("metrics")) is None:
        return None
    text = os.environ.get("OTEL_EXPORTER_OTLP_METRICS_HEADERS") or os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", "")
    pairs = (part.partition("=") for part in text.split(",") if "=" in part)
    headers = {unquote(name.strip()): unquote(value.strip()) for name, _, value in pairs}
    return OpenTelemetryConfig(
        url, headers=headers, http=True, durations_as_seconds=True, histogram_bucket_overrides=BUCKETS
    )
