"""Retrieval (property 5): at most five passages above the threshold, best first, and none with PromQL."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from copilot.explain.model.knowledge import MOST_PASSAGES, Passage, chosen, promql_in
from copilot.metrics import promql
from copilot.metrics.dialects import DIALECTS
from copilot.metrics.resolve import leaves_of
from copilot.rules.signals.expressions import Gauge
from copilot.rules.signals.taxonomy import SPECS
from copilot.sources.knowledge.local import LocalKnowledge
from tests.asked_of_runbooks import PEOPLE

LEAVES = leaves_of(SPECS.values())
QUERIES = sorted(
    {promql.leaf_promql(leaf, d, 60.0) for leaf in LEAVES for d in DIALECTS if d.role == leaf.series.role}
    | {promql.leaf_query(leaf, DIALECTS[0], 60.0) for leaf in LEAVES if not isinstance(leaf, Gauge)}
)
WORDS = sorted({word for text in PEOPLE.values() for word in text.split()})

prose = st.lists(st.sampled_from(WORDS), min_size=1, max_size=30).map(" ".join)
paragraph = st.one_of(prose, st.tuples(prose, st.sampled_from(QUERIES)).map("\n".join))
section = st.tuples(prose, paragraph).map(lambda s: f"## {s[0]}\n\n{s[1]}\n")
document = st.tuples(prose, st.lists(section, max_size=4)).map(lambda d: f"# {d[0]}\n\n{''.join(d[1])}")
unit = st.floats(0, 1)
passages = st.lists(st.builds(Passage, source=prose, title=prose, text=paragraph, score=unit), max_size=12)


def holds_a_query(passage: Passage) -> bool:
    return any(query in passage.text for query in QUERIES)


@given(documents=st.lists(document, max_size=4), asked=prose, least=unit)
def test_5_retrieval_gives_at_most_five_passages_above_the_threshold_best_first_without_promql(
    documents: list[str], asked: str, least: float
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate(documents):
            Path(folder, f"own-{number}.md").write_text(text, encoding="utf-8")
        found = asyncio.run(LocalKnowledge(Path(folder), least).retrieve(asked))
    assert found.reason == ""
    scores = [p.score for p in found.passages]
    assert len(scores) <= MOST_PASSAGES
    assert scores == sorted(scores, reverse=True)
    assert all(least <= score <= 1 for score in scores)
    assert not any(holds_a_query(p) for p in found.passages)
    assert all("#" in p.source for p in found.passages)


@given(found=passages, least=unit, most=st.integers(0, 20))
def test_5_what_is_chosen_is_the_best_of_what_may_be_shown(found: list[Passage], least: float, most: int) -> None:
    best = chosen(found, least, most)
    may = [p for p in found if p.score >= least and not holds_a_query(p)]
    assert sorted((p.score for p in best), reverse=True) == [p.score for p in best]
    assert len(best) == min(len(may), most, MOST_PASSAGES)
    assert [p.score for p in best] == sorted((p.score for p in may), reverse=True)[: len(best)]


def test_5_promql_is_known_in_every_dialect() -> None:
    plain_gauges = {q for q in QUERIES if promql_in(q) == ""}
    assert plain_gauges == set()
