"""A real worker over a real Temporal and PostgreSQL, watched as an operator would: its traces, metrics and log."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from copilot.embedded.ports import free_ports
from copilot.loops.starter import start_loops
from copilot.settings.load import Settings, load_settings
from copilot.store.postgres import PostgresStore
from tests.sources.prometheus_standin import StandIn
from tests.telemetry.otlp_receiver import Receiver, otlp_receiver

pytestmark = pytest.mark.servers
NOBODY = "http://127.0.0.1:1"
OURS = {"copilot_worker_cycle_seconds", "copilot_evaluations", "copilot_fetches", "copilot_failed_fetches",
        "copilot_pending_writes", "process_resident_memory_bytes", "process_cpu_seconds_total"}  # fmt: skip
FAILING = "RunActivity:store_signals_snapshot"
TOKEN = "a-bearer-token-nobody-may-see-4711"


@dataclass
class Watching:
    """A worker under way."""

    settings: Settings
    process: asyncio.subprocess.Process
    log: Path

    async def end(self) -> list[str]:
        """Tell it to stop; what it logged."""
        self.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(self.process.wait(), 30) == 0, self.log.read_text()
        return self.log.read_text().splitlines()


@asynccontextmanager
async def a_worker(
    folder: Path, temporal: str, database: str, prometheus: str, metrics_port: int | None, otlp: str
) -> AsyncIterator[Watching]:
    port = f"metrics_port = {metrics_port}" if metrics_port else ""
    (folder / "copilot.toml").write_text(f"""
        task_queue = "{folder.name}"
        temporal.address = "{temporal}"
        store.url = "{database}"
        logging.format = "json"
        [worker]
        {port}
        [[clusters]]
        name = "{folder.name}"
        interval_sec = 2
        prometheus = {{ url = "{prometheus}", bearer_token = "{TOKEN}" }}
        logs.files = ["{folder}/nowhere.log"]
    """)
    settings = load_settings(folder / "copilot.toml")
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": otlp, "OTEL_BSP_SCHEDULE_DELAY": "200",
                   "OTEL_METRIC_EXPORT_INTERVAL": "500"}  # fmt: skip
    argv = (sys.executable, "-m", "copilot", "worker", "--config", str(folder / "copilot.toml"))
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*argv, stdout=log, stderr=log, env=environment)
    try:
        await start_loops(settings)
        yield Watching(settings, process, folder / "log")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def a_cycle(receiver: Receiver) -> bool:
    wanted = {"cycle", "POST prometheus", "RunActivity:evaluate_health", "store", "store INSERT_SNAPSHOT",
              "RunActivity:query_logs"}  # fmt: skip
    return wanted <= receiver.names


async def test_a_cycle_is_a_trace_and_is_measured_and_the_log_is_json(
    tmp_path: Path,
    temporal: str,
    database: str,
    postgres_store: PostgresStore,  # noqa: ARG001
) -> None:
    port = free_ports(1)[0]
    async with otlp_receiver() as receiver, StandIn().run() as prometheus:
        async with a_worker(tmp_path, temporal, database, prometheus.url, port, receiver.url) as worker:
            await receiver.until(lambda r: a_cycle(r) and "temporal.copilot.cluster.status" in r.metrics)
            metrics = await asyncio.to_thread(httpx.get, f"http://127.0.0.1:{port}/metrics")
            lines = await worker.end()
        query = next(s for s in receiver.spans if s.name == "POST prometheus" and "cycle" in receiver.parents(s))
        stored = next(s for s in receiver.spans if s.name == "store INSERT_SNAPSHOT")
        assert receiver.parents(query) == ["RunActivity:fetch_signals", "StartActivity:fetch_signals", "cycle"]
        assert receiver.parents(stored) == [
            "RunActivity:store_signals_snapshot",
            "StartActivity:store_signals_snapshot",
            "store",
        ]
        assert {s.parent for s in receiver.spans if s.name in ("cycle", "store")} == {""}, "each begins a trace"
        assert query.attributes["source"] == "prometheus"
        assert {s.service for s in receiver.spans} == {"copilot-worker"}
        assert not receiver.refused
        assert not any(TOKEN in s.raw or "Query" in s.name for s in receiver.spans)
    said = [json.loads(line) for line in lines]
    assert said[0]["message"].startswith("copilot worker is ready: ")
    assert {s["process"] for s in said} == {"worker"}
    counted = {f.name: f for f in text_string_to_metric_families(metrics.text)}
    assert counted.keys() >= OURS
    assert "temporal_workflow_task_execution_latency_seconds" in counted
    assert {s.labels["cluster"] for s in counted["copilot_worker_cycle_seconds"].samples} == {tmp_path.name}
    failed = {s.labels["source"]: s.value > 0 for s in counted["copilot_failed_fetches"].samples}
    assert failed == {"prometheus": False, "logs": True}, "CopilotSourceFails looks at these"


async def test_a_source_that_fails_is_counted_by_otlp_and_logged_with_its_ids(
    tmp_path: Path, temporal: str, database: str
) -> None:
    """No metrics port: metrics go where traces go. The database is taken away."""
    async with (
        otlp_receiver() as receiver,
        a_worker(tmp_path, temporal, f"{database}_none", NOBODY, None, receiver.url) as worker,
    ):
        await receiver.until(lambda r: "copilot_failed_fetches" in r.metrics and FAILING in r.names)
        lines = await worker.end()
    said = [json.loads(line) for line in lines]
    failed = next(s for s in said if s["level"] == "warning" and s.get("activity_type") == "store_signals_snapshot")
    assert failed["workflow_id"] == f"observe-{tmp_path.name}"
    assert failed["cluster"] == tmp_path.name
    assert "state store" in failed["message"] + failed.get("exception", "")
