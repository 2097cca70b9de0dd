"""Temporal Cloud as a watched cluster: its page, its limits and its errors, on a stand-in at the wire."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import ValidationError
from whenever import Instant

from copilot import bootstrap
from copilot.errors import SettingsError
from copilot.metrics.cloud import CloudMinute, cloud_signals, parse_page, sample
from copilot.rules.signals.cloud import CLOUD
from copilot.rules.signals.readings import MissingCode, Signals
from copilot.settings.clusters import ClusterSettings
from copilot.sources.cloud.account import CloudAccount, retry_after
from copilot.sources.cloud.source import CloudSource
from tests.fakes.cloud import ACCOUNT, V1, CloudEndpoint, Sample, limits

START = Instant.from_utc(2026, 11, 30, 12, 0, 30)
SHOP = f"shop.{ACCOUNT}"
BUSY: list[Sample] = [
    (f"{V1}service_request_count", {"operation": "StartWorkflowExecution"}, 5.0),
    (f"{V1}service_request_count", {"operation": "PollWorkflowTaskQueue"}, 3.0),
    (f"{V1}service_latency_p99", {"operation": "StartWorkflowExecution"}, 0.25),
    (f"{V1}service_latency_p99", {"operation": "DescribeNamespace"}, 9.0),
    (f"{V1}service_latency_p99", {"operation": "ResetWorkflowExecution"}, 7.0),
    (f"{V1}service_pending_requests", {"operation": "PollActivityTaskQueue"}, 4.0),
    (f"{V1}poll_success_count", {"temporal_task_queue": "orders", "task_type": "activity"}, 2.0),
    (f"{V1}approximate_backlog_count", {"temporal_task_queue": "orders", "task_type": "workflow"}, 12.0),
    (f"{V1}total_action_count", {"is_background": "false"}, 450.0),
    (f"{V1}total_action_count", {"is_background": "true"}, 9_000.0),
]


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> Instant:
        return self.now

    def tick(self, seconds: float = 60.0) -> None:
        self.now = self.now.add(seconds=seconds)


def cluster(url: str, **cloud: object) -> ClusterSettings:
    settings = {"namespaces": [SHOP], "api_key": "key", "metrics_url": url, **cloud}
    return ClusterSettings(cloud=settings)


@asynccontextmanager
async def watched(endpoint: CloudEndpoint, **cloud: object) -> AsyncIterator[CloudSource]:
    async with endpoint.run():
        settings = cluster(endpoint.url, **cloud).cloud
        assert settings is not None
        account = CloudAccount(settings, settings.namespaces, clock=endpoint.clock)
        source = CloudSource(account, settings.namespaces, clock=endpoint.clock)
        try:
            yield source
        finally:
            await source.aclose()


def endpoint_at(clock: Clock, samples: list[Sample] = BUSY) -> CloudEndpoint:
    endpoint = CloudEndpoint(clock, values=limits(action_limit=500, action_on_demand_envelope_limit=600))
    for minute in range(-5, 60):
        endpoint.add(START.add(minutes=minute), samples)
    return endpoint


async def test_a_minute_is_read_with_its_own_time_and_labels() -> None:
    clock = Clock()
    async with watched(endpoint_at(clock)) as source:
        signals = await source.read(clock.now)
    assert signals.metrics_at == Instant.from_utc(2026, 11, 30, 11, 58)
    assert signals.value("demand.starts_per_sec") == 5.0
    assert signals.value("poller.pending_polls") == 4.0
    assert signals.value("workflow_completion.failed_per_sec") == 0.0, "absent did not happen"
    assert signals.value("frontend.latency_p99_ms") == 250.0, (
        "the slowest operation with enough requests, no housekeeping"
    )
    assert signals.rows("matching.backlog_count")[0].labels["task_queue"] == "orders"
    assert signals.value("limits.actions_used_share") == 0.9, "background actions count for no limit"
    assert [round(r.value, 2) for r in signals.rows("limits.actions_used_share")] == [0.9, 0.75]
    assert signals.quiet("poller.sync_match_rate") is False
    assert set(signals.readings) == set(CLOUD)
    assert "history.tasks_acked_per_sec" not in signals.readings, "what Cloud cannot have is not expected"


async def test_one_read_a_minute_whoever_asks() -> None:
    clock = Clock()
    endpoint = endpoint_at(clock)
    async with watched(endpoint) as source:
        for _ in range(30):
            await source.read(clock.now)
            clock.tick(10)
    assert len(endpoint.reads) == 5
    asked = endpoint.requests[0].path
    assert f"namespaces={SHOP}" in asked
    assert f"metrics={V1}service_request_count" in asked


async def test_clusters_of_one_account_share_its_reads() -> None:
    clock = Clock()
    endpoint = endpoint_at(clock)
    async with endpoint.run():
        both = [cluster(endpoint.url).model_copy(update={"name": name}) for name in ("one", "two")]
        accounts = bootstrap.CloudAccounts(both)
        of = {c.name: bootstrap.cloud_source(c, accounts) for c in both}
        for source in of.values():
            await source.read(clock.now)
        for source in of.values():
            await source.aclose()
    assert len(endpoint.reads) == 1


@pytest.mark.parametrize(
    ("keys", "fail", "code", "sentence"),
    [
        ({}, "", MissingCode.FORBIDDEN, "the API key is refused (HTTP 401): is it whole, and not expired?"),
        (
            {"key": 403}, "", MissingCode.FORBIDDEN,
            "the API key may not read metrics (HTTP 403): give its service account the role Metrics Read-Only",
        ),
        ({"key": 200}, "503 Service Unavailable", MissingCode.TARGET_DOWN, "HTTP 503 Service Unavailable"),
    ],
)  # fmt: skip
async def test_each_refusal_is_one_clear_sentence(
    keys: dict[str, int], fail: str, code: MissingCode, sentence: str
) -> None:
    clock = Clock()
    endpoint = endpoint_at(clock)
    endpoint.keys, endpoint.fail = keys, fail
    async with watched(endpoint) as source:
        why = (await source.read(clock.now)).missing["demand.starts_per_sec"]
    assert (why.code, why.detail) == (code, f"Temporal Cloud's metrics (127.0.0.1): {sentence}")


async def test_an_endpoint_that_is_down() -> None:
    clock = Clock()
    settings = cluster("http://127.0.0.1:9/v1/metrics").cloud
    assert settings is not None
    source = CloudSource(CloudAccount(settings, [SHOP], clock=clock), [SHOP], clock=clock)
    signals = await source.read(clock.now)
    await source.aclose()
    assert signals.missing["demand.starts_per_sec"].detail == "Temporal Cloud's metrics (127.0.0.1): Connection refused"


async def test_a_used_up_limit_waits_as_long_as_it_is_told() -> None:
    clock = Clock()
    endpoint = endpoint_at(clock)
    endpoint.reads = [START.add(seconds=-1000 - n) for n in reversed(range(180))]
    async with watched(endpoint) as source:
        why = (await source.read(clock.now)).missing["demand.starts_per_sec"]
        assert why.code is MissingCode.DROPPED
        assert "the next read is in 2421 s" in why.detail
        asked = len(endpoint.requests)
        clock.tick(2400)
        await source.read(clock.now)
        assert len(endpoint.requests) == asked, "no request before its time"
        clock.tick(30)
        assert (await source.read(clock.now)).value("demand.starts_per_sec") == 5.0
    assert [retry_after(h) for h in ("120", "5", "soon", "999999")] == [120.0, 60.0, 60.0, 3600.0]


@pytest.mark.parametrize("why", ["limited", "unknown"])
async def test_a_page_that_may_lack_series_gives_lower_bounds_and_no_zeros(why: str) -> None:
    clock = Clock()
    endpoint = endpoint_at(clock)
    if why == "limited":
        endpoint.max_points = 11
    endpoint.completeness = why
    async with watched(endpoint) as source:
        signals = await source.read(clock.now)
    assert signals.value("demand.starts_per_sec") == 5.0
    assert "demand.starts_per_sec" in signals.at_least
    lacking = signals.missing["workflow_completion.failed_per_sec"]
    assert lacking.code is MissingCode.ABSENT
    assert ("30,000 points" if why == "limited" else "does not know") in lacking.detail


async def test_a_namespace_that_is_on_no_page_is_not_healthy() -> None:
    clock = Clock()
    other = f"payments.{ACCOUNT}"
    async with watched(endpoint_at(clock), namespaces=[SHOP, other], region="aws-us-east-1") as source:
        signals = await source.read(clock.now)
    assert f"no series of {other}" in signals.missing["workflow_completion.failed_per_sec"].detail
    async with watched(endpoint_at(clock), namespaces=[other]) as source:
        signals = await source.read(clock.now)
    assert not any(signals.covered(i) for i in signals.readings)
    assert "are the namespaces right, and may the key read them?" in signals.missing["demand.starts_per_sec"].detail


def test_a_backlog_that_falls_to_zero_while_nobody_polls_is_not_believed() -> None:
    def read(*samples: tuple[str, dict[str, str], float]) -> Signals:
        minute = CloudMinute(
            START, tuple(sample(V1 + f, {"temporal_namespace": SHOP, **of}, v) for f, of, v in samples)
        )
        return cloud_signals(minute.of([SHOP]), START)

    polls = ("service_pending_requests", {"operation": "PollWorkflowTaskQueue"}, 3.0)
    queue = {"temporal_task_queue": "orders", "task_type": "workflow"}
    assert read(polls).value("matching.backlog_count") == 0
    for lost in (read(("action_limit", {}, 500.0)), read(polls, ("no_poller_tasks_count", queue, 0.5))):
        assert "unloaded" in lost.missing["matching.backlog_count"].detail
    assert read(("approximate_backlog_count", queue, 7.0)).value("matching.backlog_count") == 7.0


def test_a_page_is_of_cloud_or_of_nothing() -> None:
    assert parse_page("service_requests 5\n") is None
    seconds = parse_page(f'{V1}action_limit{{temporal_namespace="a.b"}} 500 1764504000.000\n# EOF\n')
    assert seconds is not None
    assert seconds[0] == 1764504000.0
    with pytest.raises(ValueError, match="line 1 is not a sample"):
        parse_page(f"{V1}action_limit 500")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"cloud": {"namespaces": ["shop"]}}, "should match pattern"),
        ({"cloud": {"namespaces": ["a.b1", "c.b1"]}}, "several namespaces need cloud.region"),
        ({"cloud": {"namespaces": ["a.b1", "c.d1"], "region": "aws-us-east-1"}}, "namespaces of several accounts"),
        ({"cloud": {"namespaces": ["a.b1"]}, "interval_sec": 30}, "must be 60 or more"),
        ({"cloud": {"namespaces": ["a.b1"], "metrics": "prometheus"}}, "give [clusters.prometheus]"),
        ({"cloud": {"namespaces": ["a.b1"]}, "metrics": [{"url": "http://x", "role": "server"}]}, "no server page"),
    ],
)
def test_bad_settings_are_told(settings: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError) as told:
        ClusterSettings(**settings)
    assert problem in str(told.value)


def test_five_lines_are_a_whole_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    watching = ClusterSettings(cloud={"namespaces": ["a.b1", "c.b1"], "region": "gcp-us-central1"})
    assert watching.temporal is not None
    assert watching.temporal.address == "us-central1.gcp.api.temporal.io:7233"
    assert (watching.interval_sec, watching.window, watching.temporal.namespaces) == (60.0, 60.0, ("a.b1", "c.b1"))
    with pytest.raises(SettingsError, match="there is no API key: set api_key, api_key_file or TEMPORAL_API_KEY"):
        bootstrap.sources(watching)
    monkeypatch.setenv("TEMPORAL_API_KEY", "of the environment")
    assert [s.name for s in bootstrap.sources(watching)] == ["api", "cloud"]
