"""A log line is understood whichever way a Temporal server writes it."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from whenever import Instant

from copilot.logs.events import parse_entries, parse_lines
from copilot.logs.lines import LEVELS, MAX_TEXT, NO_LEVEL, LogLine, parse_line
from tests.recorded_logs import raw_lines, read_lines

NOON = Instant.from_utc(2026, 11, 22, 12)
ERROR = LEVELS.index("error")
WAYS = {
    "zap as JSON": '{"level":"error","ts":"2026-11-22T11:00:00.250Z","msg":"service failures","service":"frontend",'
    '"error":"shard status unknown","logging-call-at":"telemetry.go:1"}',
    "slog as JSON": '{"time":"2026-11-22T11:00:00.250000001Z","level":"ERROR","msg":"service failures",'
    '"service":"frontend","error":"shard status unknown"}',
    "zap's console": '2026-11-22T12:00:00.250+0100\terror\tservice failures\t{"service": "frontend", '
    '"error": "shard status unknown"}',
    "slog's text": 'time=2026-11-22T11:00:00.250Z level=ERROR msg="service failures" service=frontend '
    'error="shard status unknown"',
}


@pytest.mark.parametrize("raw", WAYS.values(), ids=WAYS.keys())
def test_every_way_of_writing_gives_the_same_line(raw: str) -> None:
    line = parse_line(raw)
    assert line is not None
    assert (line.text, line.level, line.service) == ("service failures: shard status unknown", ERROR, "frontend")
    assert (
        line.when(NOON).timestamp(unit="millisecond")
        == Instant.from_utc(2026, 11, 22, 11).timestamp(unit="millisecond") + 250
    )


def test_words_that_are_no_log_line_are_kept_without_a_level() -> None:
    assert parse_line("panic: assignment to entry in nil map\r") == LogLine("panic: assignment to entry in nil map")
    assert parse_line('{"level": "error", "ms') == LogLine('{"level": "error", "ms', ERROR)
    assert parse_line('{"level": "error", "msg": "cut o') == LogLine("cut o", ERROR)
    assert parse_line("[1, 2]") == LogLine("[1, 2]")


INNER = '{"level":"error","ts":"2026-11-22T11:00:00Z","msg":"shard ownership lost","service":"history"}'
HOSTS = "Not enough hosts to serve the request"
POD = {"app": "temporal", "pod": "temporal-history-0"}
WRAPPED: dict[str, tuple[str, dict[str, str], str, str, str]] = {
    "CRI": (f"2026-11-30T07:36:57.955290947Z stderr F {INNER}", {}, "shard ownership lost", "error", "history"),
    "Docker": (json.dumps({"log": INNER + "\n", "stream": "stderr"}), {}, "shard ownership lost", "error", "history"),
    "Fluent Bit": (json.dumps({"log": "I am plain", "kubernetes": {"container_name": "temporal-matching"}}), {},
        "I am plain", "", "matching"),
    "Fluent Bit's labels": (json.dumps({"log": "plain", "kubernetes": {"labels": {
        "app.kubernetes.io/component": "frontend"}}}), {}, "plain", "", "frontend"),
    "OpenTelemetry": (json.dumps({"body": INNER, "severity": "info", "resources": {}}), {},
        "shard ownership lost", "error", "history"),
    "OpenTelemetry's severity": (json.dumps({"body": "plain", "severity": "warn",
        "resources": {"k8s.pod.name": "prod-temporal-worker-7f-x"}}), {}, "plain", "warn", "worker"),
    "OTLP as JSON": (json.dumps({"body": {"stringValue": "plain"}, "severityText": "WARN"}), {}, "plain", "warn",
        "server"),
    "OpenTelemetry, parsed": (json.dumps({"body": json.loads(INNER)}), {}, "shard ownership lost", "error", "history"),
    "CRI in Docker": (json.dumps({"log": f"2026-11-30T07:36:57Z stdout F {INNER}"}), {}, "shard ownership lost",
        "error", "history"),
    "OTLP's lists": (json.dumps({"body": {"kvlistValue": {"values": [
        {"key": "level", "value": {"stringValue": "error"}}, {"key": "msg", "value": {"stringValue": HOSTS}}]}},
        "attributes": [{"key": "k8s.pod.name", "value": {"stringValue": "temporal-history-0"}}]}), {}, HOSTS, "error",
        "history"),
    "OTLP's number": (json.dumps({"body": {"stringValue": "plain"}, "severityNumber": 17}), {}, "plain", "error",
        "server"),
    "OpenTelemetry in capitals": (json.dumps({"Body": "plain", "SeverityText": "WARN",
        "Resource": {"k8s.container.name": "temporal-worker"}}), {}, "plain", "warn", "worker"),
    "a message beside its pod": (json.dumps({"message": "plain", "level": "ERROR",
        "kubernetes": {"container_name": "temporal-worker"}}), {}, "plain", "error", "worker"),
    "Docker's fluentd driver": (json.dumps({"log": "plain", "container_name": "/temporal-matching-1"}), {}, "plain", "",
        "matching"),
    "journald": (json.dumps({"MESSAGE": "plain", "PRIORITY": "3", "_SYSTEMD_UNIT": "temporal-frontend.service"}), {},
        "plain", "error", "frontend"),
    "journald, not bad": (json.dumps({"MESSAGE": "plain", "PRIORITY": "6"}), {}, "plain", "info", "server"),
    "Google Cloud": (json.dumps({"jsonPayload": json.loads(INNER), "severity": "ERROR"}), {}, "shard ownership lost",
        "error", "history"),
    "logcli": (json.dumps({"labels": POD, "line": INNER, "timestamp": "2026-11-22T11:00:00Z"}), {},
        "shard ownership lost", "error", "history"),
    "a level's number": ('{"level":50,"msg":"plain"}', {}, "plain", "error", "server"),
    "no level's number": ('{"level":7,"msg":"plain"}', {"detected_level": "warn"}, "plain", "warn", "server"),
    "syslog's number": ('{"severity":4,"msg":"plain"}', {}, "plain", "warn", "server"),
    "syslog's number or OpenTelemetry's": ('{"severity":1,"msg":"plain"}', {}, "plain", "", "server"),
    "a letter": ('{"level":"W","msg":"plain"}', {}, "plain", "warn", "server"),
    "logfmt from its service": (f'service=history level=error msg="{HOSTS}"', {}, HOSTS, "error", "history"),
    "logfmt with escapes": (r'level=warn msg="a \"b=c\"" error="pq: \\x"', {}, r'a "b=c": pq: \x', "warn", "server"),
    "logfmt cut off": ('level=error service=history msg="Not enough hosts to', {}, "Not enough hosts to", "error",
        "history"),
    "seconds in zap's console": ('1.7960278200000000e+09\terror\thistory/shard.go:12\tplain', {}, "plain", "error",
        "server"),
    "colors that clear": ("\x1b[2K\x1b[1;31mERROR\x1b[0m plain", {}, "plain", "error", "server"),
    "severity": (json.dumps({"severity": "ERROR", "message": HOSTS}), {}, HOSTS, "error", "server"),
    "a message with a body": (json.dumps({"level": "warn", "message": "m", "body": "b"}), {}, "m", "warn", "server"),
    "logfmt from its level": (f'level=error ts=2026-11-30T07:00:00Z caller=shard.go:12 msg="{HOSTS}" shard-id=7', {},
        HOSTS, "error", "history"),
    "logfmt from its time": (f'ts=2026-11-30T07:00:00Z level=warn component=matching msg="{HOSTS}"', {},
        HOSTS, "warn", "matching"),
    "klog": ("E1130 07:36:57.955290       1 reflector.go:147] context deadline exceeded", {},
        "context deadline exceeded", "error", "server"),
    "klog with fields": ('W1130 07:36:57.955290 1 r.go:147] "Failed to watch" err="no such host" n=2', {},
        "Failed to watch: no such host", "warn", "server"),
    "klog, not bad": ("I1130 07:36:57.955290 1 leaderelection.go:250] attempting", {}, "attempting", "info", "server"),
    "colors": ("\x1b[31mERROR\x1b[0m shard ownership lost", {}, "shard ownership lost", "error", "server"),
    "colors of zap": ("2026-11-30T07:36:57.955Z\t\x1b[33mWARN\x1b[0m\tx", {}, "x", "warn", "server"),
    "Go's slog": ("2026/11/30 07:36:57 INFO started", {}, "started", "info", "server"),
    "kubectl's prefix": (f"[pod/temporal-history-0/temporal-history] {INNER}", {}, "shard ownership lost", "error",
        "history"),
    "a detected level": ("plain", {"detected_level": "warn", **POD}, "plain", "warn", "history"),
    "no level detected": ("plain", {"detected_level": "unknown", **POD}, "plain", "", "history"),
    "its own level": ('{"level":"info","msg":"no error"}', {"detected_level": "error", "severity": "error"},
        "no error", "info", "server"),
    "the component": ("plain", {"container": "temporal-history", "app_kubernetes_io_component": "frontend"}, "plain",
        "", "frontend"),
    "the container": ("plain", {"container": "temporal-internal-frontend"}, "plain", "", "internal-frontend"),
    "no service of Temporal's": ("plain", {"service": "temporal", **POD}, "plain", "", "history"),
    "the pod of a release": ("plain", {"app": "temporal", "pod": "prod-temporal-matching-7f-x"}, "plain", "",
        "matching"),
    "the file": ("plain", {"filename": "/var/log/pods/a_temporal-history-0_1/x/0.log"}, "plain", "", "history"),
    "another's worker": ("plain", {"container": "orders-worker", "pod": "orders-worker-1"}, "plain", "",
        "orders-worker"),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "labels", "text", "level", "service"), WRAPPED.values(), ids=WRAPPED.keys())
def test_a_line_is_read_through_what_collectors_put_around_it(
    raw: str, labels: dict[str, str], text: str, level: str, service: str
) -> None:
    line = parse_line(raw, labels=labels)
    assert line is not None
    assert (line.text, LEVELS[line.level], line.service) == (text, level, service)


PANIC = """panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x18 pc=0x1f3a2b4]

