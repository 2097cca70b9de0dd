"""Worker heartbeats as rows for people, from the lists that the evaluation's source reads anyway: no call more."""

from collections.abc import Callable, Sequence

from temporalio.api.worker.v1 import WorkerHeartbeat
from whenever import Instant

from copilot.inspection.links import Links, ui_of
from copilot.inspection.workers import Executor, WorkerRow, WorkersListed, WorkerState
from copilot.settings.clusters import ClusterSettings, WatchedTemporal
from copilot.sources.temporal.heartbeats import STALE_INTERVALS, WorkerHeartbeats, ended, interval_sec

GONE_AFTER_SEC = 600.0
NO_LIMIT = ("ResourceBased", "Custom")


def workers_listed(
    cluster: ClusterSettings,
    heartbeats: WorkerHeartbeats,
    namespaces: Sequence[str],
    now: Instant,
    problem: str,
    clean: Callable[[str], str],
) -> tuple[WorkersListed | None, frozenset[str]]:
    """The workers in the newest lists of these namespaces, and whose lists are complete; None before the first list,
    unless there is a problem. `clean` takes secrets out of names."""
    lists = {name: found for name in namespaces if (found := heartbeats.listed(name)) is not None}
    newest = max((found.at for found in lists.values()), default=None)
    if newest is None and problem:
        return WorkersListed(cluster=cluster.name, time=now, problem=problem), frozenset()
    if newest is None:
        return None, frozenset()
    temporal = cluster.temporal or WatchedTemporal()
    ui = ui_of(temporal.address, temporal.ui_url)
    rows = [
        worker_row(beat, found.at.subtract(seconds=age), age, Links(ui, name), clean)
        for name, found in lists.items()
        for beat, age in found.beats
    ]
    partly = [name for name, found in lists.items() if not found.complete]
    why = problem or (f"namespace {partly[0]} has more workers than are listed" if partly else "")
    listed = WorkersListed(cluster=cluster.name, time=newest, problem=why, workers=tuple(rows))
    return listed, frozenset(lists) - frozenset(partly)


def worker_row(
    beat: WorkerHeartbeat, sent: Instant, age_sec: float, links: Links, clean: Callable[[str], str]
) -> WorkerRow:
    """One heartbeat as a row. `sent`: when, by our clock."""
    overdue = age_sec > STALE_INTERVALS * interval_sec(beat)
    over = ended(beat) or age_sec > GONE_AFTER_SEC
    version, host = beat.deployment_version, beat.host_info
    queue, deployment = clean(beat.task_queue), clean(version.deployment_name)
    return WorkerRow(
        namespace=clean(links.namespace),
        task_queue=queue,
        instance=beat.worker_instance_key,
        identity=clean(beat.worker_identity),
        host=clean(host.host_name),
        sdk=clean(f"{beat.sdk_name} {beat.sdk_version}".strip()),
        deployment=deployment,
        build=clean(version.build_id),
        state=WorkerState.GONE if over else WorkerState.STALE if overdue else WorkerState.LIVE,
        started=_instant(beat.start_time) if beat.HasField("start_time") else None,
        last_heartbeat=sent,
        gone_at=sent if over else None,
        workflow=_executor(beat, "workflow", "workflow_poller_info", "workflow_sticky_poller_info"),
        activity=_executor(beat, "activity", "activity_poller_info"),
        nexus=_executor(beat, "nexus", "nexus_poller_info"),
        cpu=_share(host.current_host_cpu_usage),
        memory=_share(host.current_host_mem_usage),
        cache=beat.current_sticky_cache_size,
        cache_hits=beat.total_sticky_cache_hit,
        cache_misses=beat.total_sticky_cache_miss,
        queue_url=links.task_queue(queue) if queue == beat.task_queue else None,
        workers_url=links.workers(),
        deployment_url=links.deployment(deployment) if deployment and deployment == version.deployment_name else None,
    )


def _executor(beat: WorkerHeartbeat, kind: str, *pollers: str) -> Executor:
    slots = getattr(beat, f"{kind}_task_slots_info")
    unlimited = slots.slot_supplier_kind in NO_LIMIT
    return Executor(
        used=slots.current_used_slots,
        slots=None if unlimited else slots.current_used_slots + slots.current_available_slots,
        pollers=sum(getattr(beat, name).current_pollers for name in pollers),
        processed=slots.total_processed_tasks,
        failed=slots.total_failed_tasks,
    )


def _share(value: float) -> float | None:
    """A share of the host; None where it is not told: proto3 has 0 then, which a host that runs a worker never has."""
    return value if 0 < value <= 1 else None


def _instant(stamp: object) -> Instant:
    nanoseconds: int = stamp.ToNanoseconds()  # type: ignore[attr-defined]
    return Instant.from_timestamp(nanoseconds, unit="nanosecond")
