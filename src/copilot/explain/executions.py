"""Executions in trouble in sentences, for the explanation and the page: counts and types, never ids."""

from collections import defaultdict

from whenever import Instant

from copilot.explain.numbers import count, listed, span
from copilot.inspection.executions import ExecutionsKind, Inspection, Part
from copilot.inspection.workers import WorkersListed, WorkerState

RECENT_SEC = 300.0
MANY, TIMES_MORE = 5, 2
CLOSED = {
    ExecutionsKind.FAILED: "failed",
    ExecutionsKind.TIMED_OUT: "timed out",
    ExecutionsKind.TERMINATED: "were terminated",
}


def executions_sentences(found: Inspection | None, now: Instant) -> tuple[str, ...]:
    """What is unusual about the executions, by what was read within five minutes; empty where nothing is."""
    parts = [p for p in found.parts if p.read_at and (now - p.read_at).total("seconds") <= RECENT_SEC] if found else []
    problems = [p for p in parts if p.kind is ExecutionsKind.REPORTED_PROBLEMS and p.count]
    said = [_reported(problems)] if problems else []
    for p in parts:
        if p.kind is ExecutionsKind.OPEN_LONG and p.count and p.usual_sec:
            verb = "is" if p.count == 1 and not p.at_least else "are"
            said.append(f"{_number(p)} of `{p.workflow_type}` {verb} open for more than {span(p.usual_sec)}.")
    window = span(found.window_sec) if found else ""
    for kind, verb in CLOSED.items():
        now_, before = (sum(getattr(p, name) or 0 for p in parts if p.kind is kind) for name in ("count", "before"))
        if now_ >= MANY and now_ >= TIMES_MORE * before:
            said.append(f"{count(now_, 'execution')} {verb} in {window}, {before or 'none'} in the {window} before.")
    return tuple(said)


def _number(part: Part) -> str:
    return f"{'At least ' if part.at_least else ''}{count(part.count or 0, 'execution')}"


def _reported(parts: list[Part]) -> str:
    """How many report problems, of which types, and since when."""
    total, by_type = sum(p.count or 0 for p in parts), defaultdict[str, int](int)
    for group in (g for p in parts for g in p.groups):
        by_type[group.workflow_type] += group.count
    named = [f"`{name}`" for name in sorted(by_type, key=lambda name: (-by_type[name], name))]
    first = min((g.first for p in parts for g in p.groups), default=None)
    of = f" of {listed(named, 3)}" if named else ""
    since = f", first at {first.format_iso()[11:16]} UTC" if first else ""
    return f"{count(total, 'execution')}{of} {'reports' if total == 1 else 'report'} problems{since}."


def executions_sentence(found: Inspection, now: Instant) -> str:
    """One sentence for the head of a list."""
    said = executions_sentences(found, now)
    if said:
        return " ".join(said)
    unread = [p for p in found.parts if p.problem]
    if unread and len(unread) == len(found.parts):
        return f"The executions cannot be read now: {unread[0].problem}."
    if any(p.count is not None for p in found.parts):
        return f"No execution is known to be in trouble{', not all could be read' if unread else ''}."
    return "Nothing was read yet."


def workers_sentence(found: WorkersListed) -> str:
    """How many workers there are, and how many are in trouble."""
    live = sum(w.state is WorkerState.LIVE for w in found.workers)
    gone = sum(w.state is WorkerState.GONE for w in found.workers)
    bad = sum(bool(w.trouble) for w in found.workers)
    parts = [count(live, "worker") + " with heartbeats"]
    parts += [f"{bad} in trouble"] if bad else []
    parts += [f"{gone} gone within the hour"] if gone else []
    return ", ".join(parts) + "."
