"""Loki's query_range as its documentation has it, on a real socket: streams, tenants, limits, both ends of a range.

A line is kept once per stream and nanosecond. `start` belongs to the range and `end` does not; `limit` cuts the merged
order of all streams; more than `max_entries` is a 400, a tenant not given a 401 where there are tenants.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qs, urlsplit

from tests.fakes.http import read_request, response
from tests.fakes.serving import serving

PATH = "/loki/api/v1/query_range"
Stored = tuple[int, tuple[tuple[str, str], ...], str]


@dataclass
class LokiServer:
    """`lines` per tenant. `status` and `body` replace the answer; `authorization` is what lets in; `hang`: no
    answer comes."""

    multi_tenant: bool = False
    max_entries: int = 5000
    lines: dict[str, set[Stored]] = field(default_factory=dict)
    status: str = "200 OK"
    body: bytes | None = None
    hang: bool = False
    authorization: str | None = None
    asked: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    def push(self, at: int, line: str, *, tenant: str = "fake", **labels: str) -> None:
        """Store a line at a time in nanoseconds; one that is there already is not stored twice."""
        self.lines.setdefault(tenant, set()).add((at, tuple(sorted(labels.items())), line))

    def answer(self, target: str, headers: Mapping[str, str]) -> tuple[str, bytes]:
        """Status line and body."""
        path, query = urlsplit(target).path, urlsplit(target).query
        asked = {k: v[0] for k, v in parse_qs(query).items()}
        self.asked.append(asked)
        if self.authorization not in (None, headers.get("authorization")):
            return "401 Unauthorized", b"no entry"
        if self.body is not None or self.status != "200 OK":
            return self.status, self.body or b""
        if path != PATH:
            return "404 Not Found", b"404 page not found"
        tenant = headers.get("x-scope-orgid", "") if self.multi_tenant else "fake"
        if not tenant:
            return "401 Unauthorized", b"no org id"
        limit = int(asked.get("limit", "100"))
        if limit > self.max_entries:
            said = "max entries limit per query exceeded, limit > max_entries_limit_per_query"
            return "400 Bad Request", f"{said} ({limit} > {self.max_entries})".encode()
        start, end = int(asked["start"]), int(asked["end"])
        forward = asked.get("direction", "backward") == "forward"
        within = sorted((x for x in self.lines.get(tenant, ()) if start <= x[0] < end), reverse=not forward)[:limit]
        streams: dict[tuple[tuple[str, str], ...], list[list[str]]] = {}
        for at, labels, line in within:
            streams.setdefault(labels, []).append([str(at), line])
        result = [{"stream": dict(labels), "values": values} for labels, values in streams.items()]
        data = {"resultType": "streams", "result": result, "stats": {"summary": {"totalLinesProcessed": len(within)}}}
        return "200 OK", json.dumps({"status": "success", "data": data}).encode()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            assert request.method == "GET"
            if self.hang:
                await asyncio.Event().wait()
            status, body = self.answer(request.path, request.headers)
            kind = "application/json" if status.startswith("200") else "text/plain"
            writer.write(response(status, body, f"Content-Type: {kind}"))
            await writer.drain()

    @asynccontextmanager
    async def run(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Self]:
        """Serve on a free port."""
        async with serving(self._serve, tls) as port:
            self.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
            yield self
