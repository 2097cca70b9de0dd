"""What a text claims the state to be, in so many words, and whether the verdict or the actor's health says so too."""

import re
from collections.abc import Iterator

from copilot.explain.model.evidence import Evidence
from copilot.rules.model import ReportedState

_HAPPY, _STRESSED, _CRITICAL, _UNKNOWN = (s.value for s in ReportedState)

# Words that name a state whatever they are said of.
_NAMES: dict[str, str] = {
    _HAPPY: r"happy|healthy|no (?:real )?(?:problems?|issues?|incidents?|outages?)\b(?! of| with)|nothing (?:is )?(?:wrong|broken)(?! with)|nothing to worry"
    r"|no (?:cause|reason|need) (?:for|to) (?:alarm|concern|worry|panic)|no (?:further |immediate )?action (?:is )?(?:needed|required|necessary)|false alarm"
    r"|all (?:is )?(?:good|well|clear|fine)|back to normal|everything (?:is )?(?:works?|fine|ok|okay|good|well|normal|green)|in good (?:health|shape)",
    _STRESSED: r"stressed",
    _CRITICAL: r"critical(?! (?:path|section|threshold|gate|severity|resource|finding))|unhealthy|outage|emergency|(?:severe|major|serious|grave) (?:incident|failure|problem)|threatens?|catastroph\w+|disaster\w*|meltdown|data loss|sev-?[01]\b",
    _UNKNOWN: r"(?:state|status|verdict|health) (?:is |as )?unknown|(?:state|status|verdict|health) cannot be \w+|blind",
}  # fmt: skip
# Words that do when they are said of the cluster, or of an actor.
_SAID_OF: dict[str, str] = {
    _HAPPY: r"fine|ok|okay|well|normal(?:ly)?|stable|good|great|nominal|calm|green|recovered|resolved|over|quiet|sound|perfect(?:ly)?|unaffected|up and running|as (?:it should|expected|intended|usual)",
    _STRESSED: r"degraded|struggling|strained|under (?:stress|strain|pressure)|overloaded|yellow|amber",
    _CRITICAL: r"down|broken|dead|dying|collapsed|collapsing|failing|unavailable|severe(?:ly)?|red|lost|crashed|offline|in trouble|falling apart|breaking down|on fire|in flames",
    _UNKNOWN: r"unknown|undetermined|unclear",
}  # fmt: skip
# Clauses that no other verdict than theirs allows.
_UNLESS_HAPPY = (
    r"nothing (?:needs|requires|has to be|to be) (?:fix\w*|mend\w*|do\w*|chang\w*|attention|repair\w*)|^ ?nothing to (?:do|fix|see)|there is nothing to (?:do|fix|see)|all systems|can wait (?:until|till|for)|"
    r"(?:crisis|danger|trouble|worst|emergency|storm) (?:has |is |have )?(?:passed|over|gone|ended|behind)|(?:users|customers|callers|clients) (?:will |do |can )?(?:not |never )(?:notice|feel|see)|"
    r"(?:can|may) (?:safely )?(?:be ignored|go back to sleep|relax|sleep)|go back to (?:sleep|bed)|rest easy|no impact|harmless|benign|(?:solved|fixed|mended|healed)(?! by)"
)
_NEVER = (
    r"(?:verdict|state|assessment|status|alert|gates?|rules|evaluation|copilot)\b[^.;]{0,40}\b(?:wrong|incorrect|mistaken|false|misleading|erroneous|inaccurate|exaggerat\w*|outdated|a bug)|so-called|(?:wrong|mistaken|misleading|premature|too strong|overstated|unfair|exaggerated) to (?:call|say|speak|think)|nothing (?:more|else|but)(?: than)? noise|"
    r"(?:disregard|ignore|never mind|pay no attention|forget|overrule|override|mistrust|distrust)\b[^.;]{0,40}\b(?:state|verdict|page|alert|warning|status|gates?|rules|above|instructions?)|"
    r"(?:wrong|false|incorrect|mistaken) (?:verdict|state|alert|reading|alarm|positive)"
)
_PROGRESS = (
    r"(?:cluster|system|work|everything|temporal|it) (?:still )?(?:makes? (?:good |full )?progress|keeps? up|copes|flows?)\b|(?:is|are) (?:all )?(?:being )?served (?:without|in time|promptly|quickly|as|normally|well|fine)|"
    r"without (?:any )?delay|in good time|makes? (?:good |full )?progress as|under control|in hand"
)
_MOST_FAIL = r"\b(?:all|most|nearly all|almost all|every|majority of|half of)\b[^.;,]{0,40}\b(?:fails?|failed|failing|refused|rejected|lost|stuck|turned away)\b|\bnothing (?:works|moves|is served)|\bstand(?:s)? still"
_PHRASES: dict[str, tuple[str, ...]] = {
    _HAPPY: (_NEVER, _MOST_FAIL),
    _STRESSED: (_NEVER, _UNLESS_HAPPY),
    _CRITICAL: (_NEVER, _UNLESS_HAPPY, _PROGRESS),
    _UNKNOWN: (_NEVER, _UNLESS_HAPPY, _PROGRESS, _MOST_FAIL),
}
_CONTRARY = {
    _HAPPY: (_STRESSED, _CRITICAL, _UNKNOWN),
    _STRESSED: (_HAPPY, _CRITICAL, _UNKNOWN),
    _CRITICAL: (_HAPPY, _STRESSED, _UNKNOWN),
    _UNKNOWN: (_HAPPY, _STRESSED, _CRITICAL),
}
_ACTORS = {
    "frontend": ("frontend",), "history": ("history",), "matching": ("matching",), "persistence": ("persistence",),
    "database": ("persistence",), "worker": ("workers",), "workers": ("workers",),
    "server": ("frontend", "history", "matching", "persistence"),
    "actor": ("frontend", "history", "matching", "persistence", "workers"),
    "actors": ("frontend", "history", "matching", "persistence", "workers"),
}  # fmt: skip
_CLUSTER = re.compile(
    r"\b(?:cluster|system|everything|temporal|platform|situation|installation|environment|state|status|health|verdict|overall|things|"
    r"service|services|incident|outage|problem|issue|it|we|this|all)\b"
)
_SUBJECT = re.compile(rf"\b(?:{'|'.join(_ACTORS)})\b|{_CLUSTER.pattern}")
_READINGS = re.compile(
    r"\b(?:latenc(?:y|ies)|rates?|backlogs?|caches?|load|polls?|errors?|queues?|slots?|which|hits?|numbers?|thresholds?|demand|"
    r"age|time-outs?|share|gates?|that|polling|throughput|readings?|deployments?|work|tasks?|metrics|page|endpoint|p99|p95)\b"
)
_NEGATED = re.compile(
    r"(?:\b(?:far from|anything but|hardly|barely)|\bnot(?: yet)?|\bno longer|\bnever|n't|\bneither(?: as)?|\bnor(?: as)?|\bno sign that [a-z ]{0,28}|\bno|\b(?:none|neither)(?: of [a-z]{1,10})? (?:is|are)|"
    r"^\s*no (?:(?!and )[a-z]+ ){1,5}(?:is|are))(?: a| an| the| really)? $"
)
_COMING = re.compile(
    r"(?<!has )(?<!have )(?<!is )(?<!are )(?<!now )(?:becomes?|turns?|returns?|(?:way |go |goes |come |comes )back|recovers?|"
    r"(?:will|would|could|may|might) (?:be(?: reported as)?|become))(?: to| into| a)? $"
)
_CONDITION = re.compile(r"\b(?:once|if|when|until|unless|may|might|could|will|way|should|would|before)\b")
_ALREADY = re.compile(r"\b(?:already|currently|now|right now|as it is|today|meanwhile|in fact|actually|of course)\b")
_CLAUSE = re.compile(r"[.!?;:\n]+\s+|\n|[.!?;:]$|\s[–—]\s|,\s|\s(?:but|while|although|because|whereas|though)\s|[()]")
_SENTENCE = re.compile(r"(?<=[.!?\n])\s+")
_DOUBTED = re.compile(r"\b(?:whether|cannot|not|hardly|barely|no longer)\b(?! (?:only|just))")
_LIMITS = re.compile(r"\b(server|worker)[- _]limited\b|\b(server|workers?) (?:is|are) the (?:limit|bottleneck)\b")


