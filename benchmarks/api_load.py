"""How fast the API answers over a store that has lived: 20,000 assessments, 40,000 issues and 20,000 snapshots in a
real PostgreSQL, asked by wrk (a client in Python would be the bottleneck). SECONDS=20 makes each round longer."""

import asyncio
import os
import re
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx
import psutil
from whenever import Instant

from benchmarks import Row
from benchmarks._api_past import INTERVAL_SEC, judged
from copilot.embedded.signals import run_until_signal
from copilot.embedded.supervisor import Supervisor
from copilot.embedded.up import start_own_postgres
from copilot.rules.model import HealthAssessment, Trigger
from copilot.store.postgres import PostgresStore

SECONDS = int(os.environ.get("SECONDS", "5"))
ROWS, ISSUES = 20_000, 40_000
JUDGED = 480
TOO_LONG = 200_000
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
COPIES = {
    "metrics_snapshots": (
        "cluster, evaluation_id || '/' || n, time - n * $1::interval, health_state, stale, bottleneck, top_factor,"
        " thresholds_hash, taxonomy_version, rules_version, readings, memory_before, evaluation"
    ),
    "health_assessments": (
        "cluster, evaluation_id || '/' || n, trigger, time - n * $1::interval, health_state, stale, bottleneck,"
        " top_factor, explained_by, summary, assessment"
    ),
    "issues": (
        "cluster, finding, subject || '/' || n, severity, title, first_seen - n * $1::interval,"
        " last_seen - n * $1::interval, last_seen - n * $1::interval + interval '1 minute', issue"
    ),
}


@dataclass(frozen=True, slots=True)
class Round:
    """What wrk saw: answers a second, milliseconds at percentiles, and answers that were none; and what an answer cost
    the server (CPU time, which other processes do not lengthen much)."""

    per_sec: float
    p50: float
    p99: float
    cpu_ms: float
    wrong: int


def rows() -> Iterator[Row]:
    """The figures; none where it is told to end before."""
    if shutil.which("wrk") is None:
        sys.exit("api_load needs wrk: apt-get install wrk")
    found: list[Row] = []

    async def run(folder: Path) -> None:
        found.extend(await _run(folder))

    with tempfile.TemporaryDirectory(prefix="copilot-api-load-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)  # PostgreSQL, which runs as another user where we are root, passes through.
        (folder / "logs").mkdir()
        run_until_signal(run(folder))
    yield from found


async def _run(folder: Path) -> list[Row]:
    async with Supervisor(folder / "logs", lambda event: print(f"  {event.text}", file=sys.stderr)) as supervisor:
        postgres = await start_own_postgres(supervisor, folder, throwaway=True)
        stored = await _fill(postgres.url)
        server = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks._api_server", postgres.url, stdout=asyncio.subprocess.PIPE
        )
        try:
            assert server.stdout is not None
            port = int(await server.stdout.readline())
            asking = Asking(f"http://127.0.0.1:{port}", psutil.Process(server.pid))
            return [stored, *[row async for row in _measured(asking)]]
        finally:
            server.terminate()
            await server.wait()


