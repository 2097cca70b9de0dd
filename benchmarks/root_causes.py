"""Metric-only root-cause methods of RCAEval beside our first cause, on the lab's recordings.

RCAEval is no dependency of ours, and runs in an environment of its own, on Python 3.12: `python3.12 -m venv rca &&
rca/bin/pip install --no-deps RCAEval && rca/bin/pip install numpy pandas scikit-learn requests tqdm`; then
`RCAEVAL_PYTHON=rca/bin/python python -m benchmarks root_causes` writes root_causes.json, which docs/benchmark.md shows.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from whenever import Instant

from benchmarks import Row
from copilot.errors import StartError
from copilot.rules.model import Evaluation
from lab.judge import play
from lab.labels import label_of
from lab.recorded_run import RECORDINGS, RecordedRun, find_runs, load_run

PROTOCOL = """\
RCAEval's methods that need neither a graph nor training, BARO and N-Sigma, rank the columns of a table by how far each
is from what it was before the fault. `python -m benchmarks root_causes` does it again (RCAEval in an environment of its
own: benchmarks/root_causes.py). The protocol, written before the run:

- A table is a recording: a column a signal, a row a tick every 10 s, to the end of the fault. A signal that was ever
  missing is left out. The methods know when the fault began; the Copilot does not.
- Recordings whose label names a cause that rests on signals. A signal is right if a finding that the label accepts
  rests on it in any evaluation during the fault. There are several such signals, and one of them is enough.
- *Top 1, 3, 5*: a right signal is among the first one, three, five. *The Copilot*: the first finding at the last
  evaluation of the fault is one that the label accepts; it names one cause, hence one column.
"""
FAIRNESS = """\
To be fair: we knew these recordings when we wrote the rules; the methods did not, and were made for columns like
`service_latency`, of which one service has few. Latencies of a server at rest vary little before a fault and much in
it, so they lead the rankings, whatever the fault; a late start of tasks, a symptom, counts as wrong. After the first
run one recording was left out, metrics-cut: its cause rests on no signal, so that only the Copilot could be right.
RCAEval {rcaeval}, taken {taken}; what is not right is in italics.
"""
RESULTS = Path(__file__).parent / "root_causes.json"
METHODS = ("baro", "nsigma")
COLUMNS = ("recording", "right signals", "the Copilot's first cause", "BARO's first", "N-Sigma's first")
SUMS = ("method", "incidents", "top 1", "top 3", "top 5")
_RANK = """
import json, sys
import pandas
from RCAEval import e2e
asked = json.load(sys.stdin)
ranks = {}
for name, case in asked.items():
    table = pandas.DataFrame(case["columns"])
    ranks[name] = {m: getattr(e2e, m)(table.copy(), case["fault"], dataset="lab")["ranks"] for m in ("baro", "nsigma")}
json.dump({"version": __import__("importlib.metadata").metadata.version("RCAEval"), "ranks": ranks}, sys.stdout)
"""


class Case(BaseModel):
    """One incident: what is right, our first cause and whether it is right, and each method's ranking."""

    right: tuple[str, ...]
    ours: str
    ours_right: bool
    ranks: dict[str, tuple[str, ...]]


class Results(BaseModel):
    """root_causes.json."""

    taken: str
    rcaeval: str
    cases: dict[str, Case]


def table(run: RecordedRun) -> dict[str, Any]:
    """A recording as RCAEval takes it: columns by name, and the second at which the fault began."""
    marks = run.taken.marks
    ticks = [t for t in run.ticks if t.time < marks.after]
    whole = [i for i in ticks[0].readings if all(t.readings.get(i) is not None for t in ticks)]
    columns = {i: [t.readings[i] for t in ticks] for i in whole}
    return {"columns": {"time": [t.time.timestamp() for t in ticks], **columns}, "fault": marks.fault.timestamp()}


def _in_fault(run: RecordedRun) -> list[Evaluation]:
    return [e for e in play(run) if run.taken.marks.fault <= e.time < run.taken.marks.after]


def _cases() -> Iterator[tuple[RecordedRun, Case]]:
    for name, path in find_runs(RECORDINGS).items():
        accepted = label_of(name).cause
        if accepted:
            run = load_run(name, path)
            evaluations = _in_fault(run)
            found = [f for e in evaluations for f in e.findings if f.finding in accepted]
            right = tuple(sorted({i for f in found for i in f.related_signals}))
            ours = evaluations[-1].top_factor or ""
            if not right:  # the loss of metrics rests on none
                continue
            yield run, Case(right=right, ours=ours, ours_right=ours in accepted, ranks={})


@cache
def results() -> Results:
    """The results as they were last taken."""
    return Results.model_validate_json(RESULTS.read_text("utf-8"))


def _top(ranking: Sequence[str], right: Sequence[str], most: int) -> bool:
    return bool(set(ranking[:most]) & set(right))


def sum_rows() -> Iterator[tuple[str, ...]]:
    """A row per method, and ours."""
    cases = list(results().cases.values())
    yield "the Copilot", str(len(cases)), f"{sum(c.ours_right for c in cases)}/{len(cases)}", "–", "–"
    for method, name in zip(METHODS, ("BARO", "N-Sigma"), strict=True):
        tops = (f"{sum(_top(c.ranks[method], c.right, n) for c in cases)}/{len(cases)}" for n in (1, 3, 5))
        yield name, str(len(cases)), *tops


def case_rows() -> Iterator[tuple[str, ...]]:
    """A row per incident; what is not right is in italics."""
    for name, case in results().cases.items():
        firsts = (case.ranks[m][0] for m in METHODS)
        marked = (f"`{first}`" if first in case.right else f"*`{first}`*" for first in firsts)
        yield name, str(len(case.right)), case.ours if case.ours_right else f"*{case.ours or '–'}*", *marked


def rows() -> Iterator[Row]:
    """Asks RCAEval, writes the results, and says how many first answers were right. StartError without RCAEval."""
    python = os.environ.get("RCAEVAL_PYTHON")
    if python is None:
        raise StartError(
            "set RCAEVAL_PYTHON to the python of an environment with RCAEval: see benchmarks/root_causes.py"
        )
    found = {run.name: (run, case) for run, case in _cases()}
    asked = json.dumps({name: table(run) for name, (run, _) in found.items()})
    answered = subprocess.run([python, "-c", _RANK], input=asked, capture_output=True, text=True, check=True)
    answer = json.loads(answered.stdout)
    cases = {
        name: case.model_copy(update={"ranks": {m: tuple(r[:5]) for m, r in answer["ranks"][name].items()}})
        for name, (_, case) in found.items()
    }
    kept = Results(taken=Instant.now().format_iso()[:10], rcaeval=answer["version"], cases=cases)
    RESULTS.write_text(json.dumps(kept.model_dump(), indent=1) + "\n", "utf-8")
    results.cache_clear()
    for name, _, top, *_ in sum_rows():
        yield Row(f"first cause right: {name}", int(top.split("/")[0]), "incidents", note=f"of {len(cases)}")
