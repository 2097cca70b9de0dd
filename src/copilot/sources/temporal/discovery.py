"""Which task queues and worker versions are in use, by the lists of Temporal's API."""

import asyncio
from dataclasses import dataclass

from temporalio.api.enums.v1 import NamespaceState, WorkerDeploymentVersionStatus
from temporalio.api.workflowservice import v1
from whenever import Instant

from copilot.errors import SourceError
from copilot.rules.signals.readings import MissingCode
from copilot.settings.clusters import ClusterSettings, WatchedTemporal
from copilot.sources.temporal.changes import SeenChanges
from copilot.sources.temporal.client import MAX_PAGES, RateLimitedClient
from copilot.sources.temporal.heartbeats import WorkerHeartbeats
from copilot.sources.temporal.queues import QueueKey, worker_version

REMEMBER_SEC = 24 * 3600.0
MAX_VERSIONS = 20
LIST_EVERY_SEC = 60.0
HEARTBEATS_EVERY_SEC = 25.0
CURRENT_VERSIONS_EVERY_SEC = 1.0
QUEUES_OF_VERSION_EVERY_SEC = 300.0
REFUSED_AGAIN_SEC = 120.0
FAILED_AGAIN_SEC = 10.0
SYSTEM_NAMESPACES = frozenset({"temporal-system", "temporal_system", "system"})
LISTS = ("namespaces", "running", "closed", "deployments", "deployment", "version", "workers", "activities")
OF_NAMESPACE = ("running", "closed", "workers", "activities")
RUNNING = 'ExecutionStatus = "Running"'
_NO_LITERAL = frozenset("'\\")
_STATUS = "WORKER_DEPLOYMENT_VERSION_STATUS_"
_ORDER = tuple(WorkerDeploymentVersionStatus.Value(_STATUS + name) for name in ("CURRENT", "RAMPING", "DRAINING"))
_DRAINED = WorkerDeploymentVersionStatus.WORKER_DEPLOYMENT_VERSION_STATUS_DRAINED


class Watched:
    """Whose task queues to find, by the settings of a cluster: `own` is the connection's namespace, `named_own` whether
    settings name it; `namespaces`, or all that can be listed; `task_queues` that settings name, in `own` or the first
    of `namespaces`."""

    def __init__(self, cluster: ClusterSettings, own: str) -> None:
        temporal = cluster.temporal or WatchedTemporal()
        self.cluster, self.own = cluster.name, own
        self.named_own = own != "default" or "namespace" in temporal.model_fields_set
        self.namespaces = temporal.namespaces
        self.task_queues = temporal.task_queues
        self._ignored = frozenset(cluster.ignore_task_queues)

    @property
    def named(self) -> set[QueueKey]:
        """The queues that settings name."""
        namespace = self.own if not self.namespaces or self.own in self.namespaces else self.namespaces[0]
        return {QueueKey(namespace, queue) for queue in self.task_queues}

    def names(self, namespace: str) -> bool:
        """Whether settings name the namespace."""
        return namespace in self.namespaces or (namespace == self.own and self.named_own)

    def leaves_out(self, queue: str) -> bool:
        """Whether a queue is not described: ignored in all namespaces, or Temporal's own."""
        return queue in self._ignored or queue.startswith(("temporal-sys", "/_sys/"))


@dataclass(frozen=True, slots=True)
class Job:
    """One list to fetch: which of LISTS, and of what. It is one call; some lists take up to three pages."""

    what: str
    namespace: str = ""
    deployment: str = ""
    build: str = ""

    def __str__(self) -> str:
        if self.what == "namespaces":
            return "the namespaces"
        if not self.deployment:
            kind = {"running": "workflows", "closed": "workflows", "deployments": "worker deployments"}
            return f"the {kind.get(self.what, self.what)} of namespace {self.namespace}"
        version = f"version {worker_version(self.deployment, self.build)}"
        return f"{version if self.build else f'worker deployment {self.deployment}'} of namespace {self.namespace}"


@dataclass(slots=True)
class _Result:
    """Of a job: when it is due again, its last error, and whether it ever succeeded."""

    due: Instant = Instant.MIN
    error: SourceError | None = None
    succeeded: bool = False