async def _fill(url: str) -> Row:
    store = PostgresStore(url)
    await store.setup_schema()
    ticks = list(judged(JUDGED, Instant.now()))
    await store.save_snapshots(ticks)
    for tick in ticks:
        said = HealthAssessment.model_validate({**tick.evaluation.model_dump(), "trigger": Trigger.SCHEDULED})
        await store.save_assessment(said)
    await store.close()
    connection = await asyncpg.connect(url)
    span = f"{JUDGED * INTERVAL_SEC} seconds"
    kept = []
    for table, columns in COPIES.items():
        wanted = ISSUES if table == "issues" else ROWS
        count = await connection.fetchval(f"SELECT count(*) FROM {table}")
        copies = -(-(wanted - count) // count)
        await connection.execute(
            f"INSERT INTO {table} SELECT gen_random_uuid(), {columns} FROM {table}, generate_series(1, {copies}) AS n"
            f" LIMIT {wanted - count}".replace("$1", f"'{span}'")
        )
        kept.append(f"{await connection.fetchval(f'SELECT count(*) FROM {table}'):,} {table}")
    await connection.execute("ANALYZE")
    size = await connection.fetchval("SELECT pg_database_size(current_database())")
    await connection.close()
    return Row("stored", size / 2**20, "MB", note=", ".join(kept))


@dataclass(frozen=True, slots=True)
class Asking:
    """Where wrk asks, and the process that answers."""

    base: str
    server: psutil.Process

    async def wrk(self, path: str, connections: int = 1, seconds: int = SECONDS) -> Round:
        """One round."""
        argv = ("wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", self.base + path)
        before = self.server.cpu_times()
        done = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
        out = (await done.communicate())[0].decode()
        after = self.server.cpu_times()

        def found(pattern: str) -> re.Match[str]:
            match = re.search(pattern, out, re.MULTILINE)
            assert match is not None, out
            return match

        def at(percent: int) -> float:
            number, unit = found(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s)$").groups()
            return float(number) * UNITS[unit]

        wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
        answers = int(found(r"(\d+) requests in")[1])
        cpu_ms = 1000 * (after.user + after.system - before.user - before.system) / answers
        per_sec = float(found(r"Requests/sec:\s+([\d.]+)")[1])
        return Round(per_sec, at(50), at(99), cpu_ms, int(wrong[1]) if wrong else 0)


async def _measured(ask: Asking) -> AsyncIterator[Row]:
    async with httpx.AsyncClient(base_url=ask.base) as client:
        day = await client.get("/status/timeline", headers={"accept-encoding": "identity"})
        packed = await client.get("/status/timeline", headers={"accept-encoding": "gzip"})
        points = len(day.json()["timeline"])
    status, timeline = "/status", "/status/timeline"
    ranged = f"{timeline}?start={Instant.now().subtract(hours=24).timestamp()}"
    await ask.wrk(status, seconds=1)
    alone = await ask.wrk(status)
    yield Row("/status, one after another: p99", alone.p99, "ms", 20.0, _note(alone))
    many = await ask.wrk(status, 20)
    # The limit is a floor here: what is shown is the time an answer may take in 20 lines, 1,000 * 20 / 500 ms.
    yield Row("/status, 20 at once: answers a second", many.per_sec, "/s", note=f"at least 500 wanted; {_note(many)}")
    yield Row("/status, 20 at once: time between two answers", 1000 / many.per_sec, "ms", 2.0)
    past = await ask.wrk(ranged)
    yield Row("/status/timeline, a range of 24 h: p99", past.p99, "ms", 100.0, f"{points} points; {_note(past)}")
    usual = await ask.wrk(timeline)
    yield Row("/status/timeline, the last 24 h: p99", usual.p99, "ms", 100.0, _note(usual))
    size = int(packed.headers["content-length"])
    yield Row("/status/timeline, 24 h: size", len(day.content) / 1e3, "kB", TOO_LONG / 1e3, f"{size / 1e3:.0f} packed")
    both = await asyncio.gather(ask.wrk(status), ask.wrk(ranged))
    yield Row("/status while the timeline is asked for: p99", both[0].p99, "ms", 50.0, _note(both[0]))
    yield Row("/status/timeline meanwhile: p99", both[1].p99, "ms", note=_note(both[1]))
    for path in ("/status/issues", "/status/issues?resolved=true", "/status/timeline?signals=true", "/healthz"):
        other = await ask.wrk(path)
        yield Row(f"{path}: p99", other.p99, "ms", note=_note(other))


def _note(seen: Round) -> str:
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    wrong = f", {seen.wrong} errors" if seen.wrong else ""
    speed = f"half in {seen.p50:.3g} ms, {seen.per_sec:,.0f}/s, {seen.cpu_ms:.2g} ms of CPU each"
    return f"{speed}; load {load:.1f} a core{wrong}"
