"""The chain from a cause to work not done (requirements §3.11), link by link, with the numbers in it.

Slots fill, so workers stop polling, so tasks wait, so workflows do not complete; or the server refuses, so its history
finishes nothing, so nothing is served. Only links that are seen broken are told, the earliest first.
"""

from collections.abc import Iterator, Mapping

from whenever import Instant

from copilot.explain.conditions import BEGAN, over_when, told, worth_telling
from copilot.explain.numbers import brief, count, listed, lowered, measure, per_sec, rate, sentence, span
from copilot.rules.bottleneck import SERVER_REFUSES, WORK_WAITS, draining, exhausted_slots, waiting_flows
from copilot.rules.components import ACTOR_GATES
from copilot.rules.findings.context import Facts, waiting_words
from copilot.rules.flow import ARRIVES
from copilot.rules.memory import Memory
from copilot.rules.model import (
    BottleneckClassification,
    HealthState,
    Issue,
    Narrative,
    ReportedState,
    ServiceHealth,
    Verdict,
)
from copilot.rules.signals.logs import Correlation, correlated
from copilot.rules.signals.readings import LogPattern, Signals
from copilot.rules.signals.taxonomy import SPECS

_REFUSALS = {
    "unreachable": "the frontend does not answer",
    "persistence_errors": "the database fails calls",
    "persistence_throttled": "the persistence rate limit refuses database calls",
    "history_throttled": "history's attempts are refused by a limit",
    "rate_limited": "a rate limit refuses requests and polls",
    "frontend_errors": "the server fails requests",
    "turned_away": "requests that bring work are turned away",
}

FINISHED_OF_ATTEMPTS = 0.4
"""History of a healthy cluster finishes half of its attempts; below this share it is held up."""

# Refused by the same limit, or by the server that refuses.
_ALSO = {"persistence_throttled": frozenset({"rate_limited"})}

# What a cause explains: found beside it, these are its wake and not causes of their own.
WAKE: dict[str, frozenset[str]] = {
    cause: wake | _ALSO.get(cause, frozenset())
    for causes, wake in (
        (
            ("server_unreachable", "persistence_failing", "persistence_throttled", "rate_limited", "frontend_errors"),
            frozenset(
                {
                    "frontend_errors",
                    "membership_change",
                    "shard_churn",
                    "persistence_slow",
                    "history_backlog",
                    "frontend_slow",
                    "worker_slow",
                    "workflow_task_failures",
                    "sticky_cache_thrash",
                }
            ),
        ),
        (
            ("load_burst", "persistence_slow"),
            frozenset({"slots_exhausted", "persistence_slow", "history_backlog", "frontend_slow", "worker_slow"}),
        ),
        (("no_pollers", "version_without_pollers", "slots_exhausted"), frozenset({"worker_slow", "history_backlog"})),
        (("sticky_cache_thrash", "workflow_task_failures"), frozenset({"worker_slow"})),
        (("membership_change",), frozenset({"shard_churn", "history_backlog", "frontend_slow", "worker_slow"})),
    )
    for cause in causes
}


def chain(facts: Facts) -> tuple[str, ...]:
    """The broken links in the order of cause and effect; fewer than two are no chain."""
    links = tuple(_links(facts))
    return links if len(links) > 1 else ()


def _links(facts: Facts) -> Iterator[str]:
    view = facts.view
    refusing = [name for name in _REFUSALS if name in SERVER_REFUSES and facts.gates[name].fired]
    if "unreachable" in refusing:
        return  # What else was read is of the moments before.
    if refusing:
        yield _REFUSALS[refusing[0]]
        yield from _history(facts)
    elif (kind := exhausted_slots(view)) is not None:
        used = view.signals.value(f"workers.{kind}_slots_used")
        yield f"all {f'{used:,.0f} ' if used else ''}{kind} slots are busy"
        yield f"workers stop polling for {kind} tasks"
    elif facts.workers.nobody_polls:
        yield "no worker polls"
    if facts.fired(*WORK_WAITS):
        flows = waiting_flows(view)
        yield waiting_words(flows) if any(f.waiting or f.age for f in flows) else "nothing reaches the workers"
    starts = view.signals.value("demand.starts_per_sec")
    done = view.signals.value("workflow_completion.success_per_sec")
    if starts and done is not None and done < 0.5 * starts:
        some = f"{per_sec(done, 'workflow')} complete" if done else "no workflow completes"
        yield f"{some} while {rate(starts)} start"