class QueueDiscovery:
    """Finds task queues and their worker versions. `advance` makes some of the calls that are due.

    `last_seen` of each queue known; `_listed`: the user namespaces, None before they were listed; `_statuses` of the
    builds of each (namespace, deployment); `_versions`: the worker versions each queue has had; `heartbeats` of the
    workers; `changes` of deployments and workers."""

    def __init__(self, client: RateLimitedClient, watched: Watched) -> None:
        self._client = client
        self._watched = watched
        self._results: dict[Job, _Result] = {}
        self._complete: set[str] = set()
        self._listed: tuple[str, ...] | None = None
        self.last_seen = dict.fromkeys(watched.named, Instant.MIN)
        self._statuses: dict[tuple[str, str], dict[str, int]] = {}
        self._versions: dict[QueueKey, set[str]] = {}
        self.heartbeats = WorkerHeartbeats()
        self.changes = SeenChanges(watched.cluster)

    @property
    def queues(self) -> tuple[QueueKey, ...]:
        """The queues known, in order."""
        return tuple(sorted(self.last_seen))

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The watched namespaces known so far, in order."""
        watched, listed = self._watched, self._listed
        if watched.namespaces or listed is None:
            return watched.namespaces or (watched.own,)
        wanted = watched.named_own or watched.task_queues
        return tuple(sorted({*listed, watched.own})) if wanted else listed

    def versions(self, key: QueueKey) -> tuple[str, ...] | None:
        """The queue's worker versions, the current one first; None while they are not known."""
        if key.namespace not in self._complete:
            return None
        found = []
        for version in self._versions.get(key, ()):
            deployment, _, build = version.partition(":")
            status = self._statuses.get((key.namespace, deployment), {}).get(build, _DRAINED)
            if status != _DRAINED:
                found.append((_ORDER.index(status) if status in _ORDER else len(_ORDER), version))
        return tuple(version for _, version in sorted(found)[:MAX_VERSIONS])

    def problem(self) -> SourceError | None:
        """Why the queues of some namespace are not known; None when all are."""
        watched, with_queues = self._watched, {key.namespace for key in self.last_seen}
        waiting, forbidden = 0, []
        for namespace in self.namespaces:
            listings = [self._results.get(Job(what, namespace), _Result()) for what in ("running", "closed")]
            if namespace in with_queues or all(d.succeeded for d in listings):
                continue
            failed = next((d.error for d in listings if d.error is not None), None)
            if failed is None:
                waiting += 1
            elif failed.code is not MissingCode.FORBIDDEN or self._listed is None or watched.names(namespace):
                return failed
            else:  # It is watched only because it was listed: it is left out where it may not be read.
                forbidden.append(failed)
        if forbidden and len(forbidden) == len(self.namespaces):
            return forbidden[0]
        if not waiting:
            return None
        known = len(self.namespaces) - waiting
        detail = f"the task queues of {known} of {len(self.namespaces)} namespaces are known so far"
        return SourceError(MissingCode.DROPPED, detail)

    def workers_unlisted(self) -> SourceError | None:
        """Why the workers of some namespace cannot be listed; None when all can, or were not yet."""
        results = (self._results.get(Job("workers", namespace), _Result()) for namespace in self.namespaces)
        return next((result.error for result in results if result.error is not None), None)

    def refused(self) -> tuple[str, ...]:
        """The lists that permissions forbid, in words."""
        errors = [result.error for result in self._results.values() if result.error is not None]
        return tuple(str(error) for error in errors if error.code is MissingCode.FORBIDDEN)

    async def advance(self, now: Instant, limit: int) -> None:
        """Make up to `limit` of the calls that are due, those overdue longest first."""
        self.last_seen.update(dict.fromkeys(self._watched.named, now))
        end = self._client.calls + limit
        while jobs := self._due(now)[: max(0, end - self._client.calls)]:
            await asyncio.gather(*(self._run(job, now) for job in jobs))
        self._forget(now)

    def _forget(self, now: Instant) -> None:
        namespaces = set(self.namespaces)
        self.last_seen = {
            key: seen
            for key, seen in self.last_seen.items()
            if (now - seen).total("seconds") < REMEMBER_SEC
            and (key.namespace in namespaces or key in self._watched.named)
            and not self._watched.leaves_out(key.task_queue)
        }
        self._versions = {key: versions for key, versions in self._versions.items() if key in self.last_seen}
        self._complete |= {namespace for namespace in namespaces if self._versions_known(namespace)}

    def _versions_known(self, namespace: str) -> bool:
        """Whether every worker version of a namespace was listed once, or its server has none."""
        found = [self._results.get(job, _Result()) for job in self._jobs_of_versions(namespace)]
        return all(d.succeeded or (d.error and d.error.code is MissingCode.ABSENT) for d in found)

    def _jobs_of_versions(self, namespace: str) -> list[Job]:
        jobs = [Job("deployments", namespace)]
        for (of, deployment), builds in self._statuses.items():
            if of == namespace:
                jobs.append(Job("deployment", namespace, deployment))
                jobs += [Job("version", namespace, deployment, b) for b, status in builds.items() if status != _DRAINED]
        return jobs

    def _due(self, now: Instant) -> list[Job]:
        jobs = [Job("namespaces")] if not self._watched.namespaces else []
        if jobs and jobs[0] not in self._results:
            return jobs
        for namespace in self.namespaces:
            jobs += [Job(what, namespace) for what in OF_NAMESPACE] + self._jobs_of_versions(namespace)
        self._results = {job: self._results.get(job, _Result()) for job in jobs}
        due = [job for job in jobs if self._results[job].due <= now]
        return sorted(due, key=lambda job: (self._results[job].due, LISTS.index(job.what)))

    async def _run(self, job: Job, now: Instant) -> None:
        result = self._results.setdefault(job, _Result())
        try:
            result.due = now.add(seconds=await self.fetch(job, now))
            result.error, result.succeeded = None, True
        except SourceError as error:
            lasting = error.code in (MissingCode.FORBIDDEN, MissingCode.ABSENT)
            result.due = now.add(seconds=REFUSED_AGAIN_SEC if lasting else FAILED_AGAIN_SEC)
            result.error = error

    async def fetch(self, job: Job, now: Instant) -> float:
        """Fetch a list; returns the seconds after which it is due again. Raises SourceError."""
        return await getattr(self, f"_{job.what}")(job, now) or LIST_EVERY_SEC

    def _saw(self, namespace: str, queue: str, now: Instant, version: str = "") -> None:
        """A queue is in use, by a worker version if one is given."""
        if queue and not self._watched.leaves_out(queue):
            key = QueueKey(namespace, queue)
            self.last_seen[key] = now
            if version:
                self._versions.setdefault(key, set()).add(version)

    async def _namespaces(self, job: Job, _now: Instant) -> None:
        pages = await self._client.pages(v1.ListNamespacesRequest(page_size=200), str(job))
        infos = [namespace.namespace_info for page in pages for namespace in page.namespaces]
        deleted = NamespaceState.NAMESPACE_STATE_DELETED
        self._listed = tuple(sorted(i.name for i in infos if i.state != deleted and i.name not in SYSTEM_NAMESPACES))

    async def _running(self, job: Job, now: Instant) -> None:
        since = now.subtract(seconds=REMEMBER_SEC).format_iso()
        query = RUNNING if job.what == "running" else f'ExecutionStatus != "Running" AND CloseTime > "{since}"'
        found: set[str] = set()
        for _ in range(MAX_PAGES):  # A page may be all of one busy queue: the next one leaves the known queues out.
            names = ", ".join(f"'{queue}'" for queue in sorted(found) if not _NO_LITERAL.intersection(queue))
            others = f" AND TaskQueue NOT IN ({names})" if names else ""
            request = v1.ListWorkflowExecutionsRequest(namespace=job.namespace, page_size=200, query=query + others)
            answer = await self._client.call(request, str(job))
            found.update(execution.task_queue for execution in answer.executions)
            if not answer.next_page_token:
                break
        for queue in found:
            self._saw(job.namespace, queue, now)

    _closed = _running

    async def _activities(self, job: Job, now: Instant) -> None:
        request = v1.ListActivityExecutionsRequest(namespace=job.namespace, page_size=200, query=RUNNING)
        for execution in (await self._client.call(request, str(job))).executions:
            self._saw(job.namespace, execution.task_queue, now)

    async def _workers(self, job: Job, now: Instant) -> float:
        pages = await self._client.pages(v1.ListWorkersRequest(namespace=job.namespace, page_size=1000), str(job))
        beats = [info.worker_heartbeat for page in pages for info in page.workers_info]
        for worker in [worker for page in pages for worker in page.workers] or beats:
            of = worker.deployment_version
            version = worker_version(of.deployment_name, of.build_id) if of.deployment_name else ""
            self._saw(job.namespace, worker.task_queue, now, version)
        kept = [beat for beat in beats if not self._watched.leaves_out(beat.task_queue)]
        self.heartbeats.record(job.namespace, kept, now, complete=not pages[-1].next_page_token)
        self.changes.workers(job.namespace, [beat for _, beat in self.heartbeats.live((job.namespace,))])
        return HEARTBEATS_EVERY_SEC if beats else LIST_EVERY_SEC

    async def _deployments(self, job: Job, _now: Instant) -> float:
        found = set()
        request = v1.ListWorkerDeploymentsRequest(namespace=job.namespace, page_size=100)
        for page in await self._client.pages(request, str(job)):
            for deployment in page.worker_deployments:
                found.add((job.namespace, deployment.name))
                statuses = self._statuses.setdefault((job.namespace, deployment.name), {})
                for which in ("latest", "current", "ramping"):
                    summary = getattr(deployment, f"{which}_version_summary")
                    if summary.deployment_version.build_id:
                        statuses[summary.deployment_version.build_id] = summary.status
        self._statuses = {k: builds for k, builds in self._statuses.items() if k[0] != job.namespace or k in found}
        return CURRENT_VERSIONS_EVERY_SEC if found else LIST_EVERY_SEC

    async def _deployment(self, job: Job, _now: Instant) -> None:
        request = v1.DescribeWorkerDeploymentRequest(namespace=job.namespace, deployment_name=job.deployment)
        answer = await self._client.call(request, str(job))
        self.changes.deployment(job.namespace, answer.worker_deployment_info)
        self._statuses[(job.namespace, job.deployment)] = {
            s.deployment_version.build_id: s.status for s in answer.worker_deployment_info.version_summaries
        }

    async def _version(self, job: Job, now: Instant) -> float:
        request = v1.DescribeWorkerDeploymentVersionRequest(namespace=job.namespace)
        request.deployment_version.deployment_name = job.deployment
        request.deployment_version.build_id = job.build
        answer = await self._client.call(request, str(job))
        for info in answer.worker_deployment_version_info.task_queue_infos:
            self._saw(job.namespace, info.name, now, worker_version(job.deployment, job.build))
        return QUEUES_OF_VERSION_EVERY_SEC
