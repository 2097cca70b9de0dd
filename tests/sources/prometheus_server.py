"""A real Prometheus on a free port, scraping what a test serves."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from copilot.embedded.ports import free_ports

Samples = dict[tuple[tuple[str, str], ...], list[tuple[float, str]]]
"""Labels with `__name__` → time and value as Prometheus writes it."""


class PrometheusServer:
    """What a test asks of it, past our own source."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.AsyncClient(trust_env=False)

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

    async def until(self, query: str, *, patience_sec: float = 20.0) -> None:
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
    folder: Path, jobs: Mapping[str, Sequence[str]], *, interval_sec: float = 1.0
) -> AsyncIterator[PrometheusServer]:
    """A Prometheus that scrapes each job's addresses (`host:port`), ready to answer."""
    port = free_ports(1)[0]
    command = [
        "prometheus",
        f"--config.file={_scrapes(folder, jobs, interval_sec)}",
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


def _scrapes(folder: Path, jobs: Mapping[str, Sequence[str]], interval_sec: float) -> Path:
    interval = f"{interval_sec:g}s"
    settings = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval},
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": list(addresses)}]} for job, addresses in jobs.items()
        ],
    }
    config = folder / "scrapes.yml"
    config.write_text(json.dumps(settings))
    return config


@asynccontextmanager
async def _running(folder: Path, command: Sequence[str], port: int) -> AsyncIterator[PrometheusServer]:
    with (folder / "server.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        server = PrometheusServer(f"http://127.0.0.1:{port}")
        try:
            await server.until("vector(1)")
            yield server
        finally:
            await server.aclose()
            process.terminate()
            await process.wait()
