"""Guards on what a model advises (design.md, law 6): nothing that destroys, no command to paste, no server to restart
for a worker's problem, no fewer workers while they are full."""

import re
from collections.abc import Iterator

from copilot.explain.model.evidence import Evidence
from copilot.rules.gates.registry import SERVER_REFUSES, SERVER_SLOW
from copilot.rules.model import ActionType, BottleneckClassification, SuggestedAction
from copilot.rules.scaling import broken_rule

TARGETS = frozenset(
    {"workers", "frontend", "history", "matching", "persistence", "server", "metrics", "application", "clients"}
)
SERVER = frozenset({"frontend", "history", "matching", "persistence", "server"})
PARAMETERS = frozenset(
    {
        "direction",
        "raise",
        "task_queue",
        "namespace",
        "worker_version",
        "workflow_type",
        "activity_type",
        "operation",
        "signal",
        "rule",
    }
)
_COMMAND = re.compile(
    r"\b(?:kubectl|helm|docker|podman|systemctl|sudo|rm\s+-\w+|curl|wget|bash|zsh|powershell|psql|mysql|tctl|tdbg|ssh|scp|chmod|chown|"
    r"kill\s+-\w+|pkill|killall|terraform|ansible|nc|eval|exec|cqlsh|redis-cli|mkfs|dd\s+if)\b|\baws\s+[a-z]+\s|\bgcloud\s|\baz\s[a-z]+\s|"
    r"\btemporal\s+(?:workflow|operator|server|task-queue|batch|schedule|env|activity|worker)\s|&&|\|\||\$\(|;\s*--|`[^`]*\s-{1,2}\w|"
    r"\b(?:select\s.{1,80}\sfrom|insert\s+into|update\s+\w+\s+set|delete\s+from|drop\s+(?:table|database|schema|index)|alter\s+(?:table|system)|truncate\s+\w+)\b|(?<!\w)/(?:etc|var|bin|usr|tmp|home|root|proc|dev)/",
    re.IGNORECASE,
)  # fmt: skip
_NOT = re.compile(
    r"(?:\b(?:do not|don't|never|must not|should not|cannot|can't|need not|without|avoid|rather than|instead of|no need to|nor|not to)(?: \w+ing or| ever)?"
    r"|\b(?:do not|don't|never) \w+ (?:or|and|nor)) $"
)
_ALWAYS = r"delet(?:e|ing|ion of)|truncat(?:e|ing)|wip(?:e|ing)|purg(?:e|ing)|eras(?:e|ing)|destroy(?:ing)?|nuk(?:e|ing)|overwrit(?:e|ing)|obliterat(?:e|ing)|factory[- ]reset|reformat(?:ting)?|get(?:ting)? rid of|shred|unregister(?:ing)?|deregister(?:ing)?|decommission(?:ing)?"
_VERBS = r"drop|dropping|kill|killing|terminate|terminating|remove|removing|clear|clearing|flush|flushing|reset|resetting|cancel|cancell?ing|empty|emptying|discard|discarding|end|stop|stopping|shut down|shutting down|abandon|abort|recreate|recreating|forget|detach|disconnect|throw away|take down|tear down|bring down|drain|expire"
_OBJECTS = r"tables?|databases?|db|schemas?|namespaces?|workflows?|executions?|runs?|histor(?:y|ies)|backlogs?|task queues?|queues?|tasks?|data|records?|rows?|shards?|index(?:es)?|keyspaces?|cluster|disks?|volumes?|backups?|pods?|containers?|nodes?|stateful\s?sets?|deployments?|work|persistence|storage|store|server"
_DISABLE = r"(?:disabl(?:e|ing)|turn(?:ing)? off|switch(?:ing)? off|deactivat(?:e|ing)|bypass(?:ing)?|mut(?:e|ing)|silenc(?:e|ing)|ignor(?:e|ing)|suppress(?:ing)?|remov(?:e|ing)|lift(?:ing)?|expos(?:e|ing)|unpatch|downgrad(?:e|ing))"
_PROTECTION = r"auth\w*|tls|ssl|mtls|certificates?|encryption|firewalls?|alerts?|alerting|alarms?|monitoring|copilot|this (?:alert|warning|verdict|state)|verification|security|rate limit\w*|all limits?|audit\w*|backups?|replication|persistence|retention|health checks?|metrics|credentials?|secrets?|passwords?"
_DESTROYS = re.compile(
    rf"\b(?:(?:{_ALWAYS})\b|(?<!\bthe )(?<!\ban )(?<!\ba )(?:{_VERBS})\b(?: (?!and\b|or\b|by\b)[\w'§-]+){{0,4}}? (?:{_OBJECTS})\b|{_DISABLE}(?: [\w'§-]+){{0,3}}? (?:{_PROTECTION})\b"
    r"|\b(?:have|get|getting|having|be)\b[^.;]{0,40}\b(?:deleted|truncated|wiped|purged|erased|destroyed|dropped|terminated|cancell?ed|removed)\b"
    r"|\b(?:upgrad|migrat|replac)\w* (?:the )?(?:temporal |whole )?(?:server|database|cluster)\b"
    r"|\b(?:post|shar|publish|past|send|print|reveal|expos|dump|email|hand)\w*\b[^.;]{0,40}\b(?:password|credential|secret|token|key)s?\b"
    r"|\b(?:empty|new|fresh|blank|clean) (?:database|schema|cluster|namespace|keyspace|disk|volume|store)\b|\bfrom scratch\b|\bstart(?:ing)? over\b"
    r"|\b(?:re-?provision|re-?install|re-?build|re-?initiali[sz]e|re-?format|re-?create|roll back the (?:database|schema)|restore (?:from|the) (?:a |the )?backup)\w*"
    r"|\b(?:set|sett|lower|reduc|short|chang|decreas)\w*\b[^.;]{0,30}\bretention\b|\bretention\b[^.;]{0,20}\bto\b"
    r"|\b(?:let|make|have|allow)\b[^.;]{0,40}\b(?:expire|lapse|time out|disappear|vanish|die)\b|\bwithout (?:a |any )?(?:token|password|auth\w*|tls|credentials?|verification|review|approval|backup)"
    r"|\b(?:allow|open|permit|accept|trust)\w*\b[^.;]{0,20}\b(?:all|any|every|anonymous|public|everyone|anybody|anyone)\b|\bturn\w*\b[^.;]{0,30}\boff\b|\breplicas?\b[^.;]{0,30}\bto (?:0|zero)\b"
    r"|\bhalv(?:e|ing) (?:the )?(?:fleet|workers|capacity)|set(?:ting)? (?:the )?(?:\w+ ){0,3}(?:retention|replicas|replica count) (?:period )?to)",
    re.IGNORECASE,
)
_DOWN = re.compile(
    r"\bscal(?:e|ing)\b[^.;]{0,40}?\b(?:down|in|to (?:zero|0|one|1)|back)\b|\b(?:reduc(?:e|ing)|decreas(?:e|ing)|lower(?:ing)?|cut(?:ting)?|halv(?:e|ing)|shrink(?:ing)?|"
    r"remov(?:e|ing)|stop(?:ping)?|fewer|smaller|leaner|downsiz(?:e|ing)|trim(?:ming)?|retir(?:e|ing)|paus(?:e|ing)|shut(?:ting)? down|less|drop(?:ping)?|turn(?:ing)? off)\b[^.;,]{0,40}\b(?:workers?|replicas?|worker (?:slots|processes|pods|fleet|deployment)|slots|capacity|fleet|pollers)\b|"
    r"\bdown-?scal\w+|\bdownsiz\w+|\bscale-(?:down|in)\b|\bto zero (?:replicas|workers)\b",
    re.IGNORECASE,
)  # fmt: skip
_UP = re.compile(
    r"\b(?:add|adding|start|more|scale[ -](?:up|out)|scale out|increase|raise|bring|additional|restore|grow|double|second|spin up|launch|boost|extend|give|provide|resume|redeploy)\b",
    re.IGNORECASE,
)
_RESTART = r"(?:roll|cycl|restart|reboot|bounc|recycl|redeploy|power[- ]cycl|re-?start|roll(?:ing)?[- ]restart|relaunch|kill)(?:e|ing|s)?"
_SERVER_WORDS = (
    r"(?:temporal|server|frontend|history|matching|persistence|database|cluster|postgres\w*|mysql|cassandra)"
)
_RESTARTS_SERVER = re.compile(
    rf"\b{_RESTART}\b(?: (?:the|all|every|your|each|whole|entire|of|temporal|and|or|service|services|pods|hosts|nodes|§)){{0,5}} {_SERVER_WORDS}\b",
    re.IGNORECASE,
)
_SCALES_SERVER = re.compile(
    rf"\b(?:scale|scaling|add|adding|more|grow)\b(?: (?:up|out|the|more|temporal|of|number)){{0,4}} {_SERVER_WORDS}\b",
    re.IGNORECASE,
)
_POLLERS = re.compile(r"\b(?:more|raise|increase|add|higher|double)\b[^.;]{0,30}\bpollers?\b", re.IGNORECASE)


