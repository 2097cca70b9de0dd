"""The explanation the rules write: summary and narrative, from an evaluation alone, complete without any model."""

from collections.abc import Iterator, Mapping

from whenever import Instant

from copilot.explain.gates import describe, forecast_words, recovery_condition, without_redundant
from copilot.explain.numbers import bounded, brief, count, listed, lowered, measure, per_sec, rate, sentence, span
from copilot.rules.components import OWN_GATES
from copilot.rules.findings.queues import BACKLOG_DRAINING
from copilot.rules.findings.registry import EXPLAINS
from copilot.rules.findings.server import METRICS_BLIND, SERVER_UNREACHABLE
from copilot.rules.flow import DEMAND
from copilot.rules.gates import pressure, progress
from copilot.rules.gates.registry import BACKLOG, BY_NAME, CODE_FAILS, SERVER_REFUSES
from copilot.rules.model import (
    BottleneckClassification,
    Evaluation,
    GateResult,
    HealthState,
    Issue,
    Narrative,
    ReportedState,
    ServiceHealth,
)
from copilot.rules.signals.logs import Correlation, correlate
from copilot.rules.signals.readings import LogPattern
from copilot.rules.signals.taxonomy import SPECS

COMPLETED_OF_ATTEMPTS = 0.4
"""History of a healthy cluster completes half of its attempts; below this share it is held up."""
LOGS_WITHIN_SEC = 120.0
SAME_TIME_SEC = 5.0
_MOST_LOGS = 2
_MOST_FORECASTS = 2
_LOG_SERVICES = frozenset({"frontend", "history", "matching", "worker", "server", "internal-frontend"})
_BAD_LEVELS = frozenset({"", "warn", "error", "fatal"})
_LIMIT = {
    BottleneckClassification.SERVER_LIMITED: "The server is the limit, not the workers.",
    BottleneckClassification.WORKER_LIMITED: "The workers are the limit, not the server.",
    BottleneckClassification.MIXED: "Server and workers are both at their limit.",
    BottleneckClassification.UNKNOWN: "No reading tells whether server or workers are the limit.",
    BottleneckClassification.HEALTHY: "Neither server nor workers are at their limit.",
}
_OUTAGES = {
    progress.FRONTEND_UNREACHABLE.name: "While the frontend does not answer, nothing can be started, polled or "
    "completed; accepted work is kept.",
    progress.REQUESTS_REJECTED.name: "New work is rejected: callers see errors.",
    progress.WORK_STALLED.name: "Accepted work is not being done.",
    progress.FALLING_BEHIND.name: "More work is accepted than done, so the backlog gets older and older.",
}
_MEANS = {
    ReportedState.HAPPY: "The cluster makes progress on its work.",
    ReportedState.STRESSED: "The cluster makes progress, but is degraded.",
    ReportedState.CRITICAL: "Until a moment ago work was not done; that must hold before the state improves.",
    ReportedState.UNKNOWN: "There is not enough data to tell whether the cluster makes progress.",
}