def _history(facts: Facts) -> Iterator[str]:
    tried = facts.view.signals.value("history.task_processing_rate_per_sec")
    acked = facts.view.signals.value("history.tasks_acked_per_sec")
    if tried and acked is not None and acked < FINISHED_OF_ATTEMPTS * tried:
        yield f"history finishes {brief(acked)} of {brief(tried)} task attempts/s"


_PROGRESS = {"blocked": "makes no progress", "degraded": "makes progress with difficulty"}


def reactions(actors: tuple[ServiceHealth, ...], facts: Facts) -> tuple[str, ...]:
    """A line for each actor that is not fine, and one for those that are and one for those nobody could read."""
    if facts.fired("unreachable"):
        return ("frontend does not answer", "the others cannot be judged while it does not")
    fine = [a.name for a in actors if _fine(a)]
    unread = [a.name for a in actors if a.forward_progress == "unknown"]
    return tuple(_lines(actors, facts, fine, unread))


def _lines(actors: tuple[ServiceHealth, ...], facts: Facts, fine: list[str], unread: list[str]) -> Iterator[str]:
    for actor in actors:
        if actor.name not in fine and actor.name not in unread:
            yield f"{actor.name} {_how(actor, facts)}"
    if fine:
        waits = "matching" in fine and facts.fired(*WORK_WAITS) and facts.view.signals.value("matching.backlog_count")
        yield f"{listed(fine)} {_well(fine, facts)}{'; tasks wait in matching, not by its doing' if waits else ''}"
    if unread:
        yield f"{listed(unread)} cannot be seen"


def _fine(actor: ServiceHealth) -> bool:
    """Whether nothing is wrong with an actor that it could help."""
    innocent = actor.pressure == "low" or actor.dominant_signal in actor.artifact_signals
    return actor.forward_progress == "ok" and innocent


def _well(names: list[str], facts: Facts) -> str:
    """How those are that are fine: where others are not, they may suffer all the same."""
    one = len(names) == 1 and names[0] != "workers"
    if facts.fired(*facts.gates):
        return f"show{'s' if one else ''} no fault of {'its' if one else 'their'} own"
    return "is fine" if one else "are fine"


def _how(actor: ServiceHealth, facts: Facts) -> str:
    if actor.forward_progress == "ok":
        return f"{'are' if actor.name == 'workers' else 'is'} under {actor.pressure} pressure{_shown(actor, facts)}"
    progress = _PROGRESS[actor.forward_progress]
    if actor.name == "workers" and (why := _workers(facts)):
        return f"{_plural(actor.name, progress)}: {why}"
    own = [gate for gate in worth_telling(facts.gates.values()) if gate.name in ACTOR_GATES[actor.name]]
    said = "; ".join(gate.sentence for gate in own)
    return f"{_plural(actor.name, progress)}: {said}" if said else f"{_plural(actor.name, progress)}"


def _workers(facts: Facts) -> str:
    if not facts.fired(*WORK_WAITS):
        return ""
    if facts.workers.slots_exhausted:
        return "their slots are all taken"
    if facts.workers.nobody_polls:
        return "nobody polls where tasks wait"
    if facts.fired(*SERVER_REFUSES):
        return "their polls are refused or answered late"
    return "what piled up is not done yet" if draining(facts.view) else "they take less than arrives"


def _plural(actor: str, words: str) -> str:
    """`makes progress` of one actor, `make progress` of the workers."""
    return words.replace("makes", "make") if actor == "workers" else words


