"""Loki's query_range, series and labels as a real Loki answered them (November 2026), on a real socket: streams,
tenants, limits, both ends of a range.

A line is kept once per stream and nanosecond. `start` belongs to the range and `end` does not; `limit` cuts the merged
order of all streams; more than `max_entries` is a 400, a tenant not given a 401 where there are tenants. An answer over
4 MiB never comes: it is larger than what a Loki's parts may send each other. Queries: see loki_queries.
"""

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qs, urlsplit

from tests.fakes.http import read_request, response
from tests.fakes.serving import serving
from tests.sources.loki_queries import Refused, Stored, counted, is_metric, parsed

PATH, INSTANT = "/loki/api/v1/query_range", "/loki/api/v1/query"
LISTS = re.compile(r"/loki/api/v1/(series|labels|label/(\w+)/values)")
RANGE_NS = (30 * 24 + 1) * 3_600 * 1_000_000_000


@dataclass
class LokiServer:
    """`lines` per tenant. `status`, `body` and `more` (headers) replace the answer; `authorization` is what lets in;
    `hang`: no answer comes; `hang_after`: nor after so many; `broken_over`: one of more bytes breaks off. `asked` has
    the parameters of queries for lines, `counts` metric queries, `paths` the paths of all requests."""

    multi_tenant: bool = False
    max_entries: int = 5000
    lines: dict[str, set[Stored]] = field(default_factory=dict)
    status: str = "200 OK"
    body: bytes | None = None
    more: tuple[str, ...] = ()
    hang: bool = False
    hang_after: int = 1_000_000
    grpc_bytes: int = 4_194_304
    broken_over: int | None = None
    authorization: str | None = None
    asked: list[dict[str, str]] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    url: str = ""

    def push(self, at: int, line: str, *, tenant: str = "fake", **labels: str) -> None:
        """Store a line at a time in nanoseconds; one that is there already is not stored twice."""
        self.lines.setdefault(tenant, set()).add((at, tuple(sorted(labels.items())), line))

    def answer(self, target: str, headers: Mapping[str, str]) -> tuple[str, bytes]:
        """Status line and body."""
        try:
            return self._answer(target, headers)
        except Refused as refused:
            return "400 Bad Request", str(refused).encode()

    def _answer(self, target: str, headers: Mapping[str, str]) -> tuple[str, bytes]:
        path, query = urlsplit(target).path, urlsplit(target).query
        asked = {k: v[0] for k, v in parse_qs(query).items()}
        self.paths.append(path)
        if path == PATH:
            self.asked.append(asked)
        if self.authorization not in (None, headers.get("authorization")):
            return "401 Unauthorized", b"no entry"
        if self.body is not None or self.status != "200 OK":
            return self.status, self.body or b""
        if path not in (PATH, INSTANT) and LISTS.fullmatch(path) is None:
            return "404 Not Found", b"404 page not found"
        tenant = headers.get("x-scope-orgid", "") if self.multi_tenant else "fake"
        if not tenant:
            return "401 Unauthorized", b"no org id"
        if "/" in tenant:
            return "400 Bad Request", f"tenant ID '{tenant}' contains unsupported character '/'".encode()
        if path == INSTANT:
            self.counts.append(asked["query"])
            at, lines = int(asked["time"]), self.lines.get(tenant, set())
            vector = [{"metric": m, "value": [at / 1e9, str(n)]} for m, n in counted(asked["query"], lines, at)]
            return "200 OK", _data("vector", vector)
        start, end = int(asked["start"]), int(asked["end"])
        if end <= start:
            return "400 Bad Request", b"end timestamp must not be before or equal to start time"
        if end - start > RANGE_NS:
            hours = f"{(end - start) // 3_600_000_000_000}h0m0s"
            said = f"the query time range exceeds the limit (query length: {hours}, limit: 30d1h)"
            return "400 Bad Request", said.encode()
        if matched := LISTS.fullmatch(path):
            return "200 OK", self._list(matched[1], matched[2], asked, tenant, start, end)
        if is_metric(asked["query"]):
            lines, at = self.lines.get(tenant, set()), end // 60_000_000_000 * 60  # aligned to the step
            of = counted(asked["query"], lines, at * 1_000_000_000)
            return "200 OK", _data("matrix", [{"metric": m, "values": [[at, str(n)]]} for m, n in of])
        limit = int(asked.get("limit", "100"))
        if limit > self.max_entries:
            said = "max entries limit per query exceeded, limit > max_entries_limit_per_query"
            return "400 Bad Request", f"{said} ({limit} > {self.max_entries})".encode()
        forward = asked.get("direction", "backward") == "forward"
        within = sorted(self._within(asked["query"], tenant, start, end), reverse=not forward)[:limit]
        streams: dict[tuple[tuple[str, str], ...], list[list[str]]] = {}
        for at, labels, line in within:
            streams.setdefault(labels, []).append([str(at), line])
        result = [{"stream": dict(labels), "values": values} for labels, values in streams.items()]
        return "200 OK", _data("streams", result)

    def _within(self, selector: str, tenant: str, start: int, end: int) -> list[Stored]:
        query = parsed(selector)
        return [x for x in self.lines.get(tenant, ()) if start <= x[0] < end and query(x)]

    def _list(self, what: str, name: str | None, asked: Mapping[str, str], tenant: str, start: int, end: int) -> bytes:
        """The body for series, labels, or the values of a label: no `data` where nobody has it."""
        streams = {labels for _, labels, _ in self._within(asked.get("match[]", ""), tenant, start, end)}
        found: Sequence[object] = [dict(labels) for labels in sorted(streams)]
        if what != "series":
            found = sorted({value if name else key for s in streams for key, value in s if name in (None, key)})
        return json.dumps({"status": "success", **({"data": found} if found or what == "series" else {})}).encode()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            assert request.method == "GET"
            status, body = self.answer(request.path, request.headers)
            if self.hang or len(self.asked) > self.hang_after or len(body) > self.grpc_bytes:
                await asyncio.Event().wait()
            kind = "application/json" if status.startswith("200") else "text/plain"
            whole = response(status, body, f"Content-Type: {kind}", *self.more)
            if self.broken_over is not None and len(body) > self.broken_over:
                writer.write(whole[: len(whole) // 2])
                await writer.drain()
                return
            writer.write(whole)
            await writer.drain()

    @asynccontextmanager
    async def run(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Self]:
        """Serve on a free port."""
        async with serving(self._serve, tls) as port:
            self.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
            yield self


def _data(kind: str, result: Sequence[object]) -> bytes:
    stats = {"summary": {"totalEntriesReturned": len(result)}}
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result, "stats": stats}}).encode()
