"""The lists that tell of task queues and worker versions. A job is one call, of some lists up to three pages."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from temporalio.api.enums.v1 import NamespaceState
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

from copilot.sources.paced_calls import PacedCalls
from copilot.sources.queue_calls import version_of
from copilot.sources.task_queues import QueueKey

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
