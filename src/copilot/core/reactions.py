"""How each actor takes it, in words: those that are fine in one line, the others with what shows it."""

from collections.abc import Iterator

from copilot.core.assessment import ServiceHealth
from copilot.core.bottleneck import SERVER_REFUSES, WORK_WAITS, draining
from copilot.core.facts import Facts
from copilot.core.figures import listed, measure
from copilot.core.services import ACTOR_GATES
from copilot.core.taxonomy import SPECS
from copilot.core.telling import worth_telling

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