def _shown(actor: ServiceHealth, facts: Facts) -> str:
    spec, value = SPECS.get(actor.dominant_signal or ""), facts.view.signals.value(actor.dominant_signal or "")
    if spec is None or value is None:
        return ""
    quantile = next((f" at {q}" for q in ("p95", "p99") if f"_{q}_" in spec.id), "")
    return f" ({spec.meaning}: {measure(value, spec.unit)}{quantile})"


BESIDE_SEC = 120.0
SAME_TIME_SEC = 5.0
_MOST = 2
_SERVICES = frozenset({"frontend", "history", "matching", "worker", "server", "internal-frontend"})
_BAD = frozenset({"", "warn", "error", "fatal"})


def beside(signals: Signals, began: Mapping[str, Instant]) -> str:
    """The patterns whose first line lies near the beginning of what gates saw (`began`: by gate); empty where none."""
    patterns = {(p.pattern, p.service): p for p in signals.logs if p.level in _BAD or not p.mined}
    said: dict[tuple[str, str], str] = {}
    for found in correlated(patterns.values(), began, BESIDE_SEC):
        key = (found.pattern, found.service)
        if abs(found.lead_sec) <= BESIDE_SEC and key not in said and len(said) < _MOST:
            said[key] = _words(patterns[key], found)
    return f"In the logs: {'; '.join(said.values())}." if said else ""


def _words(pattern: LogPattern, found: Correlation) -> str:
    what = "of a kind not known before" if pattern.mined else f"“{pattern.pattern}”"
    where = f" from {pattern.service}" if pattern.service in _SERVICES else ""
    lead = found.lead_sec
    when = "as" if abs(lead) < SAME_TIME_SEC else f"{span(abs(lead))} {'before' if lead > 0 else 'after'}"
    return f"{count(pattern.count, 'line')} {what}{where}, the first {when} {BEGAN[found.event]}"


_LIMIT = {
    BottleneckClassification.SERVER_LIMITED: "The server is the limit, not the workers.",
    BottleneckClassification.WORKER_LIMITED: "The workers are the limit, not the server.",
    BottleneckClassification.MIXED: "Server and workers are both at their limit.",
    BottleneckClassification.UNKNOWN: "Nothing read says whether server or workers are the limit.",
    BottleneckClassification.HEALTHY: "Neither server nor workers are at their limit.",
}
_OUTAGES = {
    "unreachable": "While the frontend does not answer nothing can be started, polled for or completed; "
    "what was accepted before is kept.",
    "turned_away": "New work is turned away: callers see errors.",
    "work_stalled": "Work that was accepted is not being done.",
    "falling_behind": "More is accepted than is done, so work waits longer and longer.",
}
CODE_FAILS = frozenset(
    {"application_failures", "activity_failures", "workflow_task_failures", "workflow_task_attempts"}
)
"""Gates that blame what runs on the cluster, not the cluster."""
_MEANS = {
    ReportedState.HAPPY: "The cluster makes progress on the work it has.",
    ReportedState.STRESSED: "The cluster makes progress, but not as it should.",
    ReportedState.CRITICAL: "Until a moment ago work was not being done; that must hold before the state improves.",
    ReportedState.UNKNOWN: "Nobody can say from here whether the cluster makes progress.",
}


def flow_words(facts: Facts) -> str:
    """What starts, completes, is served and waits, in words."""
    signals = facts.view.signals
    starts, done = signals.value("demand.starts_per_sec"), signals.value("workflow_completion.success_per_sec")
    said = []
    if starts is not None:
        asked = bool(facts.fired("turned_away", "frontend_errors"))
        some = f"{per_sec(starts, 'workflow start')} asked for" if asked else f"{per_sec(starts, 'workflow')} start"
        said.append(some if starts else "no workflow starts")
    if done is not None:
        same = starts and not facts.fired("turned_away", "frontend_errors")
        some = f"{rate(done)} complete" if same else f"{per_sec(done, 'workflow')} complete"
        said.append(some if done else "none completes" if same else "no workflow completes")
    served = signals.value("matching.tasks_dispatched_per_sec")
    if served is not None:
        said.append(f"{per_sec(served, 'task')} served" if served else "no task is served")
    if (waits := _waits(facts)) is not None:
        said.append(waits)
    return ", ".join(said) if said else "what flows could not be read"


