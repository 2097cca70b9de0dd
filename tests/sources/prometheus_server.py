"""A real Prometheus on a free port, scraping what a test serves."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from whenever import Instant

from copilot.embedded.ports import free_ports
from copilot.rules.signals.readings import Signals
from copilot.settings.clusters import ClusterSettings
from copilot.sources.prometheus.instant import PrometheusSource
from copilot.sources.prometheus.range import PrometheusRange

Samples = dict[tuple[tuple[str, str], ...], list[tuple[float, str]]]
"""Labels with `__name__` → time and value as Prometheus writes it."""


class PrometheusServer:
    """What a test asks of it, past our own source."""

    def __init__(self, url: str, pid: int = 0) -> None:
        self.url, self.pid = url, pid
        self._client = httpx.AsyncClient(trust_env=False, timeout=60)

    async def query(self, query: str, at: float | None = None) -> list[dict[str, Any]]:
        """The result of an instant query."""
        form = {"query": query} | ({"time": f"{at:.3f}"} if at is not None else {})
        answer = (await self._client.post(f"{self.url}/api/v1/query", data=form)).json()
        assert answer["status"] == "success", answer
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    async def samples(self, query: str, at: float) -> Samples:
        """The raw samples of a range selector."""
        return {
            tuple(sorted(series["metric"].items())): [(float(t), v) for t, v in series["values"]]
            for series in await self.query(query, at)
        }

    async def until(self, query: str, *, patience_sec: float = 60.0) -> None:
        """Wait until a query has an answer."""
        async with asyncio.timeout(patience_sec):
            while True:
                try:
                    if await self.query(query):
                        return
                except (httpx.HTTPError, json.JSONDecodeError):
                    pass
                await asyncio.sleep(0.1)

    async def aclose(self) -> None:
        await self._client.aclose()


@asynccontextmanager
async def prometheus(
    folder: Path, jobs: Mapping[str, Sequence[str]], *, interval_sec: float = 1.0, **more: object
) -> AsyncIterator[PrometheusServer]:
    """A Prometheus that scrapes each job's addresses (`host:port`), ready to answer; `more`: its configuration."""
    port = free_ports(1)[0]
    command = [
        "prometheus",
        f"--config.file={_scrapes(folder, jobs, interval_sec, **more)}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    async with _running(folder, command, port) as server:
        yield server


@asynccontextmanager
async def victoria_metrics(
    folder: Path, jobs: Mapping[str, Sequence[str]], *flags: str
) -> AsyncIterator[PrometheusServer]:
    """The same of VictoriaMetrics, scraping each second."""
    port = free_ports(1)[0]
    command = [
        "victoria-metrics",
        f"-promscrape.config={_scrapes(folder, jobs, 1.0)}",
        f"-storageDataPath={folder / 'data'}",
        f"-httpListenAddr=127.0.0.1:{port}",
        "-retentionPeriod=1d",
        "-memory.allowedBytes=200MB",
        *flags,
    ]
    async with _running(folder, command, port) as server:
        yield server


def _scrapes(folder: Path, jobs: Mapping[str, Sequence[str]], interval_sec: float, **more: object) -> Path:
    interval = f"{interval_sec:g}s"
    settings = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval}
        | ({"evaluation_interval": interval} if more else {}),  # VictoriaMetrics refuses it
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": list(addresses)}]} for job, addresses in jobs.items()
        ],
        **more,
    }
    config = folder / "scrapes.yml"
    config.write_text(json.dumps(settings))
    return config


@asynccontextmanager
async def _running(folder: Path, command: Sequence[str], port: int) -> AsyncIterator[PrometheusServer]:
    with (folder / "server.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        server = PrometheusServer(f"http://127.0.0.1:{port}", process.pid)
        try:
            await server.until("vector(1)")
            yield server
        finally:
            await server.aclose()
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


async def live(of: ClusterSettings, times: Iterable[int]) -> list[Signals]:
    """What the live source reads when these moments are the present, one after the other."""
    assert of.prometheus is not None
    present = [Instant.from_timestamp(0)]
    source = PrometheusSource(of, of.prometheus, deadline_sec=60, clock=lambda: present[0])
    read = []
    try:
        for time in times:
            present[0] = Instant.from_timestamp(time, unit="millisecond")
            read.append(await source.read(present[0]))
    finally:
        await source.aclose()
    return read


async def replayed(of: ClusterSettings, times: range, **more: object) -> list[Signals]:
    assert of.prometheus is not None
    source = PrometheusRange(of, of.prometheus, **more)  # type: ignore[arg-type]
    try:
        return [signals async for signals in source.ticks(times)]
    finally:
        await source.aclose()


def apart(ours: Signals, theirs: Signals) -> list[str]:
    """What differs between two readings of one moment, beyond rounding."""
    different = [
        f"{i} at {ours.time}: {a} and {b}"
        for i, a in ours.readings.items()
        if (b := theirs.readings[i]) != a and (a is None or b is None or a != pytest.approx(b, rel=1e-9))
    ]
    for what in ("time", "no_traffic", "missing", "targets"):
        if getattr(ours, what) != getattr(theirs, what):
            different.append(f"{what} at {ours.time}: {getattr(ours, what)} and {getattr(theirs, what)}")
    for i in {**ours.breakdowns, **theirs.breakdowns}:
        rows, others = ({tuple(r.labels.items()): r.value for r in s.rows(i)} for s in (ours, theirs))
        if rows != pytest.approx(others, rel=1e-9):
            different.append(f"rows of {i} at {ours.time}: {rows} and {others}")
    return different
