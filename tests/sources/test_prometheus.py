"""A Prometheus over a real socket: what is asked, and what every way of not answering becomes."""

import asyncio
import json
import logging
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from whenever import Instant

from copilot.errors import SourceError
from copilot.rules.signals.readings import MissingCode
from copilot.sources.prometheus.client import samples
from tests.sources.prometheus_standin import Found, StandIn, answer_of, error, form, read, source

WORKER = {
    "temporal_num_pollers": "w:1",
    "temporal_request": "w:1",
    "temporal_request_latency_count": "w:1",
}
BOTH: dict[str, Any] = {
    "names": {"service_requests": "s:1", "service_latency_count": "s:1", **WORKER},
    "up": {"s:1": 1, "w:1": 1},
    "counts": {"s:1": 4, "w:1": 4},
}


async def test_a_cycle_is_a_handful_of_posts_about_one_moment() -> None:
    standin = StandIn(**BOTH)
    async with standin.run(), source(standin.url) as asking:
        now = Instant.now()
        first = await asking.read(now)
        cold = len(standin.requests)
        await asking.read(now)
    assert (cold, len(standin.requests) - cold) == (8, 8)
    assert {r.method for r in standin.requests} == {"POST"}
    assert {r.path for r in standin.requests} == {"/api/v1/query"}
    assert len({form(r)["time"] for r in standin.requests[:cold]}) == 1
    assert first.time == now
    assert set(first.readings) == set(asking.expected)
    assert first.targets == {"server": 1, "worker": 1}
    assert first.value("frontend.request_rate_per_sec") == 1.0
    assert first.missing == {}


@pytest.mark.parametrize(("requests", "calls"), [(0.0, 0.0), (0.0, 2.2), (1.0, 0.0)])
async def test_counters_that_all_stand_still_are_a_dead_servers(requests: float, calls: float) -> None:
    signals = await read(StandIn(**BOTH, requests_per_sec=requests, leaf=lambda *_: [({}, calls)]))
    missing = signals.why_missing("demand.starts_per_sec")
    assert signals.value("demand.starts_per_sec") == (None if missing else calls)
    assert bool(missing) == (requests == calls == 0)
    assert missing is None or "no counter of the server moved" in missing.detail
    assert signals.covered("workers.workflow_pollers")


async def test_of_many_rows_the_largest_are_asked_for_or_the_smallest_where_zero_matters() -> None:
    standin = StandIn(**BOTH)
    await read(standin)
    parts = [part for query in standin.queries for part in re.split(r" or (?=label_replace\()", query)]
    limited = [part for part in parts if re.search("(top|bottom)k", part)]
    ends = {
        family: {part.count("bottomk(") for part in limited if family in part} for family in ("polls", "tasks_added")
    }
    assert ends == {"polls": {1}, "tasks_added": {0}}


async def test_the_operators_selector_is_in_every_query() -> None:
    standin = StandIn(**BOTH)
    await read(standin, selector='cluster="pr\\"od"')
    assert all('cluster="pr\\"od"' in query for query in standin.queries)


FAILURES = [  # what is said of a failure in its body, and shapes only this API has; the rest: test_bad_input.py
    pytest.param({"status": "403 Forbidden"}, MissingCode.FORBIDDEN, "403.*Authentication Token", id="403"),
    pytest.param({"status": "404 Not Found", "body": b""}, MissingCode.TARGET_DOWN, "404.*no Prometheus API", id="404"),
    pytest.param(
        {"status": "422 Unprocessable Entity", "body": error("query processing would load too many samples")},
        MissingCode.DROPPED, "422.*too many samples.*: narrow selector, .* or raise the server's limit", id="422"),
    pytest.param(
        {"status": "422 Unprocessable Entity", "body": error("1:1: parse error")},
        MissingCode.PARSE, "422.*parse error$", id="422 for another reason"),
    pytest.param(
        {"status": "413 Too Large", "headers": ("Content-Type: text/plain; charset=utf-8",),
         "body": b"response larger than the max (181673024 vs 52428800)"},
        MissingCode.DROPPED, "413.*larger than the max.*: narrow selector", id="413"),
    pytest.param(
        {"status": "503 Service Unavailable", "body": error("query timed out")},
        MissingCode.TARGET_DOWN, "503.*query timed out", id="503"),
    pytest.param({"body": b"[" * 100_000}, MissingCode.PARSE, "not complete JSON", id="deep JSON"),
    pytest.param({"body": answer_of("vector", {"a": 1})}, MissingCode.PARSE, "not samples", id="no list"),
    pytest.param({"body": answer_of("vector", [], isPartial=True)}, MissingCode.DROPPED, "incomplete: isPartial",
                 id="a part, says VictoriaMetrics"),
    pytest.param(
        {"body": answer_of("vector", [{"metric": {}, "value": [time.time() - 3600, "1"]}])},
        MissingCode.PARSE, "of another time", id="an old answer"),
    pytest.param({"body": b'{"status": "success"}'}, MissingCode.PARSE, "no data", id="no data"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "code", "reason"), FAILURES)