def _waits(facts: Facts) -> str | None:
    """What waits where somebody misses it; None where nothing says."""
    waiting = facts.view.cluster.waiting
    if waiting is None:
        return None
    if waiting < 0.5:
        return "nothing waits"
    oldest = max((f.age or 0.0 for f in waiting_flows(facts.view)), default=0.0)
    verb = "waits" if round(waiting) == 1 else "wait"
    return f"{count(waiting, 'task')} {verb}" + (f", the oldest for {span(oldest)}" if oldest >= 1 else "")


def summary(verdict: Verdict, found: tuple[Issue, ...], facts: Facts, flow: str, trigger: str) -> str:
    """One to three sentences for the hero of the page. `flow`: `flow_words`; `trigger`: what fired (`telling.told`)."""
    if verdict.health_state is ReportedState.UNKNOWN or verdict.stale:
        return _blind(verdict, found, facts)
    if _unread(verdict, facts) and not trigger:
        seen = f" {found[0].likely_cause}" if found else ""
        return f"Too little could be read this time for a verdict: {verdict.health_state.value} is held.{seen}"
    if verdict.health_state is ReportedState.HAPPY:
        signals = facts.view.signals
        arrives = any(signals.value(i) for i in ARRIVES)
        idle = signals.value("demand.starts_per_sec") == 0 and not arrives and not facts.view.cluster.waiting
        waits = not flow.endswith("nothing waits")
        text = sentence(flow) if waits else f"Work is done as it arrives: {flow}."
        text = "Nothing arrives and nothing waits." if idle else text
        if trigger:
            text = f"{text} Not for long enough to count: {lowered(trigger)}"
        return f"{text} {found[0].title}." if found else text
    if found and trigger:
        return f"{found[0].title}. {found[0].likely_cause}"
    if trigger:
        return f"{trigger} {_guess(facts)}"
    what = f"Recovering from “{_short(found[0])}”" if found else "Recovering"
    if found and found[0].finding == "backlog_draining":
        what = f"Recovering: {lowered(found[0].title)}"
    return f"{what}. Nothing is over its limit any more: {flow}."


def _unread(verdict: Verdict, facts: Facts) -> bool:
    """Whether too little was read at this tick to carry a verdict."""
    return verdict.usable_at != facts.view.now


def _guess(facts: Facts) -> str:
    """What evidence too weak for a finding points at."""
    if facts.fired(*WORK_WAITS) and facts.workers.nobody_polls:
        return "It seems that nobody polls for these tasks."
    return "Nothing read says why yet."


def _short(issue: Issue) -> str:
    """A title without the numbers of its moment."""
    return issue.title.partition(":")[0]


def _blind(verdict: Verdict, found: tuple[Issue, ...], facts: Facts) -> str:
    unknown = verdict.health_state is ReportedState.UNKNOWN
    last = facts.view.memory.last_usable
    state = (
        verdict.last_known_state or HealthState(verdict.health_state.value) if not unknown else verdict.last_known_state
    )
    since = f" since {_clock(last)} ({span((facts.view.now - last).total('seconds'))} ago)" if last else ""
    known = f" Last known: {state.value}." if state else " Nothing was known before."
    cause = next((f" {i.likely_cause}" for i in found if i.finding in ("metrics_blind", "server_unreachable")), "")
    held = "" if unknown else " That is held for now."
    return f"Blind{since}: too little can be read for a verdict.{known}{held}{cause}"


def _clock(time: Instant) -> str:
    return f"{time.format_iso()[11:19]} UTC"


