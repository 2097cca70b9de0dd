"""Other people's incidents: what a fair judge expects of each, from public reports and from clusters broken on purpose.

The recordings were read through a real Prometheus by `python -m lab.cases FOLDER --write tests/golden/recordings`.
"""

from pathlib import Path

import pytest

from copilot.rules.evaluate import Context
from copilot.sources.recorded import read_recording
from lab.cases import Case, cases_of, complaints

HERE = Path(__file__).parent
FOLDERS = ("public", "cluster", "cluster131")
CASES = {
    f"{folder}-{name}{way}": case
    for folder in FOLDERS
    for name, case in cases_of(HERE / "expected" / f"{folder}.toml").items()
    for way in ("", "-api")
    if case.judgeable and (HERE / "recordings" / f"{folder}-{name}{way}.jsonl.gz").exists()
}
WRONG_TODAY: frozenset[str] = frozenset(
    {
        "cluster-freeze-history-api",
        "cluster-kill-history-api",
        "cluster-rolling-api",
        "cluster131-crashloop-api",
        "public-nondeterminism",
    }
)
"""Cases that are not right yet. One that becomes right is taken off the list."""


@pytest.mark.parametrize("name", CASES)
def test_a_case_is_judged_as_a_fair_judge_would(name: str) -> None:
    case: Case = CASES[name]
    header, ticks = read_recording(HERE / "recordings" / f"{name}.jsonl.gz")
    context = Context(cluster="case", interval_sec=header.interval_sec, window_sec=header.window_sec)
    found = list(complaints(case, ticks, context))
    assert bool(found) == (name in WRONG_TODAY), "\n".join(found) or "it is right now: take it off WRONG_TODAY"
