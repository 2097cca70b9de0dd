import asyncio
import json
from contextlib import AsyncExitStack

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from copilot.api.app import create_app
from copilot.api.parameters import parse_time
from copilot.api.serve import listening_socket, serve_on
from copilot.errors import StartError
from copilot.settings.api import ApiSettings
from tests.api.conftest import client
from tests.api.standin import Clock, ToldLoop, away_store, deps
from tests.api.test_status import LOOP_AWAY, telling
from tests.evaluations import NOON, evaluation
from tests.web.chromium import served
from tests.web.stories import lived


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "field"),
    [
        ("GET", "/nowhere", 404, "not_found", None),
        ("GET", "/status?cluster=mars", 404, "unknown_cluster", "cluster"),
        ("GET", "/?cluster=mars", 404, "unknown_cluster", "cluster"),
        ("GET", "/signals/no.such", 404, "unknown_signal", "signal_id"),
        ("GET", "/status/issues?severity=bad", 422, "bad_parameter", "severity"),
        ("GET", "/status/issues?limit=0", 422, "bad_parameter", "limit"),
        ("GET", "/status/issues?limit=many", 422, "bad_parameter", "limit"),
        ("GET", "/status/timeline?start=yesterday", 422, "bad_parameter", "start"),
        ("GET", "/status/timeline?start=2026-11-23&end=2026-11-22", 422, "bad_parameter", "start"),
        ("GET", "/status/timeline?max_points=2001", 422, "bad_parameter", "max_points"),
        ("GET", "/status/timeline?end=99999999999999999999999", 422, "bad_parameter", "end"),
        ("DELETE", "/status", 405, "method_not_allowed", None),
        ("POST", "/actions", 501, "not_implemented", None),
    ],
)
async def test_every_error_wears_the_envelope(
    method: str, path: str, status: int, code: str, field: str | None
) -> None:
    async with client(deps(telling())) as api:
        answer = await api.request(method, path)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert (error["code"], error["field"]) == (code, field)
    assert error["message"]
    assert "\n" not in error["message"]


async def test_the_cluster_must_be_said_only_if_there_are_several() -> None:
    loop = ToldLoop()
    loop.tell(evaluation("happy", cluster="eu"))
    loop.tell(evaluation("critical", cluster="us"))
    async with client(deps(loop, clusters=("eu", "us"))) as api:
        assert (await api.get("/status?cluster=us")).json()["health_state"] == "critical"
        error = (await api.get("/status")).json()["error"]
        assert (error["field"], "eu, us" in error["message"]) == ("cluster", True)
        clusters = (await api.get("/clusters")).json()["clusters"]
    assert [(c["cluster"], c["health_state"]) for c in clusters] == [("us", "critical"), ("eu", "happy")]


async def test_a_signal_comes_with_its_unit_meaning_and_past() -> None:
    store, loop, clock = await lived("critical")
    async with client(deps(loop, store, clock)) as api:
        body = (await api.get("/signals/matching.backlog_count?max_points=30")).json()
    assert (body["unit"], body["kind"]) == ("count", "primary")
    assert len(body["points"]) <= 30
    assert body["points"][-1]["time"] == "2026-11-22T12:00:00Z"
    assert body["points"][-1]["value"] > 50


async def test_the_metrics_say_the_verdict_and_leave_out_what_is_not_known() -> None:
    loop = ToldLoop(took=1.5)
    loop.tell(evaluation("critical"))
    loop.tell(evaluation("unknown", cluster="blind"))
    async with client(deps(loop, clock=Clock(NOON.add(seconds=7)), clusters=("default", "quiet", "blind"))) as api:
        text = (await api.get("/metrics")).text
    samples = {(s.name, *s.labels.values()): s.value for f in text_string_to_metric_families(text) for s in f.samples}
    assert samples["copilot_health_state", "default", "critical"] == 1
    assert samples["copilot_health_state", "default", "happy"] == 0
    assert samples["copilot_health_state", "quiet", "unknown"] == 1
    assert samples["copilot_evaluation_age_seconds", "default"] == 7
    assert samples["copilot_cycle_duration_seconds", "default"] == 1.5
    assert ("copilot_cycle_duration_seconds", "quiet") not in samples
    assert ("copilot_evaluation_age_seconds", "quiet") not in samples
    assert samples["copilot_coverage_ratio", "default", "primary"] == 1
    queue = "namespace=default,task_queue=orders,task_type=workflow"
    assert samples["copilot_gate_fired", "default", "work_stalled", "critical", queue] == 1
    assert samples["copilot_gate_fired", "default", "frontend_latency", "warning", ""] == 0
    assert ("copilot_gate_fired", "blind", "frontend_latency", "warning", "") not in samples
    assert samples["copilot_gate_judged", "blind", "frontend_latency", "warning", ""] == 0


async def test_health_and_readiness() -> None:
    async with client(deps(ToldLoop(away=LOOP_AWAY), away_store())) as api:
        assert (await api.get("/healthz")).status_code == 200
        ready = await api.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["error"]["code"] == "not_ready"
    async with client(deps()) as api:
        assert (await api.get("/readyz")).status_code == 200


