"""What the API's lists show of changes, given two of them."""

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.deployment.v1 import RoutingConfig, WorkerDeploymentInfo, WorkerDeploymentVersion
from temporalio.api.taskqueue.v1 import ConfigMetadata, RateLimit, RateLimitConfig, TaskQueueConfig
from temporalio.api.worker.v1 import WorkerHeartbeat
from whenever import Instant

from copilot.sources.temporal.changes import SeenChanges
from tests.sources.test_queues import NOON

Version = WorkerDeploymentInfo.WorkerDeploymentVersionSummary


def stamp(minutes: float) -> Timestamp:
    """A time so many minutes after noon."""
    return Timestamp(seconds=NOON.add(seconds=round(60 * minutes)).timestamp())


def version(build: str, created: float, current: float | None = None) -> Version:
    of = WorkerDeploymentVersion(deployment_name="checkout", build_id=build)
    last = None if current is None else stamp(current)
    return Version(deployment_version=of, create_time=stamp(created), last_current_time=last)


def worker(host: int, started: float, queue: str = "orders", sdk: str = "1.35.0") -> WorkerHeartbeat:
    return WorkerHeartbeat(
        worker_instance_key=f"{host}-{started}-{queue}", worker_identity=f"7@host-{host}", task_queue=queue,
        start_time=stamp(started), sdk_name="temporal-python", sdk_version=sdk,
    )  # fmt: skip


def texts(seen: SeenChanges, minutes: float = 10.0) -> list[tuple[str, str, str]]:
    found = seen.recent(NOON.add(seconds=round(60 * minutes)))
    return [(c.at.format_iso()[11:19], c.kind, c.text) for c in found]


def test_routing_is_dated_by_temporal_and_says_who_and_what_was_before() -> None:
    routing = RoutingConfig(
        current_deployment_version=WorkerDeploymentVersion(deployment_name="checkout", build_id="b42"),
        current_version_changed_time=stamp(2),
        ramping_version_percentage_changed_time=stamp(1),
    )
    versions = [version("b41", -600, 2), version("b42", 0, 2), version("b40", -900, -600)]
    info = WorkerDeploymentInfo(
        name="checkout", routing_config=routing, version_summaries=versions, last_modifier_identity="ci"
    )
    seen = SeenChanges("c")
    for _ in range(2):
        seen.deployment("default", info)
        assert texts(seen) == [
            ("12:02:00", "routing", "`b42` became current in deployment `checkout`, before: `b41`"),
            ("12:01:00", "ramp", "no ramp to another version in deployment `checkout`"),
            ("12:00:00", "build", "build `b42` of deployment `checkout` polled for the first time"),
        ]
    change = seen.recent(NOON)[0]
    assert (change.who, change.deployment, change.build, change.source) == ("ci", "checkout", "b42", "seen")
    assert seen.recent(NOON)[1].who == ""
    assert texts(seen, 60.0) == []


def test_a_rolling_restart_is_one_change_that_grows_and_keeps_its_begin() -> None:
    seen = SeenChanges("c")
    seen.workers("default", [worker(n, -600, queue) for n in range(3) for queue in ("orders", "billing")])
    assert texts(seen) == []
    digests: set[str] = set()
    for done in (1, 2, 3):
        started = [3.0 + n if n < done else -600.0 for n in range(3)]
        seen.workers(
            "default", [worker(n, at, queue) for n, at in enumerate(started) for queue in ("orders", "billing")]
        )
        digests |= {c.digest for c in seen.recent(NOON)}
    assert texts(seen) == [("12:03:00", "restart", "3 of 3 workers of `billing`, `orders` restarted 12:03–12:05 UTC")]
    assert len(digests) == 1
    assert seen.recent(NOON)[0].task_queue == "billing, orders"


def test_a_worker_that_crashes_again_and_again_stays_one_change() -> None:
    seen = SeenChanges("c")
    for minute in range(0, 40, 2):
        seen.workers("default", [worker(1, minute), worker(2, -600)])
    assert texts(seen, 40) == [("12:00:00", "restart", "1 of 2 workers of `orders` restarted 12:00–12:38 UTC")]


def test_another_sdk_is_dated_by_the_first_worker_that_has_it() -> None:
    seen = SeenChanges("c")
    seen.workers("default", [worker(1, -600), worker(2, -600)])
    seen.workers("default", [worker(1, 5, sdk="1.36.0"), worker(2, -600)])
    assert ("12:05:00", "sdk_version") in [t[:2] for t in texts(seen)]
    sdk = next(c for c in seen.recent(NOON) if c.kind == "sdk_version")
    assert sdk.text == "SDK of workers of `orders`: temporal-python 1.36.0, before: temporal-python 1.35.0"


def test_a_limit_of_a_queue_has_its_reason_and_author() -> None:
    seen, limit = SeenChanges("c"), RateLimit(requests_per_second=100)
    why: dict[str, Any] = {"reason": "batch tonight", "update_identity": "ada", "update_time": stamp(1)}
    config = TaskQueueConfig(queue_rate_limit=RateLimitConfig(rate_limit=limit, metadata=ConfigMetadata(**why)))
    seen.limit("default", "orders", "activity", config)
    seen.limit("default", "orders", "workflow", TaskQueueConfig())
    (change,) = seen.recent(NOON)
    assert (change.text, change.who) == ("rate limit of activity tasks on `orders`: 100/s (batch tonight)", "ada")
    assert change.at == Instant.from_timestamp(stamp(1).seconds)
