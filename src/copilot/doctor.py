"""The checks of `copilot doctor`: connections, permissions and clocks, and one reading of each cluster."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path

from whenever import Instant

from copilot import bootstrap, pipeline
from copilot.cloud_checks import check_cloud
from copilot.diagnosis import Check, Diagnosis, diagnose_cluster, distrust_reasons, upgrade_adds
from copilot.errors import SettingsError, SourceError, StoreError
from copilot.frontend_checks import FAILED, OK, SKIPPED, WARNING, check_frontend, check_watched, checked, twice
from copilot.logs.counting import LogMemory, count_lines
from copilot.logs.lines import NO_LEVEL
from copilot.logs.patterns import PatternBook
from copilot.metrics.continuity import DELTAS
from copilot.redaction.redactor import redacted
from copilot.replay import read_ticks, record
from copilot.rules.signals.logs import LogReading, with_logs
from copilot.rules.signals.readings import MissingCode, ServerFacts, Signals
from copilot.rules.signals.versions import lowest
from copilot.settings.clusters import ClusterSettings, MetricsEndpoint
from copilot.settings.load import Settings
from copilot.sources import Source
from copilot.sources import checks as looks
from copilot.sources.checks import PageCheck, RoleCheck, ServerProcesses
from copilot.sources.logs.loki_api import advice
from copilot.sources.logs.loki_counting import COUNTED
from copilot.sources.scrape.discovery import DiscoveredPods, Discovery
from copilot.sources.scrape.pages import same_process
from copilot.sources.temporal.health import Frontend
from copilot.sources.temporal.source import TemporalApiSource
from copilot.store.check import inspect

DEADLINE_SEC = 10.0
SKEW_SEC = 5.0
Progress = Callable[[str, float, float], None]
"""Called with a cluster's name, the seconds read so far, and how many there will be."""

_PAGE_FIXES = {
    MissingCode.TARGET_DOWN: "is it running, and listening there? Check the address",
    MissingCode.FORBIDDEN: "let this machine in, or give credentials in the url (https://user:password@…)",
    MissingCode.ABSENT: "check the path; usually it is /metrics",
    MissingCode.PARSE: "is this the metrics port? The page is in Prometheus' text format, usually at /metrics",
    MissingCode.TIMEOUT: "is the network open from here, and the process alive?",
    MissingCode.DROPPED: "lower the number of series it exports, or allow more requests",
}
_PROMETHEUS_FIXES = {
    **_PAGE_FIXES,
    MissingCode.FORBIDDEN: "give a bearer token, a basic user, or sigv4, with permission to query",
    MissingCode.ABSENT: "url is the address before /api/v1/query",
    MissingCode.PARSE: "url is the address before /api/v1/query",
    MissingCode.DROPPED: "raise its limits of samples or requests",
}
_LATENCY_FIXES = {
    looks.NO_BUCKETS: "export histograms, with buckets of milliseconds",
    looks.TOO_COARSE: "give its histograms buckets of milliseconds",
}
_LOG_FIXES = {
    MissingCode.TARGET_DOWN: "is the Loki running, and listening there? Without logs the Copilot uses metrics alone",
    MissingCode.FORBIDDEN: "let this account read them; for a Loki give tenant and credentials",
    MissingCode.ABSENT: "check the path, or the url (the address before /loki/api/v1/query_range)",
    MissingCode.PARSE: "check the url and the query: it must select lines, not compute numbers",
    MissingCode.TIMEOUT: "is the network open from here? Select fewer lines",
    MissingCode.DROPPED: "select fewer lines, or raise the Loki's limits",
}