def dangerous(text: str, evidence: Evidence) -> Iterator[str]:
    """Passages of a text that advise what must not be advised. What is said not to be done is no advice."""
    for match in _COMMAND.finditer(text):
        yield match.group()
    patterns = [_DESTROYS]
    if not _server_is_to_blame(evidence):
        patterns += [_RESTARTS_SERVER, _SCALES_SERVER]
    if _full(evidence):
        patterns.append(_DOWN)
    for pattern in patterns:
        for match in pattern.finditer(text):
            before = text[max(0, match.start() - 40) : match.start()].lower().replace("’", "'")
            if not _NOT.search(before) and not _told_not_to_help(text[match.start() : match.end() + 60]):
                yield match.group()


def _told_not_to_help(part: str) -> bool:
    """`Scaling history would not help.`"""
    return bool(re.search(r"^[^.;,]{0,80}?\b(?:would|will|does|do) (?:not|only) help\b|^[^.;]{0,60}\bwould make it worse\b", part.split(".")[0], re.IGNORECASE)) and "only" not in part.split(".")[0]  # fmt: skip


def _server_is_to_blame(evidence: Evidence) -> bool:
    limits = (BottleneckClassification.SERVER_LIMITED, BottleneckClassification.MIXED)
    return evidence.bottleneck in limits or bool({*evidence.fired} & (frozenset((*SERVER_REFUSES, *SERVER_SLOW))))


