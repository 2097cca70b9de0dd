"""What one cluster's ticks take in the store: a day of snapshots in a real PostgreSQL, of a healthy cluster and of one
recorded incident again and again. `python -m benchmarks store_day`. Assessments, issues and inspections are not
counted: they come when something changes or on a schedule, and not with each tick."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
from whenever import Instant

from benchmarks import Row
from benchmarks._api_past import INTERVAL_SEC, RECORDING, judged
from benchmarks._scratch import run_in_folder
from copilot.embedded.supervisor import Supervisor
from copilot.embedded.up import start_own_postgres
from copilot.store.postgres import PostgresStore

TICKS = round(86_400 / INTERVAL_SEC)
LIMIT_MB = 10.0
MB = 1e6
HEALTHY = RECORDING.with_name("healthy.jsonl.gz")
DAYS = {"healthy": HEALTHY, "one incident after the other": RECORDING}


def rows() -> Iterator[Row]:
    """The size of each day: table and indexes."""
    sizes: dict[str, int] = {}

    async def run(folder: Path) -> None:
        async with Supervisor(folder / "logs", lambda event: print(f"  {event.text}", file=sys.stderr)) as supervisor:
            postgres = await start_own_postgres(supervisor, folder, throwaway=True)
            for name, recording in DAYS.items():
                sizes[name] = await _size_of(postgres.url, recording)

    run_in_folder("store-day", run)
    for what, size in sizes.items():
        note = f"{TICKS:,} ticks, {size / TICKS / 1000:.2f} kB each"
        yield Row(f"a day's snapshots: {what}", size / MB, "MB", LIMIT_MB, note)


async def _size_of(url: str, recording: Path) -> int:
    """Bytes of the snapshots' table with its indexes, which holds that day and nothing else."""
    store, connection = PostgresStore(url), await asyncpg.connect(url)
    try:
        await store.setup_schema()
        await connection.execute("TRUNCATE metrics_snapshots")
        day = await asyncio.to_thread(lambda: list(judged(TICKS, Instant.now(), recording)))
        stored = await store.save_snapshots(day)
        if stored != TICKS:
            raise RuntimeError(f"{stored} of {TICKS} snapshots are stored")
        return int(await connection.fetchval("SELECT pg_total_relation_size('metrics_snapshots')"))
    finally:
        await connection.close()
        await store.close()