goroutine 4711 [running]:
go.temporal.io/server/service/history/workflow.(*MutableStateImpl).GetExecutionInfo(...)
\t/home/builder/temporal/service/history/workflow/mutable_state_impl.go:712
go.temporal.io/server/service/history.(*engine).Respond(0xc000a1e000, {0x3c0b1f8, 0xc00431e0f0}, 0xc0021a5c20)
\t/home/builder/temporal/service/history/history_engine.go:498 +0x1d4
created by google.golang.org/grpc.(*Server).serveStreams.func1.2 in goroutine 77
\t/go/pkg/mod/google.golang.org/grpc@v1.66.0/server.go:1042 +0x125

goroutine 1 [chan receive, 5 minutes]:
main.main()
\t/home/builder/main.go:9 +0x1d4
exit status 2"""
DEAD = LogLine(PANIC.partition("\n")[0], LEVELS.index("fatal"))
CRI = "2026-11-30T07:36:57.955290947Z stderr {} {}"
EVENTS: dict[str, tuple[list[str], list[str]]] = {
    "a panic": ([INNER, *PANIC.split("\n"), INNER], ["shard ownership lost", DEAD.text, "shard ownership lost"]),
    "a panic in CRI": ([CRI.format("F", line) for line in PANIC.split("\n")], [DEAD.text]),
    "a panic in one entry": ([json.dumps({"log": PANIC}), INNER], [DEAD.text, "shard ownership lost"]),
    "two panics": (PANIC.split("\n") * 2, [DEAD.text] * 2),
    "a panic of several lines": (["panic: a", "  b", "c", "goroutine 1 [running]:", "main.main()", "Bye."],
        ["panic: a", "Bye."]),
    "a stack after a logged panic": (['{"level":"error","msg":"panic recovered"}', "goroutine 1 [running]:",
        "main.main()", "next"], ["panic recovered", "next"]),
    "a stack in the console": (["2026-11-22T12:00:00.250Z\terror\tfailed", "go.temporal.io/server/log.(*z).Error",
        "\t/home/z.go:1", "main.run", "\t/home/m.go:1"], ["failed"]),
    "the end of a panic": (PANIC.split("\n")[4:9], []),
    "a stack alone": (PANIC.split("\n")[3:], ["goroutine 4711 [running]:"]),
    "a line in pieces": ([CRI.format("P", INNER[:30]), CRI.format("P", INNER[30:50]), CRI.format("F", INNER[50:])],
        ["shard ownership lost"]),
    "a piece without an end": ([CRI.format("P", INNER[:70]), INNER], ["shard ownership lost", "shard ownership lo"]),
    "a piece before another's line": ([CRI.format("P", INNER[:70]), json.dumps({"log": INNER, "time": "2026"})],
        ["shard ownership lost", "shard ownership lo"]),
    "pieces of two streams": ([CRI.format("P", INNER[:30]), CRI.format("P", INNER[:50]).replace("stderr", "stdout"),
        CRI.format("F", INNER[30:]), CRI.format("F", INNER[50:]).replace("stderr", "stdout")],
        ["shard ownership lost"] * 2),
    "Fluent Bit's pieces": ([json.dumps({"log": INNER[:30], "logtag": "P"}),
        json.dumps({"log": INNER[30:], "logtag": "F"})], ["shard ownership lost"]),
    "a line of 5 MB": (['{"level":"error","msg":"x","error":"' + "y" * 5_000_000 + '","service":"history"}'],
        ["x: " + "y" * (MAX_TEXT - 3)]),
    "the last piece without an end": ([CRI.format("P", INNER[:70])], ["shard ownership lo"]),
    "Docker's pieces": ([json.dumps({"log": '{"level":"info","msg":"' + "x" * 16_384, "time": "2026-11-22T11:00:00Z"}),
        json.dumps({"log": ' end"}\n', "time": "2026-11-22T11:00:00Z"})], ["x" * MAX_TEXT]),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "texts"), EVENTS.values(), ids=EVENTS.keys())
def test_lines_that_belong_together_are_one_event(raw: list[str], texts: list[str]) -> None:
    found = list(parse_lines(line.encode() for line in raw))
    assert [line.text for line in found] == texts
    assert all(line.level == DEAD.level for line in found if line.text == DEAD.text)
    assert all(line.level for line in found if not line.text.startswith(("goroutine", "next", "Bye")))


def test_lines_of_two_pods_may_alternate() -> None:
    told = [
        (at, line, {"pod": pod, "observed_timestamp": str(at)})
        for at, line in enumerate(PANIC.split("\n"))
        for pod in ("a", "b")
    ]
    assert [line.text for line in parse_entries(told)] == [DEAD.text] * 2


@pytest.mark.parametrize("raw", ["", "   ", "\tgo.temporal.io/server/common.f()", "\n"])
def test_what_goes_on_with_the_line_before_is_no_line(raw: str) -> None:
    assert parse_line(raw) is None


def test_a_line_without_words_says_what_happened_to_which_part() -> None:
    stopping = '{"level":"info","msg":"none","shard-id":7,"lifecycle":"Stopping","component":"shard-context"}'
    line = parse_line(stopping)
    assert line is not None
    assert (line.text, line.service) == ("shard-context Stopping", "history")


def test_a_store_of_logs_knows_the_time_and_whose_line_it_is() -> None:
    at = NOON.timestamp(unit="nanosecond") - 1
    line = parse_line("plain words", time=at, labels={"app": "temporal", "service": "matching"})
    assert line is not None
    assert (line.service, line.when(NOON)) == ("matching", Instant.from_timestamp(at, unit="nanosecond"))


@pytest.mark.parametrize("time", ["", "yesterday", "2026-11-22T11:00:00", "2030-01-01T00:00:00Z", 10**30, "1795000000"])
def test_a_time_that_is_not_to_be_had_is_that_of_the_reading(time: str | int) -> None:
    assert LogLine("x", time=time).when(NOON) == NOON


def test_text_is_bounded() -> None:
    for raw in (json.dumps({"msg": "y" * 10_000, "error": "z" * 10_000}), "y" * 10_000):
        line = parse_line(raw)
        assert line is not None
        assert len(line.text) == MAX_TEXT


@given(st.text(max_size=200))
def test_any_text_is_a_line_or_none(raw: str) -> None:
    line = parse_line(raw)
    assert line is None or line.when(NOON) <= NOON


keys = st.sampled_from(["msg", "message", "level", "ts", "time", "error", "service", "component"])
leaves = st.none() | st.booleans() | st.floats() | st.text()
anything = st.recursive(leaves, lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=4)


@given(st.dictionaries(keys, anything))
def test_any_json_is_a_line_or_none(found: dict[str, object]) -> None:
    line = parse_line(json.dumps(found))
    assert line is not None
    assert isinstance(line.text, str)


@pytest.mark.parametrize("form", ["json", "text"])
def test_every_line_of_a_real_server_is_understood(form: str) -> None:
    unlevelled = [line.text for line in read_lines(form) if line.level == NO_LEVEL]
    assert len(read_lines(form)) > 600
    assert all(re.match(r"Temporal (CLI|Server|Persistence|HTTP|Metrics|UI)", text) for text in unlevelled)
    services = {line.service for line in read_lines(form)}
    assert (
        {"frontend", "internal-frontend", "history", "matching", "worker", "server"}
        >= services
        >= {"frontend", "history", "matching"}
    )
    assert sum(raw.startswith(("{", "time=")) for raw in raw_lines(form)) > 600