def contrary_claims(text: str, evidence: Evidence) -> Iterator[str]:
    """Clauses that say another state than the verdict's, or a health of an actor that the rules do not see."""
    for sentence in _SENTENCE.split(text.replace("’", "'").lower()):
        actor = ""
        for clause in _CLAUSE.split(sentence):
            found = [m.group() for m in re.finditer(rf"\b(?:{'|'.join(_ACTORS)})\b", clause)]
            if not _DOUBTED.search(clause) and any(re.search(p, clause) for p in _PHRASES[evidence.state.value]):
                yield clause.strip()[:120]
            if _clause_is_contrary(clause, sentence, actor, evidence):
                yield clause.strip()[:120]
            actor = found[-1] if found else actor
            for limit in _LIMITS.finditer(clause):
                whose = (limit[1] or limit[2]).removesuffix("s")
                negated = re.search(r"\b(?:not|neither|nor|never)\b", clause)
                if not negated and evidence.bottleneck.value not in (f"{whose}_limited", "mixed"):
                    yield clause.strip()[:120]


def _clause_is_contrary(clause: str, sentence: str, last_actor: str, evidence: Evidence) -> bool:
    state = evidence.state.value
    for said, names in _NAMES.items():
        for match in re.finditer(rf"\b(?:{names})\b", clause):
            before = clause[: match.start()]
            subject = _subject(before, clause, last_actor)
            if said == _HAPPY and subject in _ACTORS:
                if not _negated(before) and not _does_well(subject, evidence):
                    return True
                continue
            negated = _negated(before)
            if said == state and negated and _CLUSTER.search(before):
                return True
            if said in _CONTRARY[state] and not negated and not _excused(before, sentence, said, evidence):
                return True
    for said, words in _SAID_OF.items():
        for match in re.finditer(rf"\b(?:{words})\b", clause):
            before = clause[: match.start()]
            if _negated(before) or not re.search(r"[a-z]", before + last_actor):
                continue
            subject = _subject(before, clause, last_actor)
            reading = _last(_READINGS, before) > _last(_SUBJECT, before)
            if reading or not subject:
                continue
            if subject in _ACTORS:
                if said == _HAPPY and not _does_well(subject, evidence):
                    return True
                if said in (_STRESSED, _CRITICAL) and _all_well(subject, evidence) and _is(before):
                    return True
            elif said in _CONTRARY[state] and _is(before) and not _excused(before, sentence, said, evidence):
                return True
    return False


