"""Whether the runbook of each finding is found: its rank among the passages, for what evaluations ask and for an
operator's own words; and how far questions about something else stay below the threshold."""

import asyncio
import time
from collections.abc import Iterator

from benchmarks import Row
from copilot.rules.findings.registry import FINDINGS
from copilot.sources.knowledge.local import LEAST_SCORE, LocalKnowledge
from tests.asked_of_runbooks import PEOPLE, SOMETHING_ELSE, asked

MOST_RANK, MISSED = 3, 99


def rank(knowledge: LocalKnowledge, finding: str, asked_for: str) -> tuple[int, float]:
    """The place of the finding's own runbook among the passages, from 1, and its score; 99 where it is not there."""
    passages = asyncio.run(knowledge.retrieve(asked_for)).passages
    places = [(place, p.score) for place, p in enumerate(passages, 1) if p.source.startswith(f"{finding}.md#")]
    return places[0] if places else (MISSED, 0.0)


def rows() -> Iterator[Row]:
    """The worst rank of each finding over all that is asked; the scores that the threshold parts; the time."""
    knowledge = LocalKnowledge()
    for finding in (f.name for f in FINDINGS):
        questions = asked().get(finding, frozenset())
        ranks = [rank(knowledge, finding, q) for q in questions]
        worst = max((place for place, _ in ranks), default=MISSED)
        least = min((score for _, score in ranks), default=0.0)
        own = rank(knowledge, finding, PEOPLE[finding])[0]
        note = f"of {len(questions)} questions; score {least:.2f} and up; in an operator's words: {own}"
        yield Row(finding, worst, "", MOST_RANK, note)
    everything = LocalKnowledge(least_score=0.0)
    strange = [asyncio.run(everything.retrieve(q)).passages for q in SOMETHING_ELSE]
    noise = max((p.score for passages in strange for p in passages), default=0.0)
    yield Row("best score of questions about something else", noise, "", LEAST_SCORE)
    began = time.perf_counter()
    LocalKnowledge().size()
    yield Row("making the index", (time.perf_counter() - began) * 1000, "ms", 500.0, "once, and when a file changes")
    turns = list(PEOPLE.values())
    began = time.perf_counter()
    for text in turns:
        asyncio.run(knowledge.retrieve(text))
    yield Row("one question", (time.perf_counter() - began) / len(turns) * 1000, "ms", 50.0)