async def diagnose(
    settings: Settings,
    clusters: Sequence[ClusterSettings],
    *,
    quick: bool = False,
    progress: Progress = lambda _cluster, _elapsed, _total: None,
) -> Diagnosis:
    """Check everything and read these clusters for one rate window (`quick`: two scrapes), concurrently."""
    ((temporal, itself), store), found = await asyncio.gather(
        asyncio.gather(_own_temporal(settings, clusters), _own_store(settings)),
        asyncio.gather(*(_cluster(c, quick, progress) for c in clusters)),
    )
    both_fail = checked(
        WARNING,
        "who watches",
        "the Copilot's own Temporal is this cluster: both fail together",
        "give [temporal] the address of another one, or none: `copilot up` starts its own",
    )
    return Diagnosis(
        own=(*temporal, store),
        clusters=tuple(
            diagnose_cluster(c.name, (*checks, *([both_fail] if c.name in itself else [])), signals)
            for c, (checks, signals) in zip(clusters, found, strict=True)
        ),
    )


async def record_cluster(
    cluster: ClusterSettings,
    file: Path,
    for_sec: float,
    recorded: Callable[[int, Signals], None],
    *,
    hide_addresses: bool = False,
) -> None:
    """Record a cluster for `for_sec` seconds (see `replay.record`)."""
    async with _open_sources(cluster) as sources:
        await record(cluster, sources, file, for_sec, recorded, hide_addresses=hide_addresses)


@contextlib.asynccontextmanager
async def _open_sources(cluster: ClusterSettings) -> AsyncIterator[tuple[Source, ...]]:
    sources = bootstrap.sources(cluster)
    try:
        yield sources
    finally:
        for source in sources:
            await source.aclose()


async def _cluster(cluster: ClusterSettings, quick: bool, progress: Progress) -> tuple[tuple[Check, ...], Signals]:
    # One after the other: what doctor itself reads must not make its checks time out.
    (metrics, found), (frontend, facts) = await asyncio.gather(_metrics(cluster), check_watched(cluster))
    (signals, ahead), (logs, seen) = await asyncio.gather(
        _reading(cluster, quick, progress), check_logs(cluster, quick)
    )
    frontend = (*frontend, *([_clocks({frontend[0].name: ahead})] if abs(ahead) > SKEW_SEC else []))
    if not distrust_reasons(signals):
        metrics = tuple(map(_read_after_all, metrics))
    versions = frozenset(filter(None, (facts.version, *(version for each in found for version in each.versions))))
    release = _release(versions, signals) if found else ()
    processes = _processes(found, facts, listed=bool(cluster.metrics))
    return (*metrics, *processes, *frontend, *release, *logs), with_logs(signals, seen, stale_sec=600)


def _read_after_all(check: Check) -> Check:
    """The check; a warning where it failed because it timed out twice, and all was read a moment later."""
    if check.status is not FAILED or not check.found.startswith("timed out"):
        return check
    return checked(
        WARNING, check.name, f"{check.found}; read later", "it answers slowly: is it, or this machine, busy?"
    )


def _release(versions: frozenset[str], signals: Signals) -> tuple[Check, ...]:
    """Which release counts, and what a newer one would add."""
    name, said = "server version", ", ".join(sorted(version.replace("_", ".") for version in versions))
    if (release := lowest(versions)) is not None:
        adds = upgrade_adds(release, signals)
        return (checked(OK, name, "{}.{}".format(*release) + (f" → {adds}" if adds else "")),)
    found = f"{said}: not a release that is known" if said else "unknown"
    fix = "what some releases lack is missing unless it is seen, never zero: "
    fix += "keep build_information in what is scraped, or give [clusters.temporal] address"
    return (checked(WARNING, name, found, fix),)


async def _reading(cluster: ClusterSettings, quick: bool, progress: Progress) -> tuple[Signals, float]:
    """The signals, and how far the clock of Temporal's servers is ahead of this machine's, by what its API listed."""
    began = Instant.now()
    signals = Signals(time=began, readings={})
    async with _open_sources(cluster) as sources:
        if quick:
            signals = await pipeline.collect(sources, began)
        else:
            step = min(cluster.interval_sec, cluster.window / 2)
            progress(cluster.name, 0.0, cluster.window)
            async for signals in read_ticks(sources, step, cluster.window + step / 2):
                progress(cluster.name, (signals.time - began).total("seconds"), cluster.window)
        return signals, next((s.ahead_sec for s in sources if isinstance(s, TemporalApiSource)), 0.0)


