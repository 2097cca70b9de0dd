"""The other end of OTLP over HTTP: takes what exporters send, on a real socket, and decodes it. As strict as a
collector: POST, binary protobuf without unknown fields, and the three paths; anything else is refused and noted."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import SeverityNumber

from tests.fakes.http import read_request, response
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


@dataclass(frozen=True)
class Event:
    """A log record as it arrived."""

    name: str
    severity: str
    body: str
    time: int
    attributes: dict[str, Any]


REQUESTS: dict[str, Any] = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
}
Labels = frozenset[tuple[str, Any]]


@dataclass
class Receiver:
    """What arrived so far. `metrics`: unit and kind of data by name; `points`: the last value by name and attributes;
    `refused`: requests that no collector would take."""

    spans: list[Received] = field(default_factory=list)
    metrics: dict[str, tuple[str, str]] = field(default_factory=dict)
    points: dict[tuple[str, Labels], float] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
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
        sent = REQUESTS[path].FromString(body)
        assert not len(UnknownFieldSet(sent)), "a field that OTLP does not have"
        if path == "/v1/traces":
            for resource in sent.resource_spans:
                service = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
                for scope in resource.scope_spans:
                    self.spans += [_received(service, s) for s in scope.spans]
        elif path == "/v1/metrics":
            for metric in (m for r in sent.resource_metrics for scope in r.scope_metrics for m in scope.metrics):
                self._measured(metric)
        else:
            for one in (o for r in sent.resource_logs for scope in r.scope_logs for o in scope.log_records):
                severity = one.severity_text
                assert SeverityNumber.Value(f"SEVERITY_NUMBER_{severity}") == one.severity_number
                body_text = one.body.string_value
                self.events.append(Event(one.event_name, severity, body_text, one.time_unix_nano, _plain(one)))
        self._news.set()

    def _measured(self, metric: Any) -> None:
        kind = metric.WhichOneof("data")
        data = getattr(metric, kind)
        monotonic = kind == "sum" and ("" if data.is_monotonic else "non-monotonic ")
        self.metrics[metric.name] = (metric.unit, f"{monotonic or ''}{kind}")
        for point in data.data_points if kind in ("sum", "gauge") else ():
            value = getattr(point, point.WhichOneof("value"))
            self.points[metric.name, frozenset(_plain(point).items())] = value

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            packed = request.headers.get("content-encoding") == "gzip"
            status = "200 OK"
            try:
                assert (request.method, request.headers["content-type"]) == ("POST", "application/x-protobuf")
                self._take(request.path, gzip.decompress(request.body) if packed else request.body)
            except (AssertionError, KeyError, ValueError, DecodeError) as error:
                status = "400 Bad Request"
                self.refused.append(f"{request.method} {request.path}: {error!r}")
            writer.write(response(status, b"", "Content-Type: application/x-protobuf"))
            await writer.drain()


def _plain(one: Any) -> dict[str, Any]:
    """Attributes; an array as a tuple."""
    kinds = {a.key: (a.value.WhichOneof("value"), a.value) for a in one.attributes}
    return {
        key: tuple(v.string_value for v in value.array_value.values) if kind == "array_value" else getattr(value, kind)
        for key, (kind, value) in kinds.items()
    }


def _received(service: str, span: Any) -> Received:
    ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
    return Received(service, span.name, *ids, _plain(span), str(span))


@asynccontextmanager
async def otlp_receiver() -> AsyncIterator[Receiver]:
    """A receiver on a free port."""
    receiver = Receiver()
    async with serving(receiver._serve) as port:
        receiver.url = f"http://127.0.0.1:{port}"
        yield receiver
