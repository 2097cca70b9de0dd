"""The lists that tell of task queues and worker versions. A job is one call, of some lists up to three pages."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

from temporalio.api.enums.v1 import NamespaceState, WorkerDeploymentVersionStatus
from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentRequest,
    DescribeWorkerDeploymentVersionRequest,
    ListActivityExecutionsRequest,
    ListNamespacesRequest,
    ListWorkerDeploymentsRequest,
    ListWorkersRequest,
    ListWorkflowExecutionsRequest,
)
from whenever import Instant

from copilot.errors import SourceError
from copilot.rules.signals.readings import MissingCode
from copilot.sources.temporal.calls import PacedCalls, version_of
from copilot.sources.temporal.queues import QueueKey

REMEMBER_SEC = 24 * 3600.0
MOST_PAGES = 3
LIST_EVERY_SEC = 60.0
CURRENT_VERSIONS_EVERY_SEC = 1.0
QUEUES_OF_VERSION_EVERY_SEC = 300.0
_QUOTED = frozenset("'\\")
SYSTEM_NAMESPACES = frozenset({"temporal-system", "temporal_system", "system"})
JOBS = ("namespaces", "running", "closed", "deployments", "deployment", "version", "workers", "activities")
OF_NAMESPACE = ("running", "closed", "deployments", "workers", "activities")


@dataclass(frozen=True, slots=True)
class Job:
    """One list to be fetched: which of JOBS, and of whom."""

    what: str
    namespace: str = ""
    deployment: str = ""
    build: str = ""


@dataclass(slots=True)
class Known:
    """What the lists told. `listed`: the user namespaces, None before they were; `seen`: when each queue was seen last;
    `states`: the status of each build of a (namespace, deployment); `queues_of`: the versions each queue has had."""

    leaves_out: Callable[[str], bool]
    listed: tuple[str, ...] | None = None
    seen: dict[QueueKey, Instant] = field(default_factory=dict)
    states: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)
    queues_of: dict[QueueKey, set[str]] = field(default_factory=dict)

    def saw(self, namespace: str, queue: str, now: Instant, version: str = "") -> None:
        """Note that a queue is in use, by a worker version if one is given."""
        if queue and not self.leaves_out(queue):
            key = QueueKey(namespace, queue)
            self.seen[key] = now
            if version:
                self.queues_of.setdefault(key, set()).add(version)


class QueueLists:
    """Fetches lists into what is known."""

    def __init__(self, calls: PacedCalls, known: Known) -> None:
        self._calls = calls
        self._known = known
        self._ways: dict[str, Callable[[Job, Instant], Awaitable[float]]] = {
            "namespaces": self._namespaces,
            "running": self._workflows,
            "closed": self._workflows,
            "deployments": self._deployments,
            "deployment": self._deployment,
            "version": self._version,
            "workers": self._workers,
            "activities": self._activities,
        }

    async def fetch(self, job: Job, now: Instant) -> float:
        """Do the job; the seconds after which it is due again. Raises SourceError."""
        return await self._ways[job.what](job, now)

    async def _namespaces(self, _job: Job, _now: Instant) -> float:
        request = ListNamespacesRequest(page_size=200)
        pages = await self._calls.pages(self._calls.service.list_namespaces, request, "the namespaces")
        deleted = NamespaceState.NAMESPACE_STATE_DELETED
        infos = [namespace.namespace_info for page in pages for namespace in page.namespaces]
        self._known.listed = tuple(
            sorted(i.name for i in infos if i.state != deleted and i.name not in SYSTEM_NAMESPACES)
        )
        return LIST_EVERY_SEC

    async def _workflows(self, job: Job, now: Instant) -> float:
        since = now.subtract(seconds=REMEMBER_SEC).format_iso()
        query = {
            "running": 'ExecutionStatus = "Running"',
            "closed": f'ExecutionStatus != "Running" AND CloseTime > "{since}"',
        }[job.what]
        asked = f"the workflows of namespace {job.namespace}"
        found: set[str] = set()
        for _ in range(MOST_PAGES):  # A page may be all of one busy queue: the next one is of the others.
            names = ", ".join(f"'{queue}'" for queue in sorted(found) if not _QUOTED.intersection(queue))
            others = f" AND TaskQueue NOT IN ({names})" if names else ""
            request = ListWorkflowExecutionsRequest(namespace=job.namespace, page_size=200, query=query + others)
            answer = await self._calls.ask(self._calls.service.list_workflow_executions, request, asked)
            found.update(execution.task_queue for execution in answer.executions)
            if not answer.next_page_token:
                break
        for queue in found:
            self._known.saw(job.namespace, queue, now)
        return LIST_EVERY_SEC

    async def _activities(self, job: Job, now: Instant) -> float:
        request = ListActivityExecutionsRequest(
            namespace=job.namespace, page_size=200, query='ExecutionStatus = "Running"'
        )
        asked = f"the activities of namespace {job.namespace}"
        answer = await self._calls.ask(self._calls.service.list_activity_executions, request, asked)
        for execution in answer.executions:
            self._known.saw(job.namespace, execution.task_queue, now)
        return LIST_EVERY_SEC

    async def _workers(self, job: Job, now: Instant) -> float:
        request = ListWorkersRequest(namespace=job.namespace, page_size=200)
        asked = f"the workers of namespace {job.namespace}"
        for page in await self._calls.pages(self._calls.service.list_workers, request, asked):
            for worker in page.workers or [info.worker_heartbeat for info in page.workers_info]:
                of = worker.deployment_version
                version = version_of(of.deployment_name, of.build_id) if of.deployment_name else ""
                self._known.saw(job.namespace, worker.task_queue, now, version)
        return LIST_EVERY_SEC

    async def _deployments(self, job: Job, _now: Instant) -> float:
        request = ListWorkerDeploymentsRequest(namespace=job.namespace, page_size=100)
        asked = f"the worker deployments of namespace {job.namespace}"
        found = set()
        for page in await self._calls.pages(self._calls.service.list_worker_deployments, request, asked):
            for deployment in page.worker_deployments:
                found.add((job.namespace, deployment.name))
                states = self._known.states.setdefault((job.namespace, deployment.name), {})
                for summary in (
                    deployment.latest_version_summary,
                    deployment.current_version_summary,
                    deployment.ramping_version_summary,
                ):
                    if summary.deployment_version.build_id:
                        states[summary.deployment_version.build_id] = summary.status
        self._known.states = {
            key: builds for key, builds in self._known.states.items() if key[0] != job.namespace or key in found
        }
        return CURRENT_VERSIONS_EVERY_SEC if found else LIST_EVERY_SEC

    async def _deployment(self, job: Job, _now: Instant) -> float:
        request = DescribeWorkerDeploymentRequest(namespace=job.namespace, deployment_name=job.deployment)
        asked = f"worker deployment {job.deployment} of namespace {job.namespace}"
        answer = await self._calls.ask(self._calls.service.describe_worker_deployment, request, asked)
        self._known.states[(job.namespace, job.deployment)] = {
            s.deployment_version.build_id: s.status for s in answer.worker_deployment_info.version_summaries
        }
        return LIST_EVERY_SEC

    async def _version(self, job: Job, now: Instant) -> float:
        request = DescribeWorkerDeploymentVersionRequest(namespace=job.namespace)
        request.deployment_version.deployment_name = job.deployment
        request.deployment_version.build_id = job.build
        asked = f"version {version_of(job.deployment, job.build)} of namespace {job.namespace}"
        answer = await self._calls.ask(self._calls.service.describe_worker_deployment_version, request, asked)
        for info in answer.worker_deployment_version_info.task_queue_infos:
            self._known.saw(job.namespace, info.name, now, version_of(job.deployment, job.build))
        return QUEUES_OF_VERSION_EVERY_SEC


REFUSED_AGAIN_SEC = 120.0
FAILED_AGAIN_SEC = 10.0
MOST_VERSIONS = 20
_STATUS = WorkerDeploymentVersionStatus
_ORDER = (
    _STATUS.WORKER_DEPLOYMENT_VERSION_STATUS_CURRENT,
    _STATUS.WORKER_DEPLOYMENT_VERSION_STATUS_RAMPING,
    _STATUS.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINING,
)
_GONE = _STATUS.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINED


@dataclass(frozen=True, slots=True)
class Watched:
    """Whose task queues: `own`, the connection's namespace, `named_own` when settings say so; `namespaces`, or all that
    can be listed; `task_queues` known by name, in `own` or the first of `namespaces`; `ignored` by name in all."""

    own: str
    named_own: bool = False
    namespaces: tuple[str, ...] = ()
    task_queues: tuple[str, ...] = ()
    ignored: Collection[str] = ()

    @property
    def named(self) -> set[QueueKey]:
        """The queues settings name."""
        of = self.own if not self.namespaces or self.own in self.namespaces else self.namespaces[0]
        return {QueueKey(of, queue) for queue in self.task_queues}

    def leaves_out(self, queue: str) -> bool:
        """Whether a queue is not to be described: ignored, or Temporal's own."""
        return queue in self.ignored or queue.startswith(("temporal-sys", "/_sys/"))