def _full(evidence: Evidence) -> bool:
    """Whether a worker less would break NEVER_SCALE_DOWN_AT_ZERO."""
    fewer = SuggestedAction(action_type=ActionType.SCALE, target_service="workers", description="", confidence=0, risk_level="low", parameters={"direction": "down"})  # fmt: skip
    return broken_rule(fewer, evidence.signals) is not None


def as_meant(action: SuggestedAction) -> SuggestedAction:
    """The action with what its words say and its parameters leave out: the direction, and whether pollers are raised."""
    meant = dict(action.parameters)
    if _DOWN.search(action.description):
        meant["direction"] = "down"
    if _POLLERS.search(action.description):
        meant["raise"] = "pollers"
    return action.model_copy(update={"parameters": meant})


def broken_guards(actions: tuple[SuggestedAction, ...], evidence: Evidence) -> Iterator[tuple[int, str]]:
    """Actions that break a guard, and which."""
    refused = {*SERVER_REFUSES} & {*evidence.fired}
    scaled = False
    for number, action in enumerate(actions):
        kind, target = action.action_type, action.target_service
        meant = as_meant(action)
        if target not in TARGETS:
            yield number, f"nobody knows a target {target[:40]}"
        if kind in (ActionType.RESTART, ActionType.SCALE) and target in SERVER and not _server_is_to_blame(evidence):
            yield number, f"{kind.value} of {target} for a problem that is not the server's"
        if kind in (ActionType.RESTART, ActionType.SCALE) and target == "workers" and refused:
            yield number, "advice on workers while the server refuses work"
        if kind is ActionType.SCALE:
            down = meant.parameters.get("direction") == "down"
            if not down and not _UP.search(action.description) and meant.parameters.get("direction") != "up":
                yield number, "a scaling that does not say which way"
            scaled = scaled or (target == "workers" and not down)
        if (
            kind is ActionType.RESTART
            and target == "workers"
            and not scaled
            and any(evidence.signals.value(f"workers.{k}_slots_available") == 0 for k in ("workflow", "activity"))
        ):
            yield number, "a restart of full workers before others were added"
        for name in action.parameters:
            if name not in PARAMETERS:
                yield number, f"a parameter {name[:40]} that nobody knows"
