"""Prometheus' HTTP API as a test wants it, on a real socket: the wire's other end, answering our own questions."""

import asyncio
import json
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs

from whenever import Instant

from copilot.rules.signals.readings import Signals
from copilot.settings.clusters import ClusterSettings, PrometheusSettings
from copilot.sources.prometheus.instant import PrometheusSource
from tests.fakes.http import Request, read_request, response
from tests.fakes.serving import serving

TAGGED = re.compile(r'"copilot_part", "(\d+\+?)"')


def form(request: Request) -> dict[str, str]:
    """The parameters of a query."""
    return {k: v[0] for k, v in parse_qs(request.body.decode()).items()}


def query_of(request: Request) -> str:
    return form(request).get("query", "")


def vector(*samples: tuple[dict[str, str], float | str]) -> bytes:
    """A successful answer about now."""
    result = [{"metric": labels, "value": [time.time(), str(value)]} for labels, value in samples]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()


Found = tuple[dict[str, str], float | str]
WHOSE = "sum by (instance, service_name) (rate("
LABELED = '!~"|__omitted__'
SERVICES = ("frontend", "history", "matching")
BUILDS: list[Found] = [({"instance": "s:1", "service_name": "history", "build_version": "1_32_0"}, 1)]


@dataclass
class StandIn:
    """Answers what the source asks: names with the targets (by spaces) that have them, samples and `up`; births; a
    value for every leaf.

    `status`, `body` and their like replace the answer, `hang` says which questions are never answered."""

    names: dict[str, str] = field(default_factory=lambda: {"service_requests": "s:1", "service_latency_count": "s:1"})
    up: dict[str, int] = field(default_factory=lambda: {"s:1": 1})
    counts: dict[str, int] = field(default_factory=lambda: {"s:1": 4})
    requests_per_sec: float = 1.0
    alias: str = ""
    born: tuple[str, ...] = ()
    leaf: Callable[[str, str], list[Found]] = lambda tag, expression: [({}, 1)]  # noqa: ARG005
    status: str = "200 OK"
    headers: tuple[str, ...] = ("Content-Type: application/json",)
    body: bytes | None = None
    hang: Callable[[str], bool] = lambda query: False  # noqa: ARG005
    check: Callable[[Request], bool] = lambda request: True  # noqa: ARG005
    requests: list[Request] = field(default_factory=list)
    url: str = ""

    @property
    def queries(self) -> list[str]:
        return [query_of(r) for r in self.requests]

    def answer(self, query: str) -> bytes:
        if '"names"' in query:
            return self._targets(query)
        if query.startswith("count by (copilot_name)"):
            return vector(*(({"copilot_name": name}, 1) for name in self.born))
        found: list[Found] = []
        for part in re.split(r" or (?=label_replace\()", query):
            if tagged := TAGGED.search(part):
                services: list[Found] = [({"service_name": name}, self.requests_per_sec) for name in SERVICES]
                known = (
                    services if WHOSE in part or LABELED in part else BUILDS if "build_information" in part else None
                )
                asked = self.leaf(tagged[1], part) if known is None else known
                found.extend(({**labels, "copilot_part": tagged[1]}, v) for labels, v in asked)
        return vector(*found)

    def _targets(self, query: str) -> bytes:
        def of(instance: str) -> dict[str, str]:
            return {"job": "temporal", "instance": instance}

        regex = re.search(r'__name__=~"([^"]*)"', query)
        assert regex is not None
        mine = [(name, i) for name, all_of_it in self.names.items() for i in all_of_it.split()]
        mine = [(name, i) for name, i in mine if re.fullmatch(regex[1], name)]
        targets = {i for _, i in mine}
        known = {i for i in targets | self.up.keys() if i.startswith("w") == ("temporal_num_pollers" in query)}
        return vector(
            *(({"__name__": name, "copilot_part": "names", **of(i)}, 1) for name, i in mine),
            *(({"copilot_part": "samples", **of(i)}, n) for i, n in self.counts.items() if i in known),
            *(({"copilot_part": "up", **of(i)}, n) for i, n in self.up.items() if i in known),
            *([({"copilot_part": self.alias}, 1)] if self.alias else []),
        )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            self.requests.append(request)
            query = query_of(request)
            if self.hang(query):
                await reader.read()
                return
            status = self.status if self.check(request) else "403 Forbidden"
            body = self.body if self.body is not None else self.answer(query)
            if status.startswith("403"):
                body = b'{"message": "Missing Authentication Token"}'
            writer.write(response(status, body, *self.headers))
            await writer.drain()

    @asynccontextmanager
    async def run(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Self]:
        """Serve on a free port."""
        async with serving(self.serve, tls) as port:
            self.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
            yield self


def error(text: str) -> bytes:
    return json.dumps({"status": "error", "errorType": "execution", "error": text}).encode()


def answer_of(kind: str, result: Any, **more: Any) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **more}).encode()


@asynccontextmanager
async def source(
    url: str, *, deadline_sec: float = 5.0, max_bytes: int = 32_000_000, **settings: Any
) -> AsyncIterator[PrometheusSource]:
    """The source, with these settings of its Prometheus."""
    prometheus = PrometheusSettings(url=url, **settings)
    cluster = ClusterSettings(interval_sec=5, window_sec=30, prometheus=prometheus)
    asking = PrometheusSource(cluster, prometheus, deadline_sec=deadline_sec, max_answer_bytes=max_bytes)
    try:
        yield asking
    finally:
        await asking.aclose()


async def read(standin: StandIn, **settings: Any) -> Signals:
    """One read of a stand-in that runs meanwhile."""
    async with standin.run(), source(standin.url, **settings) as asking:
        return await asking.read(Instant.now())
