"""A Temporal frontend, for `copilot doctor`: whether it answers, its namespace, the task queues that are in use, and
whose heartbeats it lists."""

import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from whenever import Instant

from copilot.diagnosis import Check, CheckStatus
from copilot.errors import SettingsError, SourceError
from copilot.rules.signals.readings import MissingCode, ServerFacts
from copilot.rules.signals.taxonomy import SPECS
from copilot.settings.clusters import ClusterSettings
from copilot.sources.temporal.client import watched_client
from copilot.sources.temporal.health import Frontend
from copilot.sources.temporal.heartbeats import HEARTBEAT_IDS
from copilot.sources.temporal.queues import QueueKey

NAMED_QUEUES = 5
OK, WARNING, FAILED, SKIPPED = CheckStatus.OK, CheckStatus.WARNING, CheckStatus.FAILED, CheckStatus.SKIPPED
_FRONTEND_FIXES = {
    MissingCode.TARGET_DOWN: "is it running, and listening there? Check the address, and TLS in the TEMPORAL_* profile",
    MissingCode.TIMEOUT: "is the network open from here, and the server alive?",
    MissingCode.FORBIDDEN: "give the account of the TEMPORAL_* profile (API key, certificate) permission to read",
    MissingCode.ABSENT: "check the name; `temporal operator namespace list` shows all",
    MissingCode.DROPPED: "raise the namespace's rate limit (frontend.namespaceRPS)",
}
_ANSWERED_FIXES = {
    **_FRONTEND_FIXES,
    MissingCode.TIMEOUT: "the frontend answers, this takes long: look at the load of its visibility store, and here",
    MissingCode.TARGET_DOWN: "the frontend answers, what is behind it does not: look at history, matching and database",
}

T = TypeVar("T")


def checked(status: CheckStatus, name: str, found: str, fix: str = "") -> Check:
    """One line of the diagnosis; `fix` says what to do."""
    return Check(name=name, status=status, found=found, fix=fix)


async def twice(call: Callable[[], Awaitable[T]]) -> T:
    """The answer to a call, which is made once more if it timed out. SourceError as it raises."""
    try:
        return await call()
    except SourceError as error:
        if error.code is not MissingCode.TIMEOUT:
            raise
    return await call()


async def check_watched(cluster: ClusterSettings) -> tuple[tuple[Check, ...], ServerFacts]:
    """The checks of a watched cluster's frontend, and what it says of its cluster."""
    if cluster.temporal is None:
        fix = "add [clusters.temporal] address: it has backlogs, their age and pollers without delay"
        return (checked(SKIPPED, "Temporal frontend", "not configured", fix),), ServerFacts()
    try:
        frontend = Frontend(await watched_client(cluster.temporal))
    except SettingsError as error:
        return (checked(FAILED, "Temporal frontend", str(error)),), ServerFacts()
    checks, facts = await check_frontend("Temporal frontend", frontend)
    if checks[0].status is not OK:
        return (*checks, checked(SKIPPED, "task queues", "not tried")), facts
    return (*checks, *await _in_use(frontend, cluster)), facts


async def _in_use(frontend: Frontend, cluster: ClusterSettings) -> tuple[Check, ...]:
    try:
        queues, unlisted, workers = await twice(lambda: frontend.in_use(cluster, Instant.now()))
    except SourceError as error:
        return (_refused("task queues", error, WARNING, _ANSWERED_FIXES),)
    return _queues_in_use(queues, unlisted), *_heartbeats(workers, cluster)


def _queues_in_use(queues: Sequence[QueueKey], unlisted: Sequence[str]) -> Check:
    if not queues:
        return checked(SKIPPED, "task queues", "none is in use yet")
    more = f" and {len(queues) - NAMED_QUEUES} more" if len(queues) > NAMED_QUEUES else ""
    several = len({key.namespace for key in queues}) > 1
    names = [f"{key.namespace}/{key.task_queue}" if several else key.task_queue for key in queues]
    found = f"{', '.join(names[:NAMED_QUEUES])}{more} in use, with permission to describe them"
    if unlisted:
        fix = _FRONTEND_FIXES[MissingCode.FORBIDDEN] + "; name what it cannot list in task_queues and namespaces"
        found += f"; {unlisted[0]}" + (f" (and {len(unlisted) - 1} more)" if len(unlisted) > 1 else "")
        return checked(WARNING, "task queues", found, fix)
    return checked(OK, "task queues", found)


def _heartbeats(workers: Counter[str] | None, cluster: ClusterSettings) -> Iterator[Check]:
    """Which workers send heartbeats, and where none is scraped, what scraping them would add. Where workers are scraped
    heartbeats are not missed."""
    name, counts = "worker heartbeats", workers or Counter[str]()
    scraped = cluster.prometheus is not None or any(page.role == "worker" for page in cluster.metrics)
    if not counts:
        unlisted = "this server does not list them, or not to this account"
        none = unlisted if workers is None else "no worker sends any; SDKs do by default, Python since 1.20"
        yield from () if scraped else (checked(SKIPPED, name, none),)
        return
    total, sdks = counts.total(), ", ".join(f"{sdk} × {n}" for sdk, n in counts.most_common())
    found = f"sent by {total} worker{'s' if total != 1 else ''} ({sdks})"
    if not scraped:
        more = [spec.id for spec in SPECS.values() if spec.role == "worker" and spec.source == "metrics"]
        found += f": scraping is not needed for {', '.join(HEARTBEAT_IDS)}; only a scrape gives {', '.join(more)}"
    yield checked(OK, name, found)


async def check_frontend(name: str, frontend: Frontend) -> tuple[tuple[Check, Check], ServerFacts]:
    """Whether the frontend answers, and its namespace exists; and what it says of its cluster."""
    where, namespace = f"{name} {frontend.address}", f"namespace {frontend.namespace}"
    try:
        version = await twice(frontend.version)
    except SourceError as error:
        return (_refused(where, error, FAILED), checked(SKIPPED, namespace, "not tried")), ServerFacts()
    text, facts = f"server {version or 'of an unknown version'}", ServerFacts(version=version)
    with contextlib.suppress(SourceError):
        facts = await twice(frontend.facts)
        shards = f"{facts.history_shards} history shard{'s' if facts.history_shards != 1 else ''}"
        text += f", cluster {facts.cluster_name}, {shards}" if facts.cluster_name else f", {shards}"
    answers = checked(OK, where, text)
    try:
        await twice(frontend.find_namespace)
    except SourceError as error:
        forbidden = error.code is MissingCode.FORBIDDEN
        refused = _refused(namespace, error, WARNING if forbidden else FAILED, _ANSWERED_FIXES)
        return (answers, refused), facts
    return (answers, checked(OK, namespace, "exists")), facts


def _refused(
    name: str, error: SourceError, status: CheckStatus, fixes: Mapping[MissingCode, str] = _FRONTEND_FIXES
) -> Check:
    return checked(status, name, str(error), fixes.get(error.code, ""))
