"""Months in minutes: loops on a real Temporal server and a real PostgreSQL, fed with recorded signals, through
thousands of ticks and many continue-as-new generations. `python -m benchmarks long_run`; CYCLES=500 makes it shorter.

A tick bears a whole second, so one loop cannot tick faster than once a second: several run side by side."""

import asyncio
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, linear_regression

import asyncpg
import psutil
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from benchmarks import Row
from benchmarks._histories import Run, runs
from benchmarks._long_run_worker import INTERVAL_SEC
from benchmarks._scratch import run_in_folder
from copilot.embedded.supervisor import Child, Supervisor
from copilot.embedded.up import start_own_postgres, start_own_server
from copilot.loops.definitions import OBSERVE, Definition, observe_id
from copilot.loops.observe import ObserveClusterWorkflow
from copilot.loops.starter import start_loop
from copilot.settings.clusters import ClusterSettings, WatchedTemporal
from copilot.store.postgres import PostgresStore

CYCLES = int(os.environ.get("CYCLES", "10000"))
LOOPS = 8
GENERATIONS = 9
PAYLOAD_LIMIT_KB = 100.0
EVENTS_LIMIT = 51_200.0
THOUSANDS_IN_30_DAYS = 30 * 24 * 3600 / 30 / 1000
PROJECTED = "a projection: one loop, every 30 s, nothing pruned"
HISTORY_LIMIT_MB = 50.0
QUEUE = "long-run"
SAMPLE_SEC = 10.0
REST_SEC = 300.0
"""How long the loops may take to come to rest and what they started to end."""
LISTED_WITHIN_SEC = 3.0
"""How much later than its start a workflow may first stand in Temporal's list."""
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
    """The whole run: samples in order of time, histories of the loops and of the workflows they started, and how many
    snapshots the store holds in the end."""

    samples: Sequence[Sample]
    loops: Sequence[Run]
    others: Sequence[Run]
    stored: int


def rows() -> Iterator[Row]:
    """The figures of one run; none where it is told to end before."""
    done: list[Ran] = []

    async def run(folder: Path) -> None:
        done.append(await _run(folder))

    run_in_folder("long-run", run)
    for ran in done:
        yield from _report(ran)


