"""docs/telemetry.md, made from the names in the code: `python -m tools.docs.telemetry > docs/telemetry.md`."""

from collections.abc import Iterable, Iterator

from copilot.telemetry.verdicts import CLUSTER, EVALUATION, EVENTS, INSTRUMENTS, SCOPE, TRANSITIONS

INTRODUCTION = f"""\
# Verdicts by OpenTelemetry

Made from the code by `make docs`. The worker sends what it judges by OTLP over HTTP, beside the API's `/metrics`; both
say the same. It is off until the extra `otel` is installed and the standard variables name an endpoint:

    OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 copilot worker

- Traces go there too: [observability](observability.md#traces). `OTEL_METRICS_EXPORTER=none`, `OTEL_LOGS_EXPORTER=none`
  and `OTEL_TRACES_EXPORTER=none` leave one out; `OTEL_EXPORTER_OTLP_METRICS_ENDPOINT` and the like send one elsewhere.
- Metrics are sent every minute (`OTEL_METRIC_EXPORT_INTERVAL`, in milliseconds), events within a second.
- Nothing waits for a collector. What one does not take within its time-out is dropped, and the worker's log says so
  once in ten minutes (`event=telemetry.not_sent`).
- Names and units do not change; new ones may come. Scope: `{SCOPE}`. A Prometheus behind the collector writes
  `temporal_copilot_cluster_status` and so on.
- With several workers, each reports the clusters that it evaluated within three intervals and a minute. An event
  appears twice, with one evaluation id, where a worker died while it evaluated.
"""


def markdown() -> str:
    """docs/telemetry.md."""
    return "\n".join([INTRODUCTION, *_metrics(), *_events()])


def _metrics() -> Iterator[str]:
    yield f"## Metrics\n\nEach has the attribute `{CLUSTER}`.\n"
    yield "| metric | instrument | unit | more attributes | meaning |\n|---|---|---|---|---|"
    for one in INSTRUMENTS:
        yield f"| `{one.name}` | {one.kind} | `{one.unit}` | {_code(one.attributes)} | {one.text} |"
    name, unit, text, attributes = TRANSITIONS
    yield f"| `{name}` | counter | `{unit}` | {_code(attributes)} | {text} |"
    yield ""


def _events() -> Iterator[str]:
    yield f"## Log events\n\nEach has its name as `event_name`, and the attributes `{CLUSTER}` and `{EVALUATION}`.\n"
    yield "| event | more attributes | meaning, severity |\n|---|---|---|"
    for name, (text, attributes) in EVENTS.items():
        yield f"| `{name}` | {_code(attributes)} | {text} |"
    yield ""


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    print(markdown(), end="")