@dataclass(slots=True)
class _Done:
    due: Instant
    error: SourceError | None = None
    ever: bool = False


class QueueDiscovery:
    """Finds task queues and their worker versions; `advance` makes some of the calls that are due."""

    def __init__(self, calls: PacedCalls, watched: Watched) -> None:
        self._calls = calls
        self._watched = watched
        self._done: dict[Job, _Done] = {}
        self._complete: set[str] = set()
        self._known = Known(watched.leaves_out, seen=dict.fromkeys(watched.named, Instant.MIN))
        self._lists = QueueLists(calls, self._known)

    @property
    def queues(self) -> tuple[QueueKey, ...]:
        """The queues known, in order."""
        return tuple(sorted(self._known.seen))

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The namespaces watched as far as they are known, in order."""
        watched, listed = self._watched, self._known.listed
        if watched.namespaces:
            return watched.namespaces
        if listed is None:
            return (watched.own,)
        wanted = watched.named_own or watched.task_queues
        return tuple(sorted({*listed, watched.own})) if wanted else listed

    def versions(self, key: QueueKey) -> tuple[str, ...] | None:
        """The queue's worker versions, none for a queue without; None while they cannot be known."""
        if key.namespace not in self._complete:
            return None
        found = []
        for version in self._known.queues_of.get(key, ()):
            deployment, _, build = version.partition(":")
            status = self._known.states.get((key.namespace, deployment), {}).get(build, _GONE)
            if status != _GONE:
                rank = _ORDER.index(status) if status in _ORDER else len(_ORDER)
                found.append((rank, version))
        return tuple(version for _, version in sorted(found)[:MOST_VERSIONS])

    def problem(self) -> SourceError | None:
        """Why the queues of some namespace are not known at all; None when they are."""
        with_queues = {key.namespace for key in self._known.seen}
        waiting, not_ours = 0, []
        for namespace in self.namespaces:
            listings = [self._done.get(Job(what, namespace)) for what in ("running", "closed")]
            if namespace in with_queues or all(d is not None and d.ever for d in listings):
                continue
            failed = next((d.error for d in listings if d is not None and d.error is not None), None)
            if failed is None:
                waiting += 1
            elif failed.code is MissingCode.FORBIDDEN and self._only_listed(namespace):
                not_ours.append(failed)
            else:
                return failed
        if not_ours and len(not_ours) == len(self.namespaces):
            return not_ours[0]
        if waiting:
            known = len(self.namespaces) - waiting
            detail = f"the task queues of {known} of {len(self.namespaces)} namespaces are known so far"
            return SourceError(MissingCode.DROPPED, detail)
        return None

    def refused(self) -> tuple[str, ...]:
        """What may not be listed, in words."""
        errors = [done.error for done in self._done.values() if done.error is not None]
        return tuple(str(error) for error in errors if error.code is MissingCode.FORBIDDEN)

    async def advance(self, now: Instant, most: int) -> None:
        """Make up to `most` of the calls that are due, those due longest first."""
        self._known.seen.update(dict.fromkeys(self._watched.named, now))
        limit = self._calls.made + most
        while jobs := self._due(now)[: max(0, limit - self._calls.made)]:
            await asyncio.gather(*(self._run(job, now) for job in jobs))
        self._forget(now)

    def _only_listed(self, namespace: str) -> bool:
        """Whether a namespace is watched only because it was listed: one that may not be read is then left out."""
        watched = self._watched
        named = namespace in watched.namespaces or (namespace == watched.own and watched.named_own)
        return self._known.listed is not None and not named

    def _forget(self, now: Instant) -> None:
        known, namespaces = self._known, set(self.namespaces)
        known.seen = {
            key: seen
            for key, seen in known.seen.items()
            if (now - seen).total("seconds") < REMEMBER_SEC
            and not self._watched.leaves_out(key.task_queue)
            and (key.namespace in namespaces or key in self._watched.named)
        }
        known.queues_of = {key: versions for key, versions in known.queues_of.items() if key in known.seen}
        for namespace in namespaces:
            if self._versions_asked(namespace):
                self._complete.add(namespace)

    def _versions_asked(self, namespace: str) -> bool:
        """Whether every worker version of a namespace was asked for once, or its server knows none."""
        jobs = [Job("deployments", namespace), *self._jobs_of_versions(namespace)]
        found = [self._done.get(job) for job in jobs]
        return all(d is not None and (d.ever or (d.error and d.error.code is MissingCode.ABSENT)) for d in found)

    def _jobs_of_versions(self, namespace: str) -> list[Job]:
        jobs = []
        for (of, deployment), builds in self._known.states.items():
            if of == namespace:
                jobs.append(Job("deployment", namespace, deployment))
                jobs += [Job("version", namespace, deployment, b) for b, status in builds.items() if status != _GONE]
        return jobs

    def _due(self, now: Instant) -> list[Job]:
        jobs = [Job("namespaces")] if not self._watched.namespaces else []
        if jobs and jobs[0] not in self._done:
            return jobs
        for namespace in self.namespaces:
            jobs += [Job(what, namespace) for what in OF_NAMESPACE] + self._jobs_of_versions(namespace)
        wanted = set(jobs)
        self._done = {job: done for job, done in self._done.items() if job in wanted}
        due = [(self._done[job].due if job in self._done else Instant.MIN, job) for job in jobs]
        ready = [(time, job) for time, job in due if time <= now]
        return [job for _, job in sorted(ready, key=lambda r: (r[0], JOBS.index(r[1].what)))]

    async def _run(self, job: Job, now: Instant) -> None:
        ever = job in self._done and self._done[job].ever
        try:
            again = await self._lists.fetch(job, now)
            self._done[job] = _Done(now.add(seconds=again), None, True)
        except SourceError as error:
            lasting = error.code in (MissingCode.FORBIDDEN, MissingCode.ABSENT)
            wait = REFUSED_AGAIN_SEC if lasting else FAILED_AGAIN_SEC
            self._done[job] = _Done(now.add(seconds=wait), error, ever)