def _is(before: str) -> bool:
    """Whether a form of to be (or to look, to run…) or nothing stands right before the word."""
    verbs = r"(?:is|are|'s|'re|was|be|been|looks?|seems?|appears?|feels?|runs?|running|remains?|stays?|keeps?|works?|doing|has|have|operates?|operating|fully|again|all|state|status|health)"
    return bool(
        re.search(rf"\b{verbs}(?: \w+ly| quite| very| all| now| again| still| already| just)*\s*$|^\s*$|:\s*$", before)
    )


def _subject(before: str, clause: str, last_actor: str) -> str:
    found = [m.group() for m in _SUBJECT.finditer(before)]
    if found:
        return found[-1]
    return last_actor if re.fullmatch(r"[\s\w]{0,30}", before) and last_actor and len(clause) < 60 else ""


def _last(pattern: re.Pattern[str], text: str) -> int:
    return max((m.start() for m in pattern.finditer(text)), default=-1)


def _negated(before: str) -> bool:
    return bool(_NEGATED.search(before))


def _excused(before: str, sentence: str, said: str, evidence: Evidence) -> bool:
    """Whether the word tells of what was, or of what may come, and says so."""
    if evidence.state is ReportedState.UNKNOWN and re.search(r"last known(?: state)?(?: was| is|:)? $", before):
        return True
    if re.search(r"\b(?:held at|from|was|had been) $", before) and (
        said == (evidence.before.value if evidence.before else "") or (evidence.state.value == said)
    ):
        return True
    return bool(_COMING.search(before) and _CONDITION.search(sentence) and not _ALREADY.search(sentence))


def _does_well(subject: str, evidence: Evidence) -> bool:
    wanted = _ACTORS[subject]
    found = [a for a in evidence.actors if a.name in wanted]
    return len(found) == len(wanted) and all(a.forward_progress == "ok" for a in found)


def _all_well(subject: str, evidence: Evidence) -> bool:
    wanted = _ACTORS[subject]
    found = [a for a in evidence.actors if a.name in wanted]
    return all(a.forward_progress == "ok" and a.pressure in ("low", "unknown") for a in found)
