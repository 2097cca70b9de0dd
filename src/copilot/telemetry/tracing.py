"""Traces by OpenTelemetry, sent by OTLP over HTTP. Imported only if an endpoint is set: spans.py."""

import contextlib
import logging
import os
import time
from collections.abc import Mapping, Sequence

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.util.types import Attributes, AttributeValue
from temporalio.client import Plugin
from temporalio.contrib.opentelemetry import OpenTelemetryPlugin, create_tracer_provider

from copilot import __version__
from copilot.redaction.redactor import redacted
from copilot.telemetry.spans import Kind, Signal, Value, endpoint

NOT_SENT = ("QueryWorkflow:", "HandleQuery:")
"""The API queries every loop about once a second."""
OMITTED = frozenset({"url.query"})
SAY_EVERY_SEC = 600.0
_EXPORTERS = {"traces": "trace_exporter", "metrics": "metric_exporter", "logs": "_log_exporter"}


def resource(process: str) -> Resource:
    """What all telemetry of a process says of it."""
    name = os.environ.get("OTEL_SERVICE_NAME") or f"copilot-{process}"
    return Resource.create({"service.name": name, "service.version": __version__})


class _SaidSeldom(logging.Filter):
    """A collector that takes nothing is said once in ten minutes; the exporters say it at each attempt."""

    def __init__(self, signal: Signal) -> None:
        super().__init__()
        self._signal = signal
        self._said = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        if (now := time.monotonic()) - self._said < SAY_EVERY_SEC:
            return False
        self._said = now
        reason = redacted(record.getMessage().partition("\n")[0])
        record.msg, record.args = f"{self._signal} do not reach {endpoint(self._signal)}: %s", (reason,)
        record.event = "telemetry.not_sent"
        return True


def said_seldom(*signals: Signal) -> None:
    """From now on, say of these signals once in ten minutes that they are not sent."""
    for signal in signals:
        exporter = logging.getLogger(f"opentelemetry.exporter.otlp.proto.http.{_EXPORTERS[signal]}")
        if not any(isinstance(f, _SaidSeldom) for f in exporter.filters):
            exporter.addFilter(_SaidSeldom(signal))


class OpenTelemetryTracing:
    """Creates spans and sends them until it is closed."""

    def __init__(self, process: str, exporter: SpanExporter | None = None) -> None:
        self._provider = create_tracer_provider(resource=resource(process), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(WithoutSecrets(exporter or OTLPSpanExporter())))
        trace.set_tracer_provider(self._provider)
        self._tracer = self._provider.get_tracer("copilot", __version__)
        said_seldom("traces")

    def plugin(self) -> Plugin:
        """The plugin that traces workflows and activities of a client."""
        return OpenTelemetryPlugin(add_temporal_spans=True)

    def instrument_models(self) -> None:
        """Trace calls of models from now on, without prompts and answers, which may hold names."""
        from pydantic_ai import Agent, InstrumentationSettings

        settings = InstrumentationSettings(
            tracer_provider=self._provider, include_content=False, include_binary_content=False
        )
        Agent.instrument_all(settings)

    def span(
        self, name: str, attributes: Mapping[str, Value], kind: Kind, carrier: Mapping[str, str] | None
    ) -> contextlib.AbstractContextManager[Span]:
        """As spans.span says."""
        within = None if carrier is None else propagate.extract(dict(carrier), Context())
        return self._tracer.start_as_current_span(name, within, SpanKind[kind.upper()], attributes)

    def ended(self, name: str, attributes: Mapping[str, Value], seconds: float, error: str | None) -> None:
        """A span that has just ended, as a child of the current span; none without a current span."""
        if not trace.get_current_span().get_span_context().is_valid:
            return
        end = time.time_ns()
        done = self._tracer.start_span(name, None, SpanKind.CLIENT, attributes, start_time=end - int(seconds * 1e9))
        if error is not None:
            done.set_status(Status(StatusCode.ERROR, error))
        done.end(end)

    def close(self) -> None:
        """Send the last spans and stop."""
        self._provider.shutdown()


class WithoutSecrets(SpanExporter):
    """Sends spans without secrets, and none of workflow queries."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans."""
        cleaned = [_cleaned(s) for s in spans if not s.name.startswith(NOT_SENT)]
        return self._exporter.export(cleaned) if cleaned else SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Stop."""
        self._exporter.shutdown()


def _cleaned(span: ReadableSpan) -> ReadableSpan:
    status = span.status
    return ReadableSpan(
        name=span.name,
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes=_clean(span.attributes),
        events=[Event(e.name, _clean(e.attributes), e.timestamp) for e in span.events],
        links=span.links,
        kind=span.kind,
        status=Status(status.status_code, redacted(status.description)) if status.description else status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _clean(attributes: Attributes) -> dict[str, AttributeValue]:
    kept = {k: v for k, v in (attributes or {}).items() if k not in OMITTED}
    return {k: redacted(v) if isinstance(v, str) else v for k, v in kept.items()}
