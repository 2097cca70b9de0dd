"""Judges public cases: `python -m lab.cases FOLDER…` reads expected.toml and metrics, and prints what is wrong.

Metrics (NAME.om.gz, OpenMetrics text with timestamps) are loaded into a real Prometheus; recordings (NAME.jsonl.gz) are
read as they are. `--write DIR` keeps what was read as recordings.
"""

import argparse
import asyncio
import gzip
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from pydantic import BaseModel, ConfigDict, Field
from whenever import Instant

from copilot import pipeline
from copilot.embedded.ports import free_ports
from copilot.explain import ExplainedEvaluation, explained
from copilot.replay import evaluation_times, explanation_of, recording_header
from copilot.rules.evaluate import Context
from copilot.rules.model import Evaluation, ReportedState
from copilot.rules.signals.readings import Signals
from copilot.settings.clusters import ClusterSettings, PrometheusSettings
from copilot.sources.prometheus.range import PrometheusRange
from copilot.sources.recorded import read_recording, recording_to

STEP_SEC = 15.0


class Span(BaseModel):
    """States that may be reported from `start` to `end`, seconds since the case began."""

    model_config = ConfigDict(extra="forbid")

    start: float = Field(alias="from")
    end: float = Field(alias="to")
    allowed: tuple[ReportedState, ...]


class Bounds(BaseModel):
    """What a reading must be from `start` to `end`."""

    model_config = ConfigDict(extra="forbid")

    start: float = Field(alias="from")
    end: float = Field(alias="to")
    low: float
    high: float
    or_missing: bool = False


class Case(BaseModel):
    """What a fair judge expects of an incident; the README of its folder explains the fields."""

    model_config = ConfigDict(extra="allow")

    kind: str = ""
    why: str = ""
    begin: Instant | None = None
    start: Instant | None = None
    end: Instant | None = None
    window_sec: float = 60.0
    states: tuple[Span, ...] = ()
    judged: tuple[float, float] | None = None
    causes: frozenset[str] = frozenset()
    not_causes: frozenset[str] = frozenset()
    bottleneck: frozenset[str] = frozenset()
    not_bottleneck: frozenset[str] = frozenset()
    said: str = ""
    not_said: str = ""
    readings: dict[str, Bounds] = Field(default_factory=dict)

    @property
    def judgeable(self) -> bool:
        """Whether it is about metrics: some cases are one log line."""
        return bool(self.states)


def cases_of(expected: Path) -> dict[str, Case]:
    """The cases of an expected.toml by name."""
    table = tomllib.loads(expected.read_text("utf-8"))
    return {name: Case.model_validate(row) for name, row in table.items()}


def complaints(case: Case, evaluations: Iterable[Evaluation]) -> Iterator[str]:
    """What is wrong with our answers to a case, a line each."""
    assert case.begin is not None
    said_where_needed = not case.said
    for plain in evaluations:
        evaluation = explained(plain)
        at = (evaluation.time - case.begin).total("seconds")
        state = evaluation.verdict.health_state
        span = next((s for s in case.states if s.start <= at < s.end), None)
        if span is not None and state not in span.allowed:
            gates = ",".join(evaluation.verdict.fired())
            yield f"{at:+5.0f} {state} (may be {'|'.join(span.allowed)}) [{gates}] {evaluation.top_factor}"
        for signal_id, bounds in case.readings.items():
            if bounds.start <= at < bounds.end and (wrong := _reading(evaluation.signals, signal_id, bounds)):
                yield f"{at:+5.0f} {signal_id} {wrong}"
        if case.judged is None or not case.judged[0] <= at < case.judged[1]:
            continue
        words = _words(evaluation)
        said_where_needed |= bool(re.search(case.said, words[1], re.IGNORECASE))
        if case.not_said and (hit := re.search(case.not_said, words[0], re.IGNORECASE)):
            yield f"{at:+5.0f} said {hit[0]!r}"
        if state is ReportedState.HAPPY:
            continue
        cause, side = evaluation.top_factor, evaluation.bottleneck
        if (case.causes and cause not in case.causes) or cause in case.not_causes:
            yield f"{at:+5.0f} cause {cause} [{','.join(evaluation.verdict.fired())}]"
        if (case.bottleneck and side not in case.bottleneck) or side in case.not_bottleneck:
            yield f"{at:+5.0f} bottleneck {side}"
    if not said_where_needed:
        yield f"never said {case.said!r}"


def _reading(signals: Signals, signal_id: str, bounds: Bounds) -> str:
    value = signals.value(signal_id)
    if value is not None:
        return "" if bounds.low <= value <= bounds.high else f"{value:.4g} is not in {bounds.low:g}…{bounds.high:g}"
    if bounds.or_missing and not signals.quiet(signal_id):
        return ""
    return "no traffic" if signals.quiet(signal_id) else f"missing: {signals.why_missing(signal_id)}"


