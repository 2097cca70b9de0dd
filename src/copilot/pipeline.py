"""From sources to an evaluation, step by step: collect, merge, clean of secrets, evaluate, snapshot.

The loops run these steps as activities; `copilot replay` and the lab run them directly."""

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import TypeAlias

from pydantic import ValidationError
from whenever import Instant, TimeDelta

from copilot.errors import CopilotError, SettingsError, SourceError
from copilot.redaction.redactor import redacted, redacted_name
from copilot.rules.evaluate import RULES_VERSION, Context, evaluate
from copilot.rules.memory import Memory
from copilot.rules.model import Evaluation, Snapshot
from copilot.rules.signals.readings import BreakdownRow, Missing, MissingCode, ProcessRead, Signals, merge
from copilot.rules.signals.taxonomy import SPECS, TAXONOMY_VERSION
from copilot.rules.state_machine import MEMORY_LASTS
from copilot.settings.clusters import ClusterSettings
from copilot.settings.load import Settings
from copilot.sources import Source

_UNSAFE = re.compile(r"\W", re.ASCII)
log = logging.getLogger(__name__)


def cleaned(signals: Signals, *, addresses: bool = False) -> Signals:
    """The signals without secrets and control characters, as they are evaluated, stored and shown. `addresses`: without
    IP addresses too."""
    update: dict[str, object] = {}
    renamed = _renamed(signals, addresses)
    if signals.processes and (renamed or addresses):
        update["processes"] = tuple(_process(p, renamed, addresses) for p in signals.processes)
    if not renamed.keys().isdisjoint(name for names in signals.unread.values() for name in names):
        update["unread"] = {role: tuple(renamed.get(n, n) for n in names) for role, names in signals.unread.items()}
    if renamed:
        update["breakdowns"] = {i: tuple(_row(r, renamed) for r in rows) for i, rows in signals.breakdowns.items()}
    if addresses and signals.missing:
        update["missing"] = {
            i: m.model_copy(update={"detail": redacted(m.detail, addresses=True)}) for i, m in signals.missing.items()
        }
    unread = {role: tuple(redacted_name(n, addresses=addresses) for n in of) for role, of in signals.unread.items()}
    if unread != signals.unread:
        update["unread"] = unread
    if (server := signals.server) is not None:
        texts = {name: value for name, value in server if isinstance(value, str)}
        clean = server.model_copy(update={k: redacted(v, addresses=addresses) for k, v in texts.items()})
        if clean != server:
            update["server"] = clean
    if signals.changes:
        update["changes"] = tuple(change.cleaned(addresses=addresses) for change in signals.changes)
    return signals.model_copy(update=update) if update else signals


def names_of(name: str) -> tuple[str, ...]:
    """What a name the operator wrote may be called in cleaned signals."""
    return (name, redacted_name(name), redacted_name(name, addresses=True))


def _renamed(signals: Signals, addresses: bool) -> dict[str, str]:
    """New names of labels and targets that held a secret, as the API spells them and as metrics do."""
    names = {value for rows in signals.breakdowns.values() for row in rows for value in row.labels.values()}
    names.update(name for p in signals.processes for name in (p.instance, p.job))
    names.update(name for unread in signals.unread.values() for name in unread)
    changed = {n: clean for n in names if (clean := redacted_name(n, addresses=addresses)) != n}
    if not changed:
        return {}
    spelled = {s: clean for name, clean in changed.items() if (s := _UNSAFE.sub("_", name)) != name}
    return {**changed, **{n: spelled[n] for n in names if n in spelled}}


def _process(process: ProcessRead, renamed: dict[str, str], addresses: bool) -> ProcessRead:
    instance, job = (renamed.get(name, name) for name in (process.instance, process.job))
    if (missing := process.missing) is not None and addresses:
        missing = missing.model_copy(update={"detail": redacted(missing.detail, addresses=True)})
    return replace(process, instance=instance, job=job, missing=missing)


def _row(row: BreakdownRow, renamed: dict[str, str]) -> BreakdownRow:
    if renamed.keys().isdisjoint(row.labels.values()):
        return row
    return row.model_copy(update={"labels": {k: renamed.get(v, v) for k, v in row.labels.items()}})


API_LAST = frozenset(i for i, spec in SPECS.items() if spec.source == "metrics or api")
OF_CLOUD = frozenset({"demand.tasks_added_per_sec", "matching.tasks_dispatched_per_sec"})
"""Of these the API wins over Temporal Cloud's metrics: it is live, and they are two minutes old."""
NO_MEMORY = Memory()
Rules: TypeAlias = Callable[[Signals, Memory, Context], tuple[Evaluation, Memory]]