async def _metrics(cluster: ClusterSettings) -> tuple[tuple[Check, ...], list[ServerProcesses]]:
    discovery = Discovery(cluster.metrics)
    endpoints = [e for e in await discovery.endpoints() if discovery.pods(e) is None]
    answers = await asyncio.gather(*map(_page, endpoints))
    pages = [(check.name.rpartition(" ")[2], page) for check, page in answers if page is not None]
    listed = (pods_check(e, pods) for e in cluster.metrics if (pods := discovery.pods(e)) is not None)
    checks = [*listed, *(check for check, _ in answers), *_twins(pages)]
    found = [page.processes for _, page in pages]
    ahead = {check.name: page.ahead_sec for check, page in answers if page is not None}
    if (settings := cluster.prometheus) is not None:
        name = f"Prometheus {settings.url}"
        try:
            there = await twice(lambda: looks.check_prometheus(settings, cluster.window))
        except SourceError as error:
            checks.append(checked(FAILED, name, error.detail, _PROMETHEUS_FIXES.get(error.code, "")))
        else:
            version = f"version {there.version}, " if there.version else ""
            checks.append(checked(OK, name, f"{version}{there.took_sec:.2f} s for an answer"))
            read = there.roles if cluster.cloud is None else [r for r in there.roles if r.role == "worker"]
            checks += (_role(role, cluster.window) for role in read)
            found.append(there.processes)
            ahead[name] = there.ahead_sec
    known = {name: sec for name, sec in ahead.items() if sec is not None}
    of_cloud = (await check_cloud(cluster),) if cluster.cloud is not None else ()
    return (*of_cloud, *checks, *([_clocks(known)] if checks else [])), found


def _twins(pages: Sequence[tuple[str, PageCheck]]) -> Iterator[Check]:
    """Pages of one process, which counts once."""
    for (one, page), (other, again) in combinations(pages, 2):
        if same_process(page.sums, again.sums):
            found, fix = f"{other} is the process of {one}; it counts once", "list each process once"
            yield checked(WARNING, "one process twice", found, fix)


def _processes(found: Iterable[ServerProcesses], facts: ServerFacts, *, listed: bool) -> tuple[Check, ...]:
    """How many processes of each service of the server are read; one that is not read is not watched."""
    counts, shards = Counter[str](), list[int]()
    for each in found:
        counts.update(each.services)
        shards += each.shards
    if not counts:
        return ()
    owned, there, warnings = sum(shards), facts.history_shards, []
    fix = "list the page of every server process" if listed else "have Prometheus scrape every server process"
    texts = {service: f"{service} × {counts[service]}" for service in sorted(counts)}
    if shards and there and "history" in texts:
        texts["history"] += f" ({' + '.join(map(str, sorted(shards)))} of {there} shard{'s' if there != 1 else ''})"
        if owned != there:
            warnings.append("some are read twice, or" if owned > there else "a history process is not read, or")
            warnings[-1] += " shards move just now"
    warnings += [f"no {service} page is read" for service in sorted(looks.SERVICES - counts.keys())]
    text = "; ".join((", ".join(texts.values()), *warnings))
    return (checked(WARNING if warnings else OK, "server processes", text, fix if warnings else ""),)


