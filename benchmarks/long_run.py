"""Months in minutes: loops on a real Temporal server and a real PostgreSQL, fed with recorded signals, through
thousands of ticks and many continue-as-new generations. `python -m benchmarks long_run`; CYCLES=500 makes it shorter.

A tick bears a whole second, so one loop cannot tick faster than once a second: several run side by side."""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression

import asyncpg
import psutil
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from benchmarks import Row
from benchmarks._histories import Run, runs
from benchmarks._long_run_worker import INTERVAL_SEC
from copilot.local.child import Child
from copilot.local.copilot_processes import start_own_servers
from copilot.local.ports import free_ports
from copilot.local.supervisor import Supervisor
from copilot.settings import ClusterSettings, WatchedTemporal
from copilot.starter import start_loop
from copilot.store.postgres import PostgresStore
from copilot.workflows.shared import OBSERVE, Definition

CYCLES = int(os.environ.get("CYCLES", "10000"))
LOOPS = 8
GENERATIONS = 9
USUAL_RUN = Definition(interval_sec=30).ticks_per_run
PAYLOAD_LIMIT_KB = 100.0
EVENTS_LIMIT = 51_200.0
CYCLES_OF_30_DAYS = 30 * 24 * 3600 / 30
QUEUE = "long-run"
SAMPLE_SEC = 15.0
RECORDINGS = Path(__file__).parents[1] / "tests" / "scenarios"
WORKER, SERVER = "long-run-worker", "copilot-server"
KIB = 1024.0


@dataclass(frozen=True, slots=True)
class Sample:
    """How far the run was, and what its processes and the store held (MB)."""

    sec: float
    cycles: int
    worker_mb: float
    server_mb: float
    rows: int
    store_mb: float


@dataclass(frozen=True, slots=True)
class Ran:
    """The whole run: samples in order of time, histories of the loops and of the workflows they started."""

    samples: Sequence[Sample]
    loops: Sequence[Run]
    others: Sequence[Run]


def rows() -> Iterator[Row]:
    """The figures of one run."""
    with tempfile.TemporaryDirectory(prefix="copilot-long-run-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)  # PostgreSQL, which runs as another user where we are root, passes through.
        (folder / "logs").mkdir()
        ran = asyncio.run(_run(folder))
    yield from _report(ran)


async def _run(folder: Path) -> Ran:
    clusters = tuple(f"c{i}" for i in range(LOOPS))
    per_run = max(2, CYCLES // (LOOPS * GENERATIONS))
    async with Supervisor(folder / "logs", lambda event: print(f"  {event.text}", file=sys.stderr)) as supervisor:
        server, postgres = await start_own_servers(supervisor, folder, free_ports(4), throwaway=True)
        store = PostgresStore(postgres.url)
        await store.setup_schema()
        await store.close()
        argv = (sys.executable, "-m", "benchmarks._long_run_worker", server.address, QUEUE, postgres.url,
                str(RECORDINGS), *clusters)  # fmt: skip
        await supervisor.start(Child(WORKER, argv, stage=1))
        client = await Client.connect(server.address, data_converter=pydantic_data_converter)
        for cluster in clusters:
            settings = ClusterSettings(name=cluster, temporal=WatchedTemporal())
            faster = settings.model_copy(update={"interval_sec": INTERVAL_SEC})
            await start_loop(client, QUEUE, faster, per_run)
        samples = await _until_done(postgres.url, supervisor)
        loops = [run async for run in runs(client, f"WorkflowType = '{OBSERVE}'")]
        others = [run async for run in runs(client, f"WorkflowType != '{OBSERVE}'")]
    return Ran(samples, loops, others)


async def _until_done(url: str, supervisor: Supervisor) -> list[Sample]:
    connection = await asyncpg.connect(url)
    began = time.monotonic()
    samples: list[Sample] = []
    try:
        while not samples or samples[-1].cycles < CYCLES:
            await asyncio.sleep(SAMPLE_SEC)
            pids = supervisor.pids()
            found = await connection.fetchrow(
                "SELECT (SELECT count(*) FROM metrics_snapshots),"
                " (SELECT count(*) FROM metrics_snapshots) + (SELECT count(*) FROM health_assessments)"
                " + (SELECT count(*) FROM issues), pg_database_size(current_database())"
            )
            assert found is not None
            ticks, kept, size = found
            sample = Sample(
                time.monotonic() - began, ticks, _resident(pids[WORKER]), _resident(pids[SERVER]), kept, size / KIB**2
            )
            samples.append(sample)
            print(f"  {sample}", file=sys.stderr, flush=True)
    finally:
        await connection.close()
    return samples


def _resident(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / KIB**2


def _report(ran: Ran) -> Iterator[Row]:
    last, steady = ran.samples[-1], ran.samples[len(ran.samples) // 4 :]
    ended = [run for run in ran.loops if run.status == "CONTINUED_AS_NEW"]
    generations = min(sum(run.workflow_id == i for run in ended) for i in {run.workflow_id for run in ran.loops})
    evaluations = sum(run.evaluations for run in ran.loops)
    events = sum(run.events for run in ran.loops)
    per_tick = events / evaluations
    largest, other = max(ran.loops, key=lambda r: r.largest), max(ran.others, key=lambda r: r.largest)
    yield Row("cycles", last.cycles, "", note=f"{LOOPS} loops, one tick a second each at best")
    yield Row("cycles a second", last.cycles / last.sec, "/s", note=f"over {last.sec:.0f} s")
    yield Row("continue-as-new generations of each loop", generations, "", note="at least")
    yield Row(
        "evaluated but not stored when it ended", max(0, evaluations - last.cycles), "", note="in flight at the end"
    )
    yield Row("events of the longest run", max(r.events for r in ran.loops), "", EVENTS_LIMIT)
    yield Row("events a cycle", per_tick, "")
    yield Row(f"events of a run of {USUAL_RUN} ticks, projected", per_tick * USUAL_RUN, "", EVENTS_LIMIT)
    yield Row("history of the largest run", max(r.size for r in ran.loops) / KIB**2, "MB", 50)
    yield Row("largest payload of a loop", largest.largest / KIB, "KB", PAYLOAD_LIMIT_KB, largest.where)
    yield Row("largest payload of what loops start", other.largest / KIB, "KB", PAYLOAD_LIMIT_KB, other.where)
    for name, per, unit in (
        ("memory of the worker", _slope(steady, "worker_mb"), "MB"),
        ("memory of the Temporal server", _slope(steady, "server_mb"), "MB"),
        ("rows of the store", _slope(steady, "rows"), ""),
        ("size of the store", _slope(steady, "store_mb"), "MB"),
        ("events", 1000 * per_tick, ""),
    ):
        yield Row(f"{name}: slope per 1,000 cycles", per, unit)
        yield Row(f"{name}: projection to 30 days", per * CYCLES_OF_30_DAYS / 1000, unit, note="one loop, every 30 s")
    yield Row("memory of the worker at the end", last.worker_mb, "MB")


def _slope(samples: Sequence[Sample], what: str) -> float:
    """Growth per 1,000 cycles by least squares."""
    line = linear_regression([s.cycles for s in samples], [getattr(s, what) for s in samples])
    return 1000 * line.slope