async def _run(folder: Path) -> Ran:
    clusters = tuple(f"c{i}" for i in range(LOOPS))
    per_run = max(2, CYCLES // (LOOPS * GENERATIONS))
    async with Supervisor(folder / "logs", lambda event: print(f"  {event.text}", file=sys.stderr)) as supervisor:
        server = await start_own_server(supervisor, folder)
        postgres = await start_own_postgres(supervisor, folder, throwaway=True)
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
            await start_loop(client, QUEUE, faster, ticks_per_run=per_run)
        connection = await asyncpg.connect(postgres.url)
        samples = await _until_done(connection, supervisor)
        async with asyncio.timeout(REST_SEC):
            await asyncio.gather(*(_rest(client, cluster) for cluster in clusters))
        await asyncio.sleep(LISTED_WITHIN_SEC)
        storing = f"WorkflowType != '{OBSERVE}' AND ExecutionStatus = 'Running'"
        async with asyncio.timeout(REST_SEC):
            while (await client.count_workflows(storing)).count:  # noqa: ASYNC110
                await asyncio.sleep(0.5)
        loops = [run async for run in runs(client, f"WorkflowType = '{OBSERVE}'")]
        others = [run async for run in runs(client, f"WorkflowType != '{OBSERVE}'")]
        stored = await connection.fetchval("SELECT count(*) FROM metrics_snapshots")
        await connection.close()
    return Ran(samples, loops, others, stored)


async def _until_done(connection: "asyncpg.Connection[asyncpg.Record]", supervisor: Supervisor) -> list[Sample]:
    began = time.monotonic()
    samples: list[Sample] = []
    while len(samples) < 3 or samples[-1].cycles < CYCLES:
        await asyncio.sleep(SAMPLE_SEC)
        pids = supervisor.pids()
        found = await connection.fetchrow(
            "SELECT (SELECT count(*) FROM metrics_snapshots),"
            " (SELECT count(*) FROM metrics_snapshots) + (SELECT count(*) FROM health_assessments)"
            " + (SELECT count(*) FROM issues), pg_database_size(current_database())"
        )
        assert found is not None
        ticks, kept, size = found
        sec = time.monotonic() - began
        sample = Sample(sec, ticks, _resident(pids[WORKER]), _resident(pids[SERVER]), kept, size / KIB**2)
        samples.append(sample)
        print(f"  {sample}", file=sys.stderr, flush=True)
    return samples


async def _rest(client: Client, cluster: str) -> None:
    """Told to look once a month, a loop ends its run between two ticks and hands over what is to be stored."""
    loop = client.get_workflow_handle(observe_id(cluster))
    before = (await loop.query(ObserveClusterWorkflow.status)).runs
    await loop.signal(ObserveClusterWorkflow.define, Definition(interval_sec=30 * 86_400))
    while (status := await loop.query(ObserveClusterWorkflow.status)).runs == before or status.pending:  # noqa: ASYNC110
        await asyncio.sleep(0.5)


def _resident(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / KIB**2


def _report(ran: Ran) -> Iterator[Row]:
    last, steady = ran.samples[-1], ran.samples[len(ran.samples) // 4 :]
    ended = [run for run in ran.loops if run.status == "CONTINUED_AS_NEW"]
    generations = min(sum(run.workflow_id == i for run in ended) for i in {run.workflow_id for run in ran.loops})
    evaluations = sum(run.evaluations for run in ran.loops)
    per_tick = sum(run.events for run in ran.loops) / evaluations
    largest, other = max(ran.loops, key=lambda r: r.largest), max(ran.others, key=lambda r: r.largest)
    yield Row("cycles", evaluations, "", note=f"{LOOPS} loops, each one tick a second at best")
    yield Row("cycles a second", last.cycles / last.sec, "/s", note=f"over {last.sec:.0f} s")
    yield Row("evaluated, and not stored once", abs(evaluations - ran.stored), "", note="in the end")
    yield Row("continue-as-new generations of each loop", generations, "", note="at least")
    yield Row("events of the longest run", max(r.events for r in ran.loops), "", EVENTS_LIMIT)
    yield Row("cycles of the longest run", max(r.evaluations for r in ran.loops), "")
    yield Row("history of the largest run", max(r.size for r in ran.loops) / KIB**2, "MB", HISTORY_LIMIT_MB)
    yield Row("history a cycle", sum(r.size for r in ran.loops) / evaluations / KIB, "KB")
    yield Row("largest payload of a loop", largest.largest / KIB, "KB", PAYLOAD_LIMIT_KB, largest.where)
    yield Row("largest payload of what loops start", other.largest / KIB, "KB", PAYLOAD_LIMIT_KB, other.where)
    yield Row("memory of the worker in the end", last.worker_mb, "MB")
    grown = ("worker_mb", "memory of the worker", "MB"), ("server_mb", "memory of the dev server", "MB")
    for what, name, unit in (*grown, ("rows", "rows of the store", ""), ("store_mb", "size of the store", "MB")):
        slope, error = _slope(steady, what)
        yield Row(f"{name}, per 1,000 cycles", slope, unit, note=f"± {error:.2g}")
        yield Row(f"{name}, projection to 30 days", slope * THOUSANDS_IN_30_DAYS, unit, note=PROJECTED)
    yield Row("events, per 1,000 cycles", 1000 * per_tick, "")
    yield Row("events, projection to 30 days", 1000 * per_tick * THOUSANDS_IN_30_DAYS, "", note=PROJECTED)


def _slope(samples: Sequence[Sample], what: str) -> tuple[float, float]:
    """Growth per 1,000 cycles by least squares, and the standard error of that figure (0 for fewer than 3 samples)."""
    x = [s.cycles / 1000 for s in samples]
    y = [float(getattr(s, what)) for s in samples]
    line = linear_regression(x, y)
    if len(x) < 3:  # The first quarter of the samples is left out.
        return line.slope, 0.0
    left = sum((b - line.slope * a - line.intercept) ** 2 for a, b in zip(x, y, strict=True))
    spread = sum((a - fmean(x)) ** 2 for a in x)
    return line.slope, (left / (len(x) - 2) / spread) ** 0.5
