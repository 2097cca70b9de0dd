"""The explanation the rules write themselves (requirements §4.1): complete without any model."""

from copilot.core.assessment import (
    BottleneckClassification,
    Issue,
    Narrative,
    ReportedState,
    ServiceHealth,
    Verdict,
)
from copilot.core.causal_chain import WAKE
from copilot.core.signals import Signals

_LIMIT = {
    BottleneckClassification.SERVER_LIMITED: "The server is the limit, not the workers.",
    BottleneckClassification.WORKER_LIMITED: "The workers are the limit, not the server.",
    BottleneckClassification.MIXED: "Server and workers are both at their limit.",
    BottleneckClassification.UNKNOWN: "Nothing read says whether server or workers are the limit.",
    BottleneckClassification.HEALTHY: "Neither server nor workers are at their limit.",
}
_MEANS = {
    ReportedState.HAPPY: "The cluster makes progress on the work it has.",
    ReportedState.STRESSED: "The cluster makes progress, but not as it should.",
    ReportedState.CRITICAL: "Work that was accepted is not being done, or is turned away.",
    ReportedState.UNKNOWN: "Nobody can say from here whether the cluster makes progress.",
}


def _flow_words(signals: Signals) -> str:
    numbers = (
        ("demand.starts_per_sec", "{:.2g} workflow starts/s arrive"),
        ("matching.tasks_dispatched_per_sec", "{:.2g} tasks/s are served"),
        ("matching.backlog_count", "{:.0f} tasks wait"),
        ("workflow_completion.success_per_sec", "{:.2g} workflows/s complete"),
    )
    said = [text.format(value) for i, text in numbers if (value := signals.value(i)) is not None]
    return ", ".join(said) if said else "no flow could be read"


def summary(verdict: Verdict, found: tuple[Issue, ...], signals: Signals) -> str:
    """One or two sentences for the hero of the page."""
    flow = _flow_words(signals)
    if verdict.health_state is ReportedState.UNKNOWN:
        last = f" Last known: {verdict.last_known_state.value}." if verdict.last_known_state else ""
        cause = f" {found[0].likely_cause}" if found else ""
        return f"Blind: too little fresh evidence for a verdict.{last}{cause}"
    if verdict.stale:
        return f"Held at {verdict.health_state.value}: the last readings are too few to judge by."
    if verdict.health_state is ReportedState.HAPPY:
        idle = signals.value("demand.starts_per_sec") == 0 and not signals.value("matching.backlog_count")
        waits = (signals.value("matching.backlog_count") or 0) >= 1
        text = f"Work is done as it arrives: {flow}." if not waits else f"No gate has fired for long enough: {flow}."
        text = "Nothing arrives and nothing waits." if idle else text
        return f"{text} {found[0].title}." if found else text
    if found and verdict.fired():
        return f"{found[0].title}. {found[0].likely_cause}"
    if sentence := next((g.sentence for g in verdict.gates if g.fired), ""):
        return f"{sentence[:1].upper()}{sentence[1:]}. Nothing read says why yet."
    last = f" from: {found[0].title}. Now" if found else ""
    return f"Recovering{last}: {flow}. No gate fires; the state holds until it stays so."


def narrative(
    verdict: Verdict,
    bottleneck: BottleneckClassification,
    found: tuple[Issue, ...],
    actors: tuple[ServiceHealth, ...],
    links: tuple[str, ...],
    signals: Signals,
) -> Narrative:
    """Setting, trigger, each actor's reaction, why (with the chain of `links`), what it means, what to watch next."""
    flow = _flow_words(signals)
    fired = [g for g in verdict.gates if g.fired]
    trigger = "; ".join(g.sentence for g in fired) or "No gate fires."
    reactions = tuple(
        f"{a.name}: progress {a.forward_progress}, pressure {a.pressure}"
        + (f", mostly {a.dominant_signal}" if a.dominant_signal else "")
        + (f" (expected, not a fault of its own: {', '.join(a.artifact_signals)})" if a.artifact_signals else "")
        for a in actors
    )
    causes = found[0].likely_cause if found else "Nothing stands out."
    wake = WAKE.get(found[0].finding, frozenset()) if found else frozenset()
    followed = [i.title for i in found[1:] if i.finding in wake]
    besides = [i.title for i in found[1:] if i.finding not in wake]
    told = f" The chain: {', so '.join(links)}." if links else ""
    rest = f" In its wake: {'; '.join(followed)}." if followed else ""
    rest += f" Besides: {'; '.join(besides)}." if besides else ""
    watch = tuple(dict.fromkeys(i for f in found for i in f.related_signals))[:4]
    return Narrative(
        setting=f"{flow[:1].upper()}{flow[1:]}.",
        trigger=trigger,
        reactions=reactions,
        why=f"{causes}{told}{rest}",
        meaning=f"{_MEANS[verdict.health_state]} {_LIMIT[bottleneck]}",
        watch_next=f"Watch {', '.join(watch)}." if watch else "Watch that what arrives is served.",
    )