def _words(evaluation: ExplainedEvaluation) -> tuple[str, str]:
    """Summary, first finding and its first action; and everything that is said."""
    words = explanation_of(evaluation)
    first: dict[str, Any] = next(iter(words["findings"]), {})
    top = (words["summary"], first.get("title", ""), first.get("cause", ""), *first.get("actions", [])[:1])
    return " ".join(top), repr(words)


@contextmanager
def prometheus(metrics: Sequence[Path]) -> Iterator[str]:
    """The address of a Prometheus that has these OpenMetrics texts."""
    with tempfile.TemporaryDirectory(prefix="copilot-cases-") as name:
        folder = Path(name)
        for path in metrics:
            text = folder / "case.om"
            text.write_bytes(gzip.decompress(path.read_bytes()))
            subprocess.run(
                ["promtool", "tsdb", "create-blocks-from", "openmetrics", "-q", text, folder / "tsdb"],
                check=True, stdout=subprocess.DEVNULL,
            )  # fmt: skip
        (folder / "p.yml").write_text("global: {}\n", "utf-8")
        url = f"http://127.0.0.1:{(port := free_ports(1)[0])}"
        server = subprocess.Popen(
            ["prometheus", f"--config.file={folder / 'p.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
             "--storage.tsdb.retention.time=100y", "--query.lookback-delta=20s", "--log.level=error",
             f"--web.listen-address=127.0.0.1:{port}"],
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            _wait(url + "/-/ready")
            yield url
        finally:
            server.terminate()
            server.wait(30)


def _wait(url: str) -> None:
    for _ in range(600):
        with suppress(httpx.HTTPError):
            if httpx.get(url, timeout=5, trust_env=False).is_success:
                return
        time.sleep(0.1)
    raise TimeoutError(f"{url} does not answer")


async def read_from(url: str, name: str, case: Case) -> tuple[ClusterSettings, list[Signals]]:
    """The case's ticks as a configured cluster reads them from its Prometheus' past."""
    assert case.start is not None
    assert case.end is not None
    cluster = ClusterSettings(
        name=name,
        prometheus=PrometheusSettings.model_validate({"url": url}),
        interval_sec=STEP_SEC,
        window_sec=case.window_sec,
    )
    assert cluster.prometheus is not None
    source = PrometheusRange(cluster, cluster.prometheus)
    try:
        times = evaluation_times(case.start, case.end, STEP_SEC, Instant.now())
        return cluster, [signals async for signals in source.ticks(times)]
    finally:
        await source.aclose()


async def judged(folder: Path, only: str, write: Path | None) -> list[tuple[str, list[str]]]:
    """The complaints about each case of a folder."""
    known = {n: c for n, c in cases_of(folder / "expected.toml").items() if c.judgeable and re.search(only, n)}
    metrics = [p for n in known if (p := folder / f"{n}.om.gz").exists()]
    found: list[tuple[str, list[str]]] = []
    with prometheus(metrics) as url:
        for name, case in known.items():
            if (folder / f"{name}.om.gz").exists():
                cluster, ticks = await read_from(url, name, case)
                found.append((name, list(complaints(case, pipeline.replay(ticks, pipeline.context(cluster))))))
                if write:
                    kept = write / f"{folder.name}-{name}.jsonl.gz"
                    kept.unlink(missing_ok=True)
                    with recording_to(kept, recording_header(cluster, ())) as file:
                        for tick in ticks:
                            file.add(tick)
            if (recording := folder / f"{name}.jsonl.gz").exists():
                header, lines = read_recording(recording)
                context = Context("case", header.interval_sec, header.window_sec)
                found.append((f"{name} (recording)", list(complaints(case, pipeline.replay(lines, context)))))
    return found


def main(arguments: Sequence[str]) -> int:
    """Print what is wrong. Returns 1 if anything is."""
    options = argparse.ArgumentParser(prog="python -m lab.cases", description=__doc__)
    options.add_argument("folder", type=Path, nargs="+")
    options.add_argument("--only", default="", help="a regular expression of names")
    options.add_argument("--write", type=Path, help="where recordings are written")
    options.add_argument("--most", type=int, default=6, help="lines a case")
    chosen = options.parse_args(arguments)
    wrong = total = 0
    for folder in chosen.folder:
        for name, lines in asyncio.run(judged(folder, chosen.only, chosen.write)):
            total += 1
            wrong += bool(lines)
            print(f"{'WRONG' if lines else 'right'} {folder.name}/{name}" + (f" ({len(lines)})" if lines else ""))
            for line in lines[: chosen.most]:
                print(f"        {line}")
    print(f"{total - wrong} of {total} right")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