async def test_every_answer_forbids_the_page_to_load_from_elsewhere() -> None:
    async with client(deps(telling())) as api:
        for path in ("/", "/status", "/static/base.css", "/nowhere", "/openapi.json"):
            answer = await api.get(path)
            assert "default-src 'none'" in answer.headers["content-security-policy"], path
            assert answer.headers["x-content-type-options"] == "nosniff"


async def test_openapi_describes_every_route() -> None:
    async with client(deps(telling())) as api:
        paths = (await api.get("/openapi.json")).json()["paths"]
    assert set(paths) == {
        "/status", "/status/services", "/status/issues", "/status/summary", "/status/timeline", "/status/evaluation",
        "/clusters", "/targets", "/signals/{signal_id}", "/logs/patterns", "/actions", "/healthz", "/readyz",
        "/metrics", "/events", "/runbooks", "/runbooks/{name}", "/runbooks/{name}/fragment", "/models",
        "/changes", "/executions", "/workers", "/incidents", "/incidents/{incident_id}",
        "/incidents/{incident_id}/notes",
            "/silences", "/silences/{mute_id}/end", "/acks",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2026-11-22", "2026-11-22T00:00:00Z"),
        ("20261122", "2026-11-22T00:00:00Z"),
        ("2026-11-22T10:00", "2026-11-22T10:00:00Z"),
        ("2026-11-22 10:00:00", "2026-11-22T10:00:00Z"),
        ("2026-11-22T10:00:00.25Z", "2026-11-22T10:00:00.25Z"),
        ("2026-11-22T10:00:00 02:00", "2026-11-22T08:00:00Z"),
        ("2026-11-22T10:00:00+02:00", "2026-11-22T08:00:00Z"),
        ("2026-11-22T10:00:00-02:00", "2026-11-22T12:00:00Z"),
        ("0", "1970-01-01T00:00:00Z"),
        ("1795348800.5", "2026-11-22T12:00:00.5Z"),
        ("1795348800000", "2026-11-22T12:00:00Z"),
    ],
)
def test_times_are_understood_as_they_are_written(text: str, iso: str) -> None:
    assert parse_time(text).format_iso() == iso


@pytest.mark.parametrize("text", ["", "now", "2026-13-01", "2026-11-22T25:00", "1e9", "nan", "9" * 40, "-", "T", "é"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is not a valid time: use"):
        parse_time(text)


@pytest.mark.servers
async def test_events_say_when_there_is_something_new() -> None:
    loop = telling("happy")
    async with (
        served(deps(loop)) as address,
        httpx.AsyncClient(timeout=60) as web,
        web.stream("GET", f"{address}/events") as stream,
    ):
        said = (json.loads(line[6:]) async for line in stream.aiter_lines() if line.startswith("data: "))
        first = await anext(said)
        assert (first["health_state"], first["top_factor"], first["age_sec"]) == ("happy", None, 0)
        loop.tell(evaluation("stressed", NOON.add(seconds=1)))
        async with asyncio.timeout(60):
            assert (await anext(said))["health_state"] == "stressed"


@pytest.mark.servers
async def test_events_are_bounded_go_on_where_they_broke_off_and_end_with_the_server() -> None:
    bound = ApiSettings(max_event_streams=1)
    async with httpx.AsyncClient(timeout=60) as web, AsyncExitStack() as server, asyncio.timeout(60):
        events = await server.enter_async_context(served(deps(telling("stressed")), settings=bound)) + "/events"

        async def first_event(last_id: str) -> dict[str, str] | None:
            async with web.stream("GET", events, headers={"last-event-id": last_id}) as stream:
                if stream.status_code == 503:
                    return None
                said = stream.aiter_lines()  # as long as it lives, the stream is open
                lines = [await anext(said) for _ in range(5)]
                refused = await web.get(events)
                assert (refused.status_code, refused.json()["error"]["code"]) == (503, "too_many_listeners")
                assert refused.headers["retry-after"]
            return dict(line.split(": ", 1) for line in lines if line)

        new = await first_event("")
        assert new is not None
        assert (new["event"], new["retry"]) == ("verdict", "2000")
        while (known := await first_event(new["id"])) is None:
            continue
        assert (known["event"], known["id"]) == ("heartbeat", new["id"])
        while True:
            async with web.stream("GET", events) as stream:
                if stream.status_code == 200:
                    closing = asyncio.create_task(server.aclose())
                    lines = [line async for line in stream.aiter_lines()]
                    assert lines[0] == "retry: 2000"
                    await closing
                    return


@pytest.mark.servers
def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    with listening_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=rf"cannot listen on 127\.0\.0\.1:{port}: Address already in use; choose"):
            listening_socket("127.0.0.1", port)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.com"])
def test_it_does_not_listen_beyond_this_machine_unless_told(host: str) -> None:
    with pytest.raises(StartError, match=r"has no tokens and will not listen on .*copilot token new.*--insecure"):
        listening_socket(host, 0)


@pytest.mark.servers
async def test_serving_ends_when_cancelled_and_frees_its_port() -> None:
    listening = listening_socket("127.0.0.1", 0)
    port = listening.getsockname()[1]
    serving = asyncio.create_task(serve_on(create_app(deps(telling())), listening))
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=5)) as web:
        assert (await web.get(f"http://127.0.0.1:{port}/healthz")).json() == {"status": "ok"}
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    listening_socket("127.0.0.1", port).close()
