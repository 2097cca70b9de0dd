"""The rules judge every recorded tick as before, say it in plain words, and judge other people's incidents, from public
reports and from clusters broken on purpose, as a fair judge would.

Those were recorded through a real Prometheus by `python -m lab.cases FOLDER --write tests/golden/recordings`.
"""

import gzip
import re
from pathlib import Path

import pytest

from copilot.explain import explained
from copilot.rules.gates.registry import GATES
from copilot.rules.model import Evaluation
from lab.cases import cases_of, complaints
from tests.core.test_narrative import texts
from tests.golden.verdicts import FILE, line, recordings, replayed

EXPECTED = {
    name: body.splitlines()
    for name, body in re.findall(r"^# (.+)\n((?:[^#].*\n)*)", gzip.decompress(FILE.read_bytes()).decode(), re.MULTILINE)
}
CASES = {
    f"golden/{folder}-{name}{way}": case
    for folder in ("public", "cluster", "cluster131")
    for name, case in cases_of(Path(__file__).parent / "expected" / f"{folder}.toml").items()
    for way in ("", "-api")
    if case.judgeable and f"golden/{folder}-{name}{way}" in EXPECTED
}
WRONG_TODAY = {
    "golden/cluster-freeze-history-api",
    "golden/cluster131-crashloop-api",
    "golden/public-nondeterminism",
}
"""Cases that are not right yet. One that becomes right is taken off the list."""
JARGON = re.compile(rf"\b(?:{'|'.join(g.name for g in GATES)})\b|\bgates?\b|\bmargin\b")
CLUMSY = re.compile(
    r"\d[eE][+-]?\d|(?<![\d.,])1 (?:tasks|workflows|signals|lines)\b|\bnan\b|\bNone\b|[{}]|  |\.\.|\)\s?\(|:\s*$|, ,"
)


def test_no_recording_is_left_out() -> None:
    assert sorted(EXPECTED) == sorted(recordings())
    assert len(CASES) == 59


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_tick_is_judged_as_before_in_plain_words_and_fairly(name: str) -> None:
    evaluations = list(replayed(recordings()[name]))
    said = [line(evaluation) for evaluation in evaluations]
    differing = [(i, was, now) for i, (was, now) in enumerate(zip(EXPECTED[name], said, strict=True)) if was != now]
    assert differing[:3] == []
    if name in CASES:
        found = list(complaints(CASES[name], evaluations))
        assert bool(found) == (name in WRONG_TODAY), "\n".join(found) or "it is right now: take it off WRONG_TODAY"
    elif name.startswith("lab/"):
        for evaluation in evaluations:
            in_plain_words(evaluation)


def in_plain_words(plain: Evaluation) -> None:
    evaluation = explained(plain)
    assert len(evaluation.summary) <= 420, evaluation.summary
    for text in texts(evaluation):
        assert not CLUMSY.search(text), text
        assert not JARGON.search(text), text
    for text in (evaluation.summary, evaluation.narrative.setting, evaluation.narrative.why):
        assert text.endswith("."), text
    sentences = re.split(r"(?<=\.) ", evaluation.summary)
    assert len(set(sentences)) == len(sentences), evaluation.summary