async def test_whatever_is_answered_ends_as_missing_with_the_cause(
    wrong: dict[str, Any], code: MissingCode, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    standin = StandIn(**wrong)
    caplog.set_level(logging.WARNING, "copilot")
    async with standin.run(), source(standin.url) as asking:
        for _ in range(2):
            signals = await asking.read(Instant.now())
        assert set(signals.missing) == set(asking.expected)
    assert {m.code for m in signals.missing.values()} == {code}
    found = signals.missing["frontend.latency_p99_ms"].detail
    assert "\n" not in found
    [logged] = [r.getMessage() for r in caplog.records if r.name.startswith("copilot")]
    assert re.search(reason, found)
    assert re.search(reason, logged)
    assert signals.targets == {}


async def test_nobody_there_is_target_down() -> None:
    async with StandIn().run() as standin:
        pass
    async with source(standin.url) as asking:
        signals = await asking.read(Instant.now())
    assert {m.code for m in signals.missing.values()} == {MissingCode.TARGET_DOWN}
    assert {m.detail for m in signals.missing.values()} == {"Connection refused"}


async def test_remarks_on_style_do_not_spoil_an_answer() -> None:
    assert samples(answer_of("vector", [], warnings=["PromQL info: metric might not be a counter"]), at=0) == []


async def test_what_answered_within_the_deadline_is_used() -> None:
    standin = StandIn(**BOTH)
    asked: list[str] = []

    def every_second_query_about_leaves(query: str) -> bool:
        if '"names"' in query or query.startswith("count by (copilot_name)"):
            return False
        asked.append(query)
        return len(asked) % 2 == 0

    standin.hang = every_second_query_about_leaves
    signals = await read(standin, deadline_sec=3.0)
    late = {m.detail for m in signals.missing.values()}
    assert late == {"timed out after 3 s"}
    assert {m.code for m in signals.missing.values()} == {MissingCode.TIMEOUT}
    assert 20 < len(signals.missing) < 60
    assert sum(v is not None for v in signals.readings.values()) > 20


async def test_when_it_cannot_be_said_who_is_there_values_are_used_and_nothing_is_called_zero() -> None:
    standin = StandIn(**BOTH)
    async with standin.run(), source(standin.url, deadline_sec=3.0) as asking:
        await asking.read(Instant.now())
        standin.hang = lambda query: '"names"' in query
        standin.leaf = lambda _, text: [({}, 3)] if "workflow_success" in text else []
        signals = await asking.read(Instant.now())
    assert signals.value("workflow_completion.success_per_sec") == 3.0
    assert signals.missing["frontend.error_rate_per_sec"].code == MissingCode.TIMEOUT
    assert signals.targets == {}


def answered(**by_family: list[Found]) -> Any:
    """Leaves by the families they read; the rest empty."""

    def leaf(_: str, text: str) -> list[Found]:
        return next((f for name, f in by_family.items() if f"({name}{{" in text or f"({name}[" in text), [])

    return leaf


async def test_an_absent_counter_is_zero_while_the_presence_metric_is_there_and_a_quantile_has_no_traffic() -> None:
    signals = await read(StandIn(**BOTH, leaf=answered(service_requests=[({}, 5)])))
    assert signals.value("frontend.error_rate_per_sec") == 0.0
    assert signals.quiet("frontend.latency_p99_ms")
    assert signals.missing["runtime.goroutines"].code == MissingCode.ABSENT


async def test_a_target_that_is_down_takes_its_role_along_and_says_so() -> None:
    standin = StandIn(**BOTH)
    async with standin.run(), source(standin.url) as asking:
        await asking.read(Instant.now())
        standin.names = {k: v for k, v in standin.names.items() if v != "w:1"}
        standin.up = {"s:1": 1, "w:1": 0}
        signals = await asking.read(Instant.now())
        assert signals.targets == {"server": 1, "worker": 0}
        why = signals.missing["workers.workflow_slots_available"]
        assert why.code == MissingCode.TARGET_DOWN
        assert why.detail == "up is 0 for w:1 of job temporal"
        standin.up, standin.counts = {"s:1": 1}, {"s:1": 4}
        signals = await asking.read(Instant.now())
        assert signals.targets == {"server": 1, "worker": 0}
        assert "no target has temporal_num_pollers" in signals.missing["workers.activity_pollers"].detail


async def test_of_workers_that_never_were_there_it_is_not_said_that_they_are_down() -> None:
    signals = await read(StandIn())
    assert signals.targets == {"server": 1}
    assert signals.missing["workers.workflow_slots_available"].code == MissingCode.TARGET_DOWN


async def test_one_server_down_of_two_is_named_and_its_rates_are_left_out() -> None:
    standin = StandIn(
        up={"s:1": 1, "s:2.x": 0}, counts={"s:1": 4, "s:2.x": 2}, leaf=answered(service_requests=[({}, 5)])
    )
    signals = await read(standin)
    assert signals.value("frontend.request_rate_per_sec") == 5.0
    assert signals.value("frontend.error_rate_per_sec") == 0.0
    assert signals.unread == {"server": ("s:2.x (temporal)",)}
    leaves = [q for q in standin.queries if "rate(service_requests" in q]
    assert leaves
    assert all('instance!~"s:2\\\\.x"' in q for q in leaves)


async def test_without_up_the_presence_metric_stands_in() -> None:
    signals = await read(StandIn(up={}, leaf=answered()))
    assert signals.targets == {"server": 1}
    assert signals.value("frontend.error_rate_per_sec") == 0.0


async def test_a_target_silent_for_a_window_is_left_out_though_the_look_back_shows_it() -> None:
    standin = StandIn(names=dict.fromkeys(WORKER, "w:1 w:2"), up={}, counts={"w:1": 4})
    signals = await read(standin)
    assert signals.targets == {"worker": 1}
    assert any('instance!~"w:2"' in q for q in standin.queries if "sum (temporal_num_pollers" in q)


async def test_one_sample_in_the_window_says_to_widen_it() -> None:
    signals = await read(StandIn(counts={"s:1": 1}, leaf=answered()))
    why = signals.missing["frontend.error_rate_per_sec"]
    assert why.code == MissingCode.ABSENT
    assert "set window_sec to four scrape intervals" in why.detail


async def test_a_first_event_counts_and_is_no_zero_where_new_series_are_unknown() -> None:
    standin = StandIn(born=("workflow_failed",))
    standin.leaf = lambda tag, text: [({}, 0.25)] if tag.endswith("+") and "(workflow_failed{" in text else []
    async with standin.run(), source(standin.url, deadline_sec=3.0) as asking:
        signals = await asking.read(Instant.now())
        assert signals.value("workflow_completion.failed_per_sec") == 0.25
        assert signals.value("workflow_completion.timed_out_per_sec") == 0.0
        standin.hang = lambda query: query.startswith("count by (copilot_name)")
        signals = await asking.read(Instant.now())
        assert signals.missing["workflow_completion.failed_per_sec"].code == MissingCode.TIMEOUT


async def test_half_the_workers_in_milliseconds_half_in_seconds_are_one_fleet() -> None:
    suffixed = {"temporal_request_total": "w:2", "temporal_request_latency_seconds_count": "w:2"}
    standin = StandIn(names={**WORKER, **suffixed}, up={"w:1": 1, "w:2": 1}, counts={"w:1": 3, "w:2": 3})
    family = "temporal_workflow_task_execution_latency"

    def leaf(tag: str, text: str) -> list[Found]:  # noqa: ARG001
        if f"{family}_bucket" in text:
            return [({"le": "100"}, 10), ({"le": "1000"}, 10), ({"le": "+Inf"}, 10)]
        if f"{family}_seconds_bucket" in text:
            return [({"le": "0.1"}, 0), ({"le": "1"}, 10), ({"le": "+Inf"}, 10)]
        if "slots_available" in text:
            return [({}, 7)]
        if "temporal_sticky_cache_miss" in text:
            return [({}, 2)]
        return []

    standin.leaf = leaf
    signals = await read(standin)
    assert signals.value("workers.wft_execution_p95_ms") == pytest.approx(100 + 900 * 0.9)
    assert signals.value("worker_cache.sticky_miss_per_sec") == 4.0
    assert signals.value("workers.workflow_slots_available") == 7.0


async def test_a_renamed_namespace_label_is_used_and_read_back() -> None:
    standin = StandIn(alias="exported_namespace")
    row = {"exported_namespace": "shop", "taskqueue": "orders", "task_type": "Workflow"}
    standin.leaf = lambda _, text: [(row if " by (exported_namespace, taskqueue" in text else {}, 6)]
    signals = await read(standin)
    assert signals.rows("poller.pending_polls")[0].labels == {
        "namespace": "shop", "task_queue": "orders", "task_type": "workflow",
    }  # fmt: skip
    assert not any("{namespace!~" in q or ",namespace!~" in q for q in standin.queries if "pending_polls" in q)


async def test_a_dialect_can_be_set_and_a_prefix_given() -> None:
    standin = StandIn(names={"acme_service_requests_total": "s:1"}, leaf=answered())
    await read(standin, dialect={"server": "server opentelemetry"}, prefix="acme_")
    assert any("acme_service_latency_milliseconds_bucket" in q for q in standin.queries)
    assert not any("acme_service_latency_bucket" in q for q in standin.queries)


async def test_a_read_that_is_cancelled_ends_at_once() -> None:
    standin = StandIn(hang=lambda _: True)
    async with standin.run(), source(standin.url) as asking:
        task = asyncio.create_task(asking.read(Instant.now()))
        async with asyncio.timeout(5):
            while not standin.requests:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


@given(st.one_of(st.binary(), st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.sampled_from(["success", "vector", "1"]),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["status", "data", "result", "resultType", "metric", "value", "warnings"]), inner),
).map(lambda tree: json.dumps(tree).encode())))  # fmt: skip
def test_any_bytes_are_samples_or_our_error(body: bytes) -> None:
    said = ""
    found = []
    try:
        found = samples(body, at=0)
    except SourceError as error:
        said = error.detail
    assert "\n" not in said
    assert all(isinstance(value, float) for _, points in found for value in points.values())