def explained(
    verdict: Verdict,
    bottleneck: BottleneckClassification,
    found: tuple[Issue, ...],
    actors: tuple[ServiceHealth, ...],
    links: tuple[str, ...],
    facts: Facts,
    after: Memory,
) -> tuple[str, Narrative]:
    """The summary; and setting, trigger, the actors' reactions, why (with the chain of `links` and what the logs said
    at the time), what it means, when it is over. `after`: the memory after the tick, which knows since when each gate
    has fired."""
    flow, trigger = flow_words(facts), told(verdict.gates)
    short = summary(verdict, found, facts, flow, trigger)
    trigger = trigger or ("Too little was read." if _unread(verdict, facts) else "Nothing is over its limit.")
    return short, Narrative(
        setting=sentence(flow),
        trigger=trigger,
        reactions=reactions(actors, facts),
        why=_why(verdict, found, links, facts, after),
        meaning=_meaning(verdict, bottleneck, facts),
        watch_next=_watch(verdict, found, facts),
    )


def _why(verdict: Verdict, found: tuple[Issue, ...], links: tuple[str, ...], facts: Facts, after: Memory) -> str:
    if not found:
        return _guess(facts) if verdict.fired() and _bad(verdict) else "Nothing stands out."
    wake = WAKE.get(found[0].finding, frozenset())
    followed = [_short(i) for i in found[1:] if i.finding in wake]
    besides = [_short(i) for i in found[1:] if i.finding not in wake]
    began = {
        n: t for n in verdict.fired() if (g := after.gates.get(n)) is not None and (t := g.first_fired) is not None
    }
    said = (
        found[0].likely_cause,
        f"The chain: {', so '.join(links)}." if links else "",
        beside(facts.view.signals, began) if began and facts.view.signals.logs else "",
        f"In its wake: {'; '.join(followed)}." if followed else "",
        f"Besides: {'; '.join(besides)}." if besides else "",
    )
    return " ".join(filter(None, said))


def _bad(verdict: Verdict) -> bool:
    return verdict.health_state in (ReportedState.STRESSED, ReportedState.CRITICAL)


def _meaning(verdict: Verdict, bottleneck: BottleneckClassification, facts: Facts) -> str:
    state = verdict.health_state
    if state is ReportedState.UNKNOWN:
        answers = facts.view.signals.value("frontend.reachable") == 1
        seen = " The frontend answers its health check, so it may be only our sight that is lost." if answers else ""
        return f"{_MEANS[state]}{seen}"
    if verdict.stale:
        return f"It is not known whether it still is {state.value}. If it stays so, unknown will be reported."
    if _unread(verdict, facts) and not verdict.fired():
        return f"It is not known whether it still is {state.value}."
    outage = next((_OUTAGES[g.name] for g in verdict.gates if g.fired and g.name in _OUTAGES), "")
    if outage and _bad(verdict):
        soon = " If it goes on the state becomes critical." if state is ReportedState.STRESSED else ""
        return f"{outage}{soon} {_LIMIT[bottleneck]}"
    if _bad(verdict) and not verdict.fired():
        return f"It looks over. The state stays {state.value} until that has held for a few readings."
    if verdict.fired() and CODE_FAILS.issuperset(verdict.fired()) and _bad(verdict):
        return "The cluster does its work; it is the code it runs, or what that depends on, that fails."
    return f"{_MEANS[state]} {_LIMIT[bottleneck]}"


def _watch(verdict: Verdict, found: tuple[Issue, ...], facts: Facts) -> str:
    unread = _unread(verdict, facts) and not verdict.fired()
    if verdict.health_state is ReportedState.UNKNOWN or verdict.stale or unread:
        return "Watch for the metrics to be readable again, and until then the workflows themselves."
    if _bad(verdict):
        return (
            over_when(verdict.gates, found[0].contributing_factors if found else ())
            or "Watch that it stays so, and find out why it happened."
        )
    ids = tuple(dict.fromkeys(i for f in found for i in f.related_signals if i in SPECS))[:2]
    watch = listed([f"{SPECS[i].meaning} ({i})" for i in ids])
    return f"Watch {watch}." if watch else "Watch that what arrives is served."