async def collect(
    sources: Sequence[Source],
    now: Instant,
    deadline_sec: float = 10.0,
    *,
    hide_addresses: bool = False,
    on_read: Callable[[Mapping[str, Signals]], object] = lambda _: None,
) -> Signals:
    """One reading of all sources, read concurrently within the deadline; signals of a source that is late are missing.
    Where two sources have a signal, Temporal's API wins, except for `API_LAST`, then the order given; `sources` names
    the winner, or a family that stands in. Secrets are replaced, and with `hide_addresses` IP addresses too. `on_read`
    gets each source's part."""
    preferred = sorted(sources, key=lambda source: source.name != "api")
    tasks = {source: asyncio.create_task(source.read(now), name=f"read {source.name}") for source in preferred}
    try:
        if tasks:
            await asyncio.wait(tasks.values(), timeout=deadline_sec)
        late = Missing(code=MissingCode.TIMEOUT, detail=f"timed out after {deadline_sec:g} s")
        parts = {source: _answer(source, task, now, late) for source, task in tasks.items()}
    finally:
        for task in tasks.values():
            task.cancel()
    on_read({source.name: part for source, part in parts.items()})
    return cleaned(_one(parts, now), addresses=hide_addresses)


def _one(parts: Mapping[Source, Signals], now: Instant) -> Signals:
    nothing = Signals(time=now, readings={})
    api = reduce(merge, (p for source, p in parts.items() if source.name == "api"), nothing)
    rest = reduce(merge, (p for source, p in parts.items() if source.name != "api"), nothing)
    last = API_LAST - OF_CLOUD if any(source.name == "cloud" for source in parts) else API_LAST
    merged = merge(api, rest, better=last)
    known = Counter(i for part in parts.values() for i in part.readings)
    api_last = sorted(parts, key=lambda source: source.name == "api")
    won = {i: _winner(i, merged, {s: parts[s] for s in (api_last if i in last else parts)}) for i in known}
    origins = {i: part.sources.get(i) or (name if known[i] > 1 else "") for i, (name, part) in won.items()}
    return merged.model_copy(update={"sources": {i: origin for i, origin in origins.items() if origin}})


def _winner(signal_id: str, merged: Signals, parts: Mapping[Source, Signals]) -> tuple[str, Signals]:
    """Whose reading was taken; without a name where none has one."""
    has = Signals.quiet if merged.quiet(signal_id) else lambda part, i: part.value(i) is not None
    return next(((source.name, part) for source, part in parts.items() if has(part, signal_id)), ("", merged))


def _answer(source: Source, task: asyncio.Task[Signals], now: Instant, late: Missing) -> Signals:
    why = late
    if task.done():
        try:
            return task.result()
        except SourceError as error:
            why = Missing(code=error.code, detail=error.detail)
        except CopilotError:
            raise
        except Exception as error:  # One source that fails blinds no other.
            log.exception("the source %s failed", source.name, extra={"event": "source.failed"})
            why = Missing(code=MissingCode.PARSE, detail=f"the source failed: {type(error).__name__}: {error}"[:300])
    return _missing(now, source.expected, why)


def context(cluster: ClusterSettings) -> Context:
    """What the rules must know of a cluster's settings."""
    return Context(
        cluster=cluster.name,
        interval_sec=cluster.interval_sec,
        window_sec=cluster.window,
        thresholds=cluster.thresholds,
        ignore_task_queues=_ignored(cluster),
    )


def _ignored(cluster: ClusterSettings) -> tuple[str, ...]:
    """The ignored task queues under all names they may have in cleaned signals."""
    return tuple(dict.fromkeys(name for queue in cluster.ignore_task_queues for name in names_of(queue)))


def with_rules_of(context: Context, settings: Settings) -> Context:
    """The context with thresholds and ignored task queues of the cluster of that name. SettingsError if it has none."""
    cluster = next((c for c in settings.clusters if c.name == context.cluster), None)
    if cluster is None:
        raise SettingsError([f"the configuration has no cluster named {context.cluster!r}"])
    return replace(context, thresholds=cluster.thresholds, ignore_task_queues=_ignored(cluster))


def replay(ticks: Iterable[Signals], context: Context, memory: Memory = NO_MEMORY) -> Iterator[Evaluation]:
    """Evaluate recorded ticks one after the other, each from the ticks so far only."""
    for signals in ticks:
        evaluation, memory = evaluate(signals, memory, context)
        yield evaluation


def all_missing(time: Instant, expected: Iterable[str], reason: str) -> Signals:
    """A tick at which nothing could be read: every expected id is missing."""
    return _missing(time, tuple(expected), Missing(code=MissingCode.TIMEOUT, detail=reason))


def _missing(time: Instant, ids: Sequence[str], why: Missing) -> Signals:
    return Signals(time=time, readings=dict.fromkeys(ids), missing=dict.fromkeys(ids, why))


def snapshot(evaluation: Evaluation, memory_before: Memory, context: Context) -> Snapshot:
    """What is stored of a tick, enough to evaluate it again."""
    return Snapshot(
        evaluation=evaluation,
        memory_before=memory_before.model_dump(mode="json"),
        thresholds_hash=context.thresholds.digest(),
        taxonomy_version=TAXONOMY_VERSION,
        rules_version=RULES_VERSION,
    )


def memory_after(rules: Rules, kept: Snapshot, context: Context, now: Instant) -> Memory | None:
    """The memory after a stored tick; None if it is older than 15 minutes at `now`, from the future, or of a
    release whose memory does not fit."""
    age = now - kept.evaluation.time
    if not TimeDelta.ZERO <= age <= MEMORY_LASTS:
        return None
    try:
        before = Memory.model_validate(kept.memory_before)
    except ValidationError:
        return None
    return rules(kept.evaluation.signals, before, context)[1]
