"""Changes that Temporal's API shows: which version a worker deployment routes to, new build ids, worker processes that
start, their SDK, and the limits of task queues.

They cost no call: the lists and descriptions are read anyway. Where Temporal says when a change was made, that time is
taken, so that every process of the Copilot sees the same change.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.deployment.v1 import WorkerDeploymentInfo
from temporalio.api.worker.v1 import WorkerHeartbeat
from whenever import Instant

from copilot.rules.signals.change import MAX_NAME, MAX_TEXT, Change, Kind

SHOWN_SEC = 900.0
"""For how long a change is handed on: a tick that is lost loses no change."""
APART_SEC = 300.0
"""Workers that start no further apart are one change."""
MOST = 20
MOST_NAMED = 3


def instant(at: Timestamp) -> Instant | None:
    """The instant; None where the field is not set."""
    return Instant.from_timestamp(at.ToNanoseconds(), unit="nanosecond") if at.seconds else None


@dataclass(frozen=True, slots=True)
class _Process:
    """A worker process: when it started, its SDK, its version, and the task queues it polls."""

    name: str
    started: Instant
    sdk: str
    deployment: str
    build: str
    queues: tuple[str, ...]


@dataclass(slots=True)
class _Group:
    """The worker processes of the same task queues, as last seen. `first`, `last`: starts that are one change."""

    names: frozenset[str] = frozenset()
    sdks: frozenset[str] = frozenset()
    first: Instant = Instant.MIN
    last: Instant = Instant.MIN


@dataclass(slots=True)
class SeenChanges:
    """The changes of a cluster within the last quarter of an hour."""

    cluster: str
    _changes: dict[str, Change] = field(default_factory=dict)
    _groups: dict[tuple[str, tuple[str, ...]], _Group] = field(default_factory=dict)

    def recent(self, now: Instant) -> tuple[Change, ...]:
        """The newest twenty, the newest first. What is older is forgotten."""
        oldest = now.subtract(seconds=SHOWN_SEC)
        self._changes = {i: c for i, c in self._changes.items() if c.at >= oldest or self._grows(c, oldest)}
        return tuple(sorted(self._changes.values(), key=attrgetter("at"), reverse=True)[:MOST])

    def _grows(self, change: Change, oldest: Instant) -> bool:
        """Whether workers still restart."""
        return any(g.first == change.at and g.last >= oldest for g in self._groups.values())

    def _add(self, at: Instant | None, kind: Kind, text: str, **touches: str) -> None:
        if at is not None:
            names: dict[str, Any] = {name: value[:MAX_NAME] for name, value in touches.items()}
            change = Change(cluster=self.cluster, at=at, kind=kind, text=text[:MAX_TEXT], source="seen", **names)
            self._changes[change.digest] = change

    def deployment(self, namespace: str, info: WorkerDeploymentInfo) -> None:
        """A worker deployment as it is described."""
        routing, touches = info.routing_config, {"namespace": namespace, "deployment": info.name}
        current, ramping = routing.current_deployment_version.build_id, routing.ramping_deployment_version.build_id
        changed, ramped = (
            instant(at)
            for at in (routing.current_version_changed_time, routing.ramping_version_percentage_changed_time)
        )
        newest = max(filter(None, (changed, ramped)), default=None)
        versions = sorted(info.version_summaries, key=lambda v: v.last_current_time.ToNanoseconds(), reverse=True)
        before = next((v.deployment_version.build_id for v in versions if v.last_current_time.seconds
                       and v.deployment_version.build_id != current), "")  # fmt: skip
        was = f", before: `{before}`" if before else ""
        now = f"`{current}` became current" if current else "tasks go to unversioned workers"
        by = {at: info.last_modifier_identity if at == newest else "" for at in (changed, ramped)}
        self._add(
            changed, "routing", f"{now} in deployment `{info.name}`{was}", who=by[changed], build=current, **touches
        )
        share = f"{routing.ramping_version_percentage:g} % of new executions go to" if ramping else "no ramp to another"
        ramp = f"{share} version{f' `{ramping}`' if ramping else ''} in deployment `{info.name}`"
        self._add(ramped, "ramp", ramp, who=by[ramped], build=ramping, **touches)
        for version in info.version_summaries:
            build = version.deployment_version.build_id
            first = f"build `{build}` of deployment `{info.name}` polled for the first time"
            self._add(instant(version.create_time), "build", first, build=build, **touches)

    def limit(self, namespace: str, queue: str, kind: str, config: Any) -> None:
        """The configured rate limit of a task queue (a TaskQueueConfig)."""
        limit = config.queue_rate_limit
        rate = f"{limit.rate_limit.requests_per_second:g}/s" if limit.HasField("rate_limit") else "no limit"
        why = f" ({limit.metadata.reason})" if limit.metadata.reason else ""
        text = f"rate limit of {kind} tasks on `{queue}`: {rate}{why}"
        at, who = instant(limit.metadata.update_time), limit.metadata.update_identity
        self._add(at, "config", text, who=who, namespace=namespace, task_queue=queue)

    def workers(self, namespace: str, beats: Iterable[WorkerHeartbeat]) -> None:
        """All workers of a namespace that live."""
        groups: dict[tuple[str, ...], list[_Process]] = {}
        for process in _processes(beats):
            groups.setdefault(process.queues, []).append(process)
        for queues, processes in groups.items():
            known = self._groups.setdefault((namespace, queues), _Group())
            self._group(namespace, queues, sorted(processes, key=attrgetter("started")), known)

    def _group(self, namespace: str, queues: tuple[str, ...], processes: list[_Process], known: _Group) -> None:
        names, sdks = frozenset(p.name for p in processes), frozenset(p.sdk for p in processes)
        together = [processes[-1]]
        for process in reversed(processes[:-1]):
            if (together[-1].started - process.started).total("seconds") > APART_SEC:
                break
            together.append(process)
        first, last = together[-1].started, together[0].started
        # Of a process that started twice, only the second start is listed.
        if (first - known.last).total("seconds") <= APART_SEC:
            first = known.first
        replaced = bool(known.names - names)
        known.names, known.first, known.last = names, first, last
        shown = ", ".join(f"`{queue}`" for queue in queues[:MOST_NAMED]) + (" and others" * (len(queues) > MOST_NAMED))
        verb = "restarted" if replaced or first < together[-1].started else "started"
        when = first.format_iso()[11:16]
        until = "" if last.format_iso()[11:16] == when else f"–{last.format_iso()[11:16]}"
        of = f"{len(together)} of {len(processes)} worker{'s' * (len(processes) > 1)}"
        touches = {"namespace": namespace, "task_queue": ", ".join(queues)}
        self._add(first, "restart", f"{of} of {shown} {verb} {when}{until} UTC", **touches)
        if known.sdks and (new := sdks - known.sdks):
            began = min(p.started for p in processes if p.sdk in new)
            text = f"SDK of workers of {shown}: {', '.join(sorted(new))}, before: {', '.join(sorted(known.sdks))}"
            self._add(began, "sdk_version", text, **touches)
        known.sdks = sdks


def _processes(beats: Iterable[WorkerHeartbeat]) -> Iterator[_Process]:
    """The worker processes: one may run several workers, each for a task queue."""
    found: dict[str, list[WorkerHeartbeat]] = {}
    for beat in beats:
        found.setdefault(beat.worker_identity or beat.worker_instance_key, []).append(beat)
    for name, of in found.items():
        starts = [at for beat in of if (at := instant(beat.start_time)) is not None]
        if starts:
            version = of[0].deployment_version
            yield _Process(
                f"{name} {min(starts)}",
                min(starts),
                f"{of[0].sdk_name} {of[0].sdk_version}".strip(),
                version.deployment_name,
                version.build_id,
                tuple(sorted({beat.task_queue for beat in of})),
            )
