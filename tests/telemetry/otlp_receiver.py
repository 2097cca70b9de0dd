"""The other end of OTLP over HTTP: takes what exporters send, on a real socket, and decodes it."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.fakes.http import read_request
from tests.fakes.serving import serving


@dataclass(frozen=True)
class Received:
    """A span as it arrived; ids in hexadecimal, `parent` empty where it begins its trace."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    raw: str


@dataclass
class Receiver:
    """What arrived so far."""

    spans: list[Received] = field(default_factory=list)
    metrics: set[str] = field(default_factory=set)
    url: str = ""
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, enough: Callable[[Self], object], within: float = 60) -> None:
        """Wait until enough has arrived."""
        async with asyncio.timeout(within):
            while not enough(self):
                self._news.clear()
                await self._news.wait()

    @property
    def names(self) -> set[str]:
        """The names of all spans."""
        return {s.name for s in self.spans}

    def parents(self, span: Received) -> list[str]:
        """The names of the spans around it, innermost first."""
        known = {s.id: s for s in self.spans}
        around: list[str] = []
        while (parent := known.get(span.parent)) is not None:
            assert parent.trace == span.trace
            around.append(parent.name)
            span = parent
        return around

    def _take(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                service = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
                for scope in resource.scope_spans:
                    self.spans += [_received(service, s) for s in scope.spans]
        elif path == "/v1/metrics":
            for measured in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self.metrics |= {m.name for scope in measured.scope_metrics for m in scope.metrics}
        self._news.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            packed = "content-encoding" in request.headers
            self._take(request.path, gzip.decompress(request.body) if packed else request.body)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()


def _received(service: str, span: Any) -> Received:
    attributes = {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}
    ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
    return Received(service, span.name, *ids, attributes, str(span))


@asynccontextmanager
async def otlp_receiver() -> AsyncIterator[Receiver]:
    """A receiver on a free port."""
    receiver = Receiver()
    async with serving(receiver._serve) as port:
        receiver.url = f"http://127.0.0.1:{port}"
        yield receiver