class Words:
    """Makes the texts of one evaluation. `gates` have their sentences, `issues` are explained."""

    def __init__(self, evaluation: Evaluation, gates: tuple[GateResult, ...], issues: tuple[Issue, ...]) -> None:
        self._e = evaluation
        self._signals = evaluation.signals
        self._gates = gates
        self._issues = issues
        self._firing = {gate.name for gate in gates if gate.fired}
        self._state = evaluation.verdict.health_state
        self._bad = self._state in (ReportedState.STRESSED, ReportedState.CRITICAL)
        self._unread = evaluation.verdict.usable_at != evaluation.time
        self._flow = self._flow_words()
        self._trigger = describe(gates)

    def narrative(self) -> Narrative:
        """Setting, trigger, the components' reactions, why, what it means, and when it is over."""
        no_trigger = "Too little was read." if self._unread else "Nothing is over its limit."
        return Narrative(
            setting=sentence(self._flow),
            trigger=self._trigger or no_trigger,
            reactions=tuple(self._reactions()),
            why=self._why(),
            meaning=self._meaning(),
            watch_next=self._watch_next(),
        )

    def summary(self) -> str:
        """One to three sentences."""
        issues, flow = self._issues, self._flow
        if self._state is ReportedState.UNKNOWN or self._e.verdict.stale:
            return self._not_enough_data()
        if self._unread and not self._trigger:
            cause = f" {issues[0].likely_cause}" if issues else ""
            return f"Too little was read for a verdict: {self._state.value} is held.{cause}"
        if self._state is ReportedState.HAPPY:
            text = "Idle: no demand and no backlog." if self._idle() else sentence(flow)
            if not self._idle() and flow.endswith("no backlog"):
                text = f"Keeping up: {flow}."
            if self._trigger:
                text = f"{text} Not for long enough to count: {lowered(self._trigger)}"
            return f"{text} {issues[0].title}." if issues else text
        if issues and self._trigger:
            return f"{issues[0].title}. {issues[0].likely_cause}"
        if self._trigger:
            return f"{self._trigger} {self._guess()}"
        return f"{self._what_is_left()}. Nothing is over its limit any more: {flow}."

    def _what_is_left(self) -> str:
        """What is shown first where no gate is firing and the state is not happy yet."""
        first = next(iter(self._issues), None)
        if first is None:
            return "Recovering"
        if first.finding == BACKLOG_DRAINING.name:
            return f"Recovering: {lowered(first.title)}"
        if first.phase == "now":
            return first.title
        unsure = ", which is not surely over" if first.phase == "fading" else ""
        return f"Recovering from “{_short(first)}”{unsure}"

    def _fires(self, *names: str) -> bool:
        return not self._firing.isdisjoint(names)

    def _value(self, signal_id: str) -> float | None:
        return self._signals.value(signal_id)

    def _idle(self) -> bool:
        demand = any(self._value(i) for i in DEMAND)
        return self._value("demand.starts_per_sec") == 0 and not demand and not self._e.work.backlog

    def _flow_words(self) -> str:
        starts, done = self._value("demand.starts_per_sec"), self._value("workflow_completion.success_per_sec")
        failing = self._fires(progress.REQUESTS_REJECTED.name, pressure.FRONTEND_ERRORS.name)
        parts = []
        if starts is not None:
            thing, verb = ("workflow start", "requested") if failing else ("workflow", "started")
            parts.append(f"{per_sec(starts, thing)} {verb}" if starts else "no workflows started")
        if done is not None:
            some = f"{rate(done)} completed" if starts and not failing else f"{per_sec(done, 'workflow')} completed"
            parts.append(some if done else "none completed" if starts and not failing else "no workflows completed")
        if (dispatched := self._value("matching.tasks_dispatched_per_sec")) is not None:
            parts.append(f"{per_sec(dispatched, 'task')} dispatched" if dispatched else "no tasks dispatched")
        if (backlog := self._backlog_words()) is not None:
            parts.append(backlog)
        return ", ".join(parts) if parts else "add rate, backlog and dispatch rate could not be read"

    def _backlog_words(self) -> str | None:
        """The backlog of the queues that count; None where it is not known."""
        backlog = self._e.work.backlog
        if backlog is None:
            return None
        if backlog < 0.5:
            return "no backlog"
        oldest = max((q.backlog_age_sec for q in self._e.work.queues), default=0.0)
        return f"{count(backlog, 'task')} in the backlog" + (f", oldest {span(oldest)}" if oldest >= 1 else "")

    def _guess(self) -> str:
        """What evidence too weak for a finding points at."""
        if self._fires(*BACKLOG) and self._e.work.no_pollers:
            return "It seems that these tasks have no pollers."
        return "No reading tells why yet."

    def _not_enough_data(self) -> str:
        verdict = self._e.verdict
        last, unknown = verdict.usable_at, self._state is ReportedState.UNKNOWN
        state = verdict.last_known_state if unknown else HealthState(self._state.value)
        ago = (
            f" since {last.format_iso()[11:19]} UTC ({span((self._e.time - last).total('seconds'))} ago)"
            if last
            else ""
        )
        known = f" Last known state: {state.value}." if state else " No state was known before."
        blind = (METRICS_BLIND.name, SERVER_UNREACHABLE.name)
        cause = next((f" {i.likely_cause}" for i in self._issues if i.finding in blind), "")
        held = "" if unknown else " It is held for now."
        return f"Not enough data for a verdict{ago}.{known}{held}{cause}"

    def _why(self) -> str:
        issues = self._issues
        if not issues:
            return self._guess() if self._firing and self._bad else "Nothing unusual."
        consequences = EXPLAINS.get(issues[0].finding, frozenset())
        links = list(self._chain()) if self._firing else []
        followed = [_short(i) for i in issues[1:] if i.finding in consequences]
        besides = [_short(i) for i in issues[1:] if i.finding not in consequences]
        parts = (
            issues[0].likely_cause,
            f"Cause and effect: {' → '.join(links)}." if len(links) > 1 else "",
            self._logs(),
            f"Consequences: {'; '.join(followed)}." if followed else "",
            f"Also: {'; '.join(besides)}." if besides else "",
        )
        return " ".join(filter(None, parts))

    def _chain(self) -> Iterator[str]:
        """The failing steps in the order of cause and effect."""
        work = self._e.work
        refusing = [g for g in self._gates if g.fired and g.name in SERVER_REFUSES]
        if progress.FRONTEND_UNREACHABLE.name in self._firing:
            return  # The other readings are from before.
        if refusing:
            first = min(refusing, key=lambda g: _CHAIN_ORDER.index(BY_NAME[g.name].component))
            yield first.sentence
            tried, acked = map(self._value, ("history.task_processing_rate_per_sec", "history.tasks_acked_per_sec"))
            if tried and acked is not None and acked < COMPLETED_OF_ATTEMPTS * tried:
                yield f"history completes {brief(acked)} of {brief(tried)} task attempts/s"
        elif (kind := work.full_slots) is not None:
            used = self._value(f"workers.{kind}_slots_used")
            yield f"all {f'{used:,.0f} ' if used else ''}{kind} slots are in use"
            yield f"workers stop polling for {kind} tasks"
        elif work.no_pollers:
            yield "no pollers"
        if self._fires(*BACKLOG):
            known = any(q.backlog or q.backlog_age_sec for q in work.queues)
            yield self._queue_backlog() if known else "no tasks reach the workers"
        starts, done = self._value("demand.starts_per_sec"), self._value("workflow_completion.success_per_sec")
        if starts and done is not None and done < 0.5 * starts:
            some = f"{per_sec(done, 'workflow')} completed" if done else "no workflows completed"
            yield f"{some} while {rate(starts)} are started"

    def _queue_backlog(self) -> str:
        queues = self._e.work.queues
        tasks, oldest = sum(q.backlog for q in queues), max((q.backlog_age_sec for q in queues), default=0.0)
        text = f"{count(tasks, 'task')} in the backlog" if tasks else "a backlog"
        return f"{text}, oldest {span(oldest)}" if oldest else text

    def _logs(self) -> str:
        """The log patterns whose first line lies near the time at which gates began to fire; empty where none."""
        began: Mapping[str, Instant] = {g.name: g.since for g in self._gates if g.fired and g.since is not None}
        if not began or not self._signals.logs:
            return ""
        patterns = {(p.pattern, p.service): p for p in self._signals.logs if p.level in _BAD_LEVELS or not p.mined}
        texts: dict[tuple[str, str], str] = {}
        for found in correlate(patterns.values(), began, LOGS_WITHIN_SEC):
            key = (found.pattern, found.service)
            if abs(found.lead_sec) <= LOGS_WITHIN_SEC and key not in texts and len(texts) < _MOST_LOGS:
                texts[key] = _log_words(patterns[key], found)
        return f"Logs: {'; '.join(texts.values())}." if texts else ""

    def _meaning(self) -> str:
        state, verdict = self._state, self._e.verdict
        if state is ReportedState.UNKNOWN:
            answers = self._value("frontend.reachable") == 1
            seen = " The frontend answers its health check, so perhaps only the metrics are lost." if answers else ""
            return f"{_MEANS[state]}{seen}"
        if verdict.stale:
            return f"It is not known whether the cluster is still {state.value}. Unknown is reported soon."
        if self._unread and not self._firing:
            return f"It is not known whether the cluster is still {state.value}."
        outage = next((text for name, text in _OUTAGES.items() if name in self._firing), "")
        if outage and self._bad:
            soon = " If it continues, the state becomes critical." if state is ReportedState.STRESSED else ""
            return f"{outage}{soon} {_LIMIT[self._e.bottleneck]}"
        if self._bad and not self._firing:
            held = "for a few evaluations"
            if self._e.verdict.relapses:
                held = "for ten minutes, because it had seemed over before and came back"
            looks = "It looks over" if self._issues and self._issues[0].phase == "past" else "It is not surely over"
            return f"{looks}. The state stays {state.value} until that has held {held}."
        if self._firing and self._firing.issubset(CODE_FAILS) and self._bad:
            return "The cluster does its work; the code it runs, or what that code depends on, fails."
        return f"{_MEANS[state]} {_LIMIT[self._e.bottleneck]}"

    def _watch_next(self) -> str:
        if self._state is ReportedState.UNKNOWN or self._e.verdict.stale or (self._unread and not self._firing):
            return "Watch for the metrics to return; until then check the workflows themselves."
        if self._bad:
            first = self._issues[0].contributing_factors if self._issues else ()
            stays = "Check that it stays that way, and find out why it happened."
            said = [forecast_words(forecast) for forecast in self._e.work.recovery[:_MOST_FORECASTS]]
            return " ".join((recovery_condition(self._gates, first) or stays, *said))
        ids = tuple(dict.fromkeys(i for f in self._issues for i in f.related_signals if i in SPECS))[:2]
        watch = listed([f"{SPECS[i].meaning} (`{i}`)" for i in ids])
        return f"Watch {watch}." if watch else "Watch that tasks are dispatched as fast as they are added."

    def _reactions(self) -> Iterator[str]:
        """A line for each component that is not fine, one for those that are, and one for those not read."""
        if progress.FRONTEND_UNREACHABLE.name in self._firing:
            yield "frontend does not answer"
            yield "the other components cannot be judged until it does"
            return
        components = self._e.services
        innocent = [c for c in components if c.pressure == "low" or c.dominant_signal in c.artifact_signals]
        fine = [c.name for c in innocent if c.forward_progress == "ok"]
        unread = [c.name for c in components if c.forward_progress == "unknown"]
        for component in components:
            if component.name not in fine and component.name not in unread:
                yield f"{component.name} {self._how(component)}"
        if fine:
            one = len(fine) == 1 and fine[0] != "workers"
            looks = f"look{'s' if one else ''} healthy" if self._firing else "is fine" if one else "are fine"
            backlog = "matching" in fine and self._fires(*BACKLOG) and self._value("matching.backlog_count")
            yield f"{listed(fine)} {looks}{'; the backlog in matching is a consequence' if backlog else ''}"
        if unread:
            yield f"{listed(unread)} could not be read"

    def _how(self, component: ServiceHealth) -> str:
        workers = component.name == "workers"
        if component.forward_progress == "ok":
            return f"{'are' if workers else 'is'} under {component.pressure} pressure{self._dominant(component)}"
        if component.forward_progress == "blocked":
            text = f"make{'' if workers else 's'} no progress"
        else:
            text = f"{'are' if workers else 'is'} degraded"
        if workers and (why := self._workers()):
            return f"{text}: {why}"
        own = [g.sentence for g in without_redundant(self._gates) if g.name in OWN_GATES[component.name]]
        return f"{text}: {'; '.join(own)}" if own else text

    def _workers(self) -> str:
        work = self._e.work
        if not self._fires(*BACKLOG):
            return ""
        if work.slots_exhausted:
            return "all their slots are in use"
        if work.no_pollers:
            return "no pollers where there is a backlog"
        if self._fires(*SERVER_REFUSES):
            return "their polls are refused or answered late"
        return "the backlog is not done yet" if work.draining else "they take fewer tasks than are added"

    def _dominant(self, component: ServiceHealth) -> str:
        spec, value = SPECS.get(component.dominant_signal or ""), self._value(component.dominant_signal or "")
        if spec is None or value is None:
            return ""
        quantile = next((f" at {q}" for q in ("p95", "p99") if f"_{q}_" in spec.id), "")
        text = bounded(measure(value, spec.unit), at_least=spec.id in self._e.signals.at_least)
        return f" ({spec.meaning}: {text}{quantile})"


# Of several that refuse, the deepest one is the cause.
_CHAIN_ORDER = ("persistence", "history", "frontend")


def _short(issue: Issue) -> str:
    """A title without the numbers of its moment."""
    return issue.title.partition(":")[0]


def _log_words(pattern: LogPattern, found: Correlation) -> str:
    what = "of a new kind" if pattern.mined else f"“{pattern.pattern}”"
    where = f" from {pattern.service}" if pattern.service in _LOG_SERVICES else ""
    lead = found.lead_sec
    when = "as" if abs(lead) < SAME_TIME_SEC else f"{span(abs(lead))} {'before' if lead > 0 else 'after'}"
    began = BY_NAME[found.event].began if found.event in BY_NAME else "it began"
    return f"{count(pattern.count, 'line')} {what}{where}, the first {when} {began}"
