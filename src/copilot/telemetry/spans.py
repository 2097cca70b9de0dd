"""What a process sends by OTLP: its spans, and a worker's verdicts. OpenTelemetry (tracing.py, verdicts.py) is imported
only if the standard variables name an endpoint; without one, a span does nothing."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import httpx

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from copilot.telemetry.tracing import OpenTelemetryTracing
    from copilot.telemetry.verdicts import VerdictTelemetry

LAST_TELEMETRY_SEC = 2.0
log = logging.getLogger(__name__)
Value: TypeAlias = str | int | float | bool
Kind = Literal["internal", "client", "server"]
Signal = Literal["traces", "metrics", "logs"]
ROOT: Mapping[str, str] = {}
"""The carrier of a span that starts a trace."""
_tracer: "OpenTelemetryTracing | None" = None


def trace_with(tracer: "OpenTelemetryTracing | None") -> None:
    """Trace this process from now on; None: stop."""
    global _tracer
    _tracer = tracer


def tracing() -> "OpenTelemetryTracing | None":
    """The tracer of this process; None if it is not traced."""
    return _tracer


def span(
    name: str, attributes: Mapping[str, Value], kind: Kind = "internal", carrier: Mapping[str, str] | None = None
) -> contextlib.AbstractContextManager["Span | None"]:
    """Trace the block if this process is traced, else None. Its parent: the current span if `carrier` is None, else the
    one that these headers name, if any."""
    return contextlib.nullcontext() if _tracer is None else _tracer.span(name, attributes, kind, carrier)


class SourceClient(httpx.AsyncClient):
    """A client without time limits, whose requests are spans named for the source, without path and query, which may
    hold a secret. `own_traces`: every request starts a trace, for a source that reads on a schedule of its own."""

    def __init__(self, source: str, *, own_traces: bool = False, **settings: Any) -> None:
        super().__init__(trust_env=False, timeout=None, follow_redirects=False, **settings)
        self._source = source
        self._within = ROOT if own_traces else None

    async def send(self, request: httpx.Request, **how: Any) -> httpx.Response:
        """Send it; the span ends with the head of the response."""
        attributes = {"source": self._source, "http.request.method": request.method, "server.address": request.url.host}
        with span(f"{request.method} {self._source}", attributes, "client", self._within) as begun:
            response = await super().send(request, **how)
            if begun is not None:
                begun.set_attribute("http.response.status_code", response.status_code)
            return response


def endpoint(signal: Signal) -> str | None:
    """Where the standard variables send a signal by OTLP over HTTP; None: it is not sent."""
    name = signal.upper()
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get(f"OTEL_{name}_EXPORTER") == "none":
        return None
    base = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    return os.environ.get(f"OTEL_EXPORTER_OTLP_{name}_ENDPOINT") or (
        f"{base.rstrip('/')}/v1/{signal}" if base else None
    )


@contextlib.contextmanager
def traced(process: str, *, models: bool = False) -> Iterator[None]:
    """Trace this process during the block if the standard variables turn traces on. `models`: calls of models too."""
    if endpoint("traces") is None:
        yield
        return
    try:
        from copilot.telemetry.tracing import OpenTelemetryTracing
    except ImportError as error:
        _not_installed("traces", error)
        yield
        return
    tracer = OpenTelemetryTracing(process)
    if models:
        tracer.instrument_models()
    trace_with(tracer)
    try:
        yield
    finally:
        trace_with(None)
        _close(tracer.close)


@contextlib.contextmanager
def verdicts_sent(process: str) -> Iterator["VerdictTelemetry | None"]:
    """Send what is judged in the block as metrics and log events, where the standard variables say so; else None."""
    metrics, events = (endpoint(signal) is not None for signal in ("metrics", "logs"))
    telemetry = None
    if metrics or events:
        try:
            from copilot.telemetry.verdicts import VerdictTelemetry

            telemetry = VerdictTelemetry(process, metrics, events)
        except ImportError as error:
            _not_installed("verdicts by OTLP", error)
    try:
        yield telemetry
    finally:
        if telemetry is not None:
            _close(telemetry.close_events, telemetry.close_metrics)


def _not_installed(what: str, error: ImportError) -> None:
    missing = "no %s: %s is not installed; install temporal-sre-copilot with its extra `otel`"
    log.warning(missing, what, error.name, extra={"event": "traces.not_installed"})


def _close(*closing: Callable[[], object]) -> None:
    """A process that ends does not wait for a collector that does not answer."""
    threads = [threading.Thread(target=close, name="send the last telemetry", daemon=True) for close in closing]
    for last in threads:
        last.start()
    until = time.monotonic() + LAST_TELEMETRY_SEC
    for last in threads:
        last.join(max(0.0, until - time.monotonic()))


def client_plugins() -> list[Any]:
    """The plugins for clients of the Copilot's own Temporal, so that workflows and activities are traced; empty if this
    process is not."""
    return [] if _tracer is None else [_tracer.plugin()]