def _role(found: RoleCheck, window_sec: float) -> Check:
    """A role's targets in a Prometheus. None may be intended; the coverage shows what that costs."""
    name, status, fix = f"its {found.role} metrics", OK, ""
    text = f"{found.living} target{'s' if found.living > 1 else ''}"
    text += "".join((f", {found.down} down" if found.down else "", *(f"; {each}" for each in found.spellings)))
    if found.twins:
        text += f"; what job {', '.join(found.twins)} scrapes again counts once"
    text += "".join(f"; {instance} is the process of {of}: it counts once" for instance, of in found.again)
    if found.broken:
        why = found.broken[0][1]
        text = f"{found.living} targets, and {', '.join(instance for instance, _ in found.broken)}: {why}"
        status, fix = WARNING, "let it find every process by itself (pods, not their service)"
        fix = "export cumulative counters" if why == DELTAS else fix
    elif not found.living:
        text = f"all {found.down} targets are down" if found.down else "no target"
        status, fix = WARNING, f"let it scrape every {found.role}, or fix selector and prefix"
    elif found.samples < looks.MIN_SAMPLES:
        text += f", {found.samples} samples of a counter in the rate window of {window_sec:g} s"
        status, fix = WARNING, "ask again in a minute if it just started, else set window_sec to four scrape intervals"
        if (every := found.scraped_every_sec) is not None:
            fix = f"it is scraped every {every:g} s: set window_sec = {4 * every:g}"
    elif found.latencies:
        return _latencies(name, text, found.latencies)
    return checked(status, name, text, fix)


def pods_check(endpoint: MetricsEndpoint, pods: DiscoveredPods) -> Check:
    """What Kubernetes' API lists for an endpoint: the pods that are read, and those without the port."""
    name, count = f"{endpoint.role} pods {endpoint.name}", len(pods.read)
    if pods.problem is not None:
        status = FAILED if endpoint.role == "server" else WARNING
        return checked(status, name, str(pods.problem), "see docs/connect.md, Pods of Kubernetes")
    others = f"; without this port: {', '.join(pods.left_out)}" if pods.left_out else ""
    names = ", ".join(pod.name for pod in pods.read)
    return checked(OK, name, f"{count} pod{'' if count == 1 else 's'}: {names}{others}")


async def _page(endpoint: MetricsEndpoint) -> tuple[Check, PageCheck | None]:
    name = f"{endpoint.role} metrics {endpoint.name}"
    worst = FAILED if endpoint.role == "server" else WARNING
    try:
        page = await twice(lambda: looks.check_page(endpoint))
    except SourceError as error:
        return checked(worst, name, error.detail, _PAGE_FIXES.get(error.code, "")), None
    size = f"{page.size_bytes / 1000:.0f} kB in {page.took_sec:.2f} s{page.left_out and f'; {page.left_out}'}"
    if page.looks_like:
        text, fix = f"{size}, a {page.looks_like}'s page", f'set role = "{page.looks_like}" for it'
    elif page.families:
        services = page.processes.services
        those = f", those of {', '.join(services)}" if 0 < len(services) < len(looks.SERVICES) else ""
        text = f"{size}, {page.families} of {page.families_known} known families{those}; {'; '.join(page.spellings)}"
        return _latencies(name, text, page.latencies), page
    elif not page.size_bytes:
        text, fix = "it answers with an empty page", f"turn the Prometheus listener of the {endpoint.role} on"
    else:
        text, fix = f"{size}, nothing of a Temporal {endpoint.role} in it", _PAGE_FIXES[MissingCode.PARSE]
    return checked(worst, name, text, fix), page


def _latencies(name: str, text: str, latencies: Sequence[str]) -> Check:
    """A check of metrics that can be read, perhaps without their latencies."""
    fix = next((_LATENCY_FIXES[what] for what in latencies if what in _LATENCY_FIXES), "")
    found = f"{text}; latencies: {', '.join(latencies)}" if latencies else text
    return checked(WARNING if fix else OK, name, found, fix)


def _clocks(ahead: dict[str, float]) -> Check:
    if not ahead:
        return checked(SKIPPED, "clocks", "no metrics page sends its time")
    name, worst = max(ahead.items(), key=lambda item: abs(item[1]))
    if abs(worst) <= SKEW_SEC:
        return checked(OK, "clocks", f"within {max(1.0, abs(worst)):.0f} s of this machine's")
    which = "ahead of" if worst > 0 else "behind"
    found = f"{name.rpartition(' ')[2]} is {abs(worst):.0f} s {which} this machine"
    return checked(WARNING, "clocks", found, "set both by NTP")


