"""Findings about worker versions: one that fails more than another."""

from collections.abc import Iterator
from typing import NamedTuple

from copilot.rules.findings.context import Action, Finding, FindingContext, Found
from copilot.rules.findings.queues import UNVERSIONED
from copilot.rules.gates import pressure
from copilot.rules.gates.registry import SERVER_REFUSES, SERVER_SLOW
from copilot.rules.model import ActionType, Evidence

FAILURES = "version.task_failure_ratio"
BAD_RATIO = 0.05
TIMES_WORSE = 5.0
GATES = {
    "workflow": (pressure.WORKFLOW_TASK_FAILURES, pressure.WORKFLOW_TASK_ATTEMPTS),
    "activity": (pressure.ACTIVITY_FAILURES,),
}


class _Pair(NamedTuple):
    """Two versions of one deployment on a task queue: the one that fails, the one that does better, and their shares of
    failed tasks."""

    namespace: str
    queue: str
    kind: str
    version: str
    share: float
    better: str
    least: float


def _pairs(context: FindingContext) -> Iterator[_Pair]:
    by_queue: dict[tuple[str, str, str], dict[str, float]] = {}
    for row in context.view.signals.rows(FAILURES):
        place = row.label("namespace"), row.label("task_queue"), row.label("task_type")
        by_queue.setdefault(place, {})[row.label("worker_version")] = row.value
    for place, shares in by_queue.items():
        for version, share in shares.items():
            deployment = version.partition(":")[0]
            others = [v for v in shares if v != version and v.partition(":")[0] in (deployment, UNVERSIONED)]
            if version == UNVERSIONED or not others or share < BAD_RATIO:
                continue
            better = min(others, key=lambda v: (shares[v], v == UNVERSIONED, v))
            if share >= TIMES_WORSE * shares[better]:
                yield _Pair(*place, version, share, better, shares[better])


def _version_failing(context: FindingContext) -> Found | None:
    """A worker version fails tasks that another version on the same task queue does not fail."""
    if context.firing(*SERVER_REFUSES, *SERVER_SLOW):
        return None
    pairs = [(context.firing(*GATES[pair.kind]), pair) for pair in _pairs(context) if pair.kind in GATES]
    if not pairs:
        return None
    gates, worst = max(pairs, key=lambda found: (bool(found[0]), found[1].share))
    deployment, _, build = worst.version.partition(":")
    queues = tuple(sorted({p.queue for _, p in pairs if (p.version, p.kind) == (worst.version, worst.kind)}))
    evidence: Evidence = {
        "kind": worst.kind, "namespace": worst.namespace, "deployment": deployment, "build": build, "queues": queues,
        "share": worst.share, "better": worst.better, "least": worst.least,
    }  # fmt: skip
    if worst.better == UNVERSIONED:
        evidence["unversioned"] = "yes"
    else:
        evidence["better_build"] = worst.better.partition(":")[2]
    return Found(gates, evidence, worst.version, signals=(FAILURES,), sure=context.settled(VERSION_FAILING.name))


VERSION_FAILING = Finding(
    "version_failing", _version_failing, "workers",
    title="Build {build:code} fails {share:percent} of its {kind} tasks on {queues:code}",
    cause="On the same task queue, [build {better_build:code} fails {least:percent}][{unversioned:flag}unversioned "
    "workers fail {least:percent}]: the failures come with the build.",
    actions=(
        Action("route_back", ActionType.CONFIGURE, "workers", "Route new work to [build {better_build:code}][{unversioned:flag}unversioned workers]: `temporal worker deployment set-current-version --namespace {namespace:shell} --deployment-name {deployment:shell}[ --build-id {better_build:shell}][{unversioned:flag} --unversioned]`. Its workers still poll. Executions that are not pinned continue there by themselves; do not terminate them.", 0.9, "medium"),
        Action("read_build_log", ActionType.ALERT, "workers", "Find in the log of a worker of build {build:code} why its tasks fail.", 0.7),
    ),
    logs=("nondeterminism", "panic", "message too large"),
    looks_like=("workflow_task_failures", "Here only one build fails, and another on the same queue does not; there nothing tells builds apart."),
)  # fmt: skip
