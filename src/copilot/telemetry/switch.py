"""Whether this process is traced: where the standard variables name an OTLP endpoint, and nowhere else."""

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from typing import Any

from copilot.telemetry.spans import trace_with, tracing

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
LAST_SPANS_SEC = 2.0
log = logging.getLogger(__name__)


def wanted() -> bool:
    """Whether the environment asks for traces."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    return any(os.environ.get(name) for name in ENDPOINTS)


@contextlib.contextmanager
def traced(process: str, *, models: bool = False) -> Iterator[None]:
    """Trace this process while it is under way, if the environment asks for it. `models`: calls of models as well."""
    if not wanted():
        yield
        return
    try:
        from copilot.telemetry.tracing import OpenTelemetryTracing
    except ImportError as error:
        log.warning("no traces: %s is not installed; install temporal-sre-copilot with its extra `otel`", error.name)
        yield
        return
    begun = OpenTelemetryTracing(process)
    if models:
        begun.instrument_models()
    trace_with(begun)
    try:
        yield
    finally:
        trace_with(None)
        # A collector that is away is not waited for by a process that is told to end.
        last = threading.Thread(target=begun.close, name="send the last spans", daemon=True)
        last.start()
        last.join(LAST_SPANS_SEC)


def client_plugins() -> list[Any]:
    """What a client of the Copilot's own Temporal is to be built with so that its work is traced: nothing where this
    process is not."""
    plugin = getattr(tracing(), "plugin", None)
    return [] if plugin is None else [plugin()]