async def check_logs(cluster: ClusterSettings, quick: bool) -> tuple[tuple[Check, ...], LogReading | None]:
    """Read a cluster's logs for one rate window (`quick`: two seconds): their check, and the reading, None where there
    is none. No check if no logs are configured."""
    if cluster.logs is None:
        return (), None
    where = f"logs of {cluster.logs.loki.url}" if cluster.logs.loki else f"logs {cluster.logs.files[0]}"
    try:
        source = bootstrap.log_source(cluster.logs)
    except SettingsError as error:
        return (checked(WARNING, where, str(error)),), None
    try:
        began = Instant.now()
        first = await source.read(None, began, DEADLINE_SEC)
        await asyncio.sleep(2.0 if quick else cluster.window)
        now = Instant.now()
        batch = await source.read(first.cursor, now, DEADLINE_SEC)
    finally:
        await source.aclose()
    if batch.missing is not None:
        fix = (advice(batch.missing) if cluster.logs.loki else "") or _LOG_FIXES.get(batch.missing.code, "")
        check = checked(WARNING, where, batch.missing.detail, fix)
        return (check,), LogReading(time=now, missing=batch.missing)
    span = batch.span_sec or 1.0
    _, seen = count_lines(
        LogMemory(),
        batch.lines,
        now,
        span_sec=span,
        window_sec=cluster.window,
        book=PatternBook([p.pattern() for p in cluster.logs.patterns]),
        redact=redacted,
        counted=batch.counted,
    )
    if batch.counted is not None:
        found = f"{batch.counted.total} lines in {span:.0f} s, counted by the Loki: {COUNTED}"
        text = f"; most frequent: {seen.patterns[0].pattern}" if seen.patterns else ""
        return (checked(OK, where, found + text),), seen
    levelled = sum(line.level != NO_LEVEL for line in batch.lines)
    found = f"{len(batch.lines)} lines in {span:.0f} s" + (f", {levelled} with a level" if batch.lines else "")
    if batch.note:
        return (checked(WARNING, where, f"{found}: {batch.note}", _LOG_FIXES[MissingCode.TIMEOUT]),), seen
    if batch.lines and not levelled:
        fix = "is it a Temporal server's log? Its lines are JSON or text with a level"
        return (checked(WARNING, where, found, fix),), seen
    text = f"; most frequent: {seen.patterns[0].pattern}" if seen.patterns else ""
    return (checked(OK, where, found + text),), seen


async def _own_temporal(
    settings: Settings, clusters: Sequence[ClusterSettings]
) -> tuple[tuple[Check, ...], tuple[str, ...]]:
    """The checks of the Copilot's own Temporal, and the names of the clusters that it is."""
    name = "the Copilot's Temporal"
    if not settings.temporal.given:
        return (checked(SKIPPED, name, "not configured: `copilot up` starts one"),), ()
    try:
        client = await bootstrap.temporal_client(settings.temporal, lazy=True)
    except SettingsError as error:
        return (checked(FAILED, name, str(error)),), ()
    itself: tuple[str, ...] = ()
    with contextlib.suppress(SettingsError):
        itself = await bootstrap.watched_by_itself(client, clusters)
    return (await check_frontend(name, Frontend(client)))[0], itself


async def _own_store(settings: Settings) -> Check:
    if settings.store.url is None:
        return checked(SKIPPED, "the store", "not configured: `copilot up` starts one")
    try:
        found = await inspect(settings.store.url)
    except StoreError as error:
        return checked(FAILED, "the store", str(error), "start the database, or fix [store] url")
    name, text = f"the store {found.place}", f"{found.server}, schema version {found.schema_version}"
    if found.schema_version == found.newest_version:
        return checked(OK, name, text)
    text += f"; this program has {found.newest_version}"
    return checked(FAILED, name, text, "run `copilot db setup-schema`")
