"""The verdict of every tick of every recording, a line each, without prose: what a change of code may not change.

`python -m tests.golden.verdicts` writes verdicts.txt.gz; a change of the rules does so and says what changed.
"""

import gzip
from collections.abc import Iterator
from pathlib import Path

from copilot.pipeline import replay
from copilot.rules.evaluate import Context
from copilot.rules.findings.registry import action
from copilot.rules.model import Evaluation
from copilot.sources.recorded import read_recording
from lab.recorded_run import RECORDINGS, find_runs

HERE = Path(__file__).parent
FILE = HERE / "verdicts.txt.gz"


def recordings() -> dict[str, Path]:
    """All recordings by name: the lab's, the earlier shorter set, and public and multi-process cases."""
    lab = {f"lab/{name}": path for name, path in find_runs(RECORDINGS).items()}
    scenarios = {f"scenarios/{name}": path for name, path in find_runs(HERE.parent / "scenarios").items()}
    return {**lab, **scenarios, **{f"golden/{n}": p for n, p in find_runs(HERE / "recordings").items()}}


def replayed(path: Path) -> Iterator[Evaluation]:
    """The evaluations of one recording's ticks."""
    header, ticks = read_recording(path)
    return replay(ticks, Context(cluster="golden", interval_sec=header.interval_sec, window_sec=header.window_sec))


def line(evaluation: Evaluation) -> str:
    """A verdict."""
    verdict = evaluation.verdict
    gates = " ".join(f"{g.name}={_number(g.value)}/{_number(g.threshold)}" for g in verdict.gates if g.fired)
    found = " ".join(
        f"{f.finding}@{f.subject.replace(' ', '')}[{','.join(_key(f.finding, a.key) for a in f.actions)}]"
        for f in evaluation.findings
    )
    stale = " stale" if verdict.stale else ""
    return f"{evaluation.time} {verdict.health_state}{stale} {evaluation.bottleneck} | {gates} | {found}"


def _key(finding: str, key: str) -> str:
    offered = action(finding, key)
    assert offered is not None
    return f"{offered.kind}:{offered.target}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.12g}"


def document() -> Iterator[str]:
    """All of it, a heading a recording."""
    for name, path in recordings().items():
        yield f"# {name}"
        yield from map(line, replayed(path))


if __name__ == "__main__":
    with gzip.GzipFile(FILE, "wb", mtime=0) as file:
        file.write("".join(f"{line}\n" for line in document()).encode())
