"""The explanation the rules write themselves (requirements §4.1): complete without any model."""

from whenever import Instant

from copilot.core.assessment import (
    BottleneckClassification,
    HealthState,
    Issue,
    Narrative,
    ReportedState,
    ServiceHealth,
    Verdict,
)
from copilot.core.bottleneck import WORK_WAITS, waiting_flows
from copilot.core.causal_chain import WAKE
from copilot.core.facts import Facts
from copilot.core.figures import count, listed, lowered, per_sec, rate, sentence, span
from copilot.core.flow import ARRIVES
from copilot.core.log_words import beside
from copilot.core.memory import Memory
from copilot.core.reactions import reactions
from copilot.core.taxonomy import SPECS
from copilot.core.telling import over_when, told

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
