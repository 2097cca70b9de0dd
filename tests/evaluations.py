"""Evaluations for tests that need one and do not care how it came about: the rules' own, of recorded ticks.

`happy`, `stressed` and `critical` are of the lab's recording in which the workers of one of two task queues are gone
(its queues `billing` and `orders` with their names swapped), `unknown` is of the one in which the metrics page is gone.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from whenever import Instant

from copilot import pipeline
from copilot.explain import explained
from copilot.explain.model.answer import Explanation
from copilot.rules.evaluate import Context
from copilot.rules.memory import Memory
from copilot.rules.model import Evaluation, HealthAssessment, Issue, Snapshot, SuggestedAction, Trigger
from copilot.rules.signals.readings import Missing, MissingCode, ProcessRead, RecordingHeader, Signals
from copilot.sources.recorded import read_recording, recording_to
from lab.recorded_run import RECORDINGS, find_runs

NOON = Instant.from_utc(2026, 11, 22, 12)
FAULT = 8
"""The first tick of the fault in either recording."""

HEALTHY: dict[str, float | None] = tomllib.loads(
    (Path(__file__).parent / "data" / "healthy.toml").read_text(encoding="utf-8")
)["measured"]
SERVER = ProcessRead(
    "http://10.0.0.1:9090/metrics", "server", services=("frontend", "history", "matching", "worker"), version="1.32.0",
    shards=4.0,
)  # fmt: skip
WORKER = ProcessRead("http://10.0.0.2:9464/metrics", "worker", version="temporal-core-sdk")
REFUSED = Missing(code=MissingCode.TARGET_DOWN, detail="Connection refused")
PROCESSES = ((SERVER, WORKER), (SERVER, replace(WORKER, missing=REFUSED)))
"""Of recorded ticks: before the fault, and from then on."""
UNREAD = {"connection_pool.wait_count": Missing(code=MissingCode.NO_SOURCE, detail="SQLite has no connection pool")}


def signals(time: Instant = NOON, **changed: float | None) -> Signals:
    """Readings to feed to the rules: of a healthy cluster, but for `changed` ids, written with two underscores for the
    dot."""
    readings = HEALTHY | {name.replace("__", ".", 1): value for name, value in changed.items()}
    worker_down = Missing(code=MissingCode.TARGET_DOWN, detail="connection refused")
    missing = {i: worker_down for i, v in readings.items() if v is None} | UNREAD
    return Signals(
        time=time, readings=readings | dict.fromkeys(UNREAD), missing=missing, targets={"server": 1, "worker": 1}
    )


@cache
def recorded(name: str) -> tuple[Signals, ...]:
    """The ticks of one of the lab's recordings."""
    text = "\n".join(tick.model_dump_json() for tick in read_recording(find_runs(RECORDINGS)[name])[1])
    swapped = re.sub('"(billing|orders)"', lambda m: '"orders"' if m[1] == "billing" else '"billing"', text)
    ticks = [Signals.model_validate_json(line) for line in swapped.splitlines()]
    return tuple(tick.model_copy(update={"processes": PROCESSES[n >= FAULT]}) for n, tick in enumerate(ticks))


def judged(
    ticks: list[Signals], end: Instant, interval: float = 30.0, cluster: str = "default"
) -> Iterator[Evaluation]:
    """What the rules make of these ticks, one interval apart, the last one at `end`."""
    start = end.subtract(seconds=interval * (len(ticks) - 1))
    timed = [t.model_copy(update={"time": start.add(seconds=interval * i)}) for i, t in enumerate(ticks)]
    return pipeline.replay(timed, Context(cluster, interval, 2 * interval))


@cache
def _made(state: str, interval: float) -> Evaluation:
    """The evaluation at NOON: the state is six ticks old, or, if stressed, work stalls for the first time."""
    ticks = recorded("metrics-cut" if state == "unknown" else "one-of-two-queues")[: FAULT + 24]
    for e in judged([*ticks, *ticks[-1:] * 30], NOON, interval):
        since = (e.time - e.verdict.since).total("seconds")
        if e.verdict.health_state == state and (
            "work_stalled" in e.verdict.fired() if state == "stressed" else since >= 6 * interval
        ):
            return e
    raise AssertionError(f"{state} does not occur")


@cache
def _at(state: str, time: Instant, interval: float) -> Evaluation:
    """The same evaluation at another time."""
    made = _made(state, interval)
    later = time - made.time

    def shifted(found: re.Match[str]) -> str:
        if found[0].endswith("Z"):
            return (Instant.parse_iso(found[0]) + later).format_iso()
        return (Instant.parse_iso(f"2026-11-22T{found[0][:8]}Z") + later).format_iso()[11:19] + " UTC"

    document = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z|\d\d:\d\d:\d\d UTC", shifted, made.model_dump_json())
    return Evaluation.model_validate_json(document)


def evaluation(
    state: str = "happy", time: Instant = NOON, *, cluster: str = "default", interval: float = 30.0, **changed: Any
) -> Evaluation:
    """The rules' evaluation in `state` (happy, stressed, critical or unknown) at `time`; `changed` replaces fields."""
    made = _at(state, time, interval)
    named = made.model_copy(update={"cluster": cluster, "evaluation_id": evaluation_id(cluster, time)})
    return Evaluation.model_validate(dict(named) | changed) if changed else named


def assessment(
    state: str = "happy", time: Instant = NOON, *, cluster: str = "default", interval: float = 30.0,
    trigger: Trigger = Trigger.STATE_CHANGE, **changed: Any,
) -> HealthAssessment:  # fmt: skip
    """The same as an assessment."""
    made = evaluation(state, time, cluster=cluster, interval=interval, **changed)
    return HealthAssessment(**dict(made), trigger=trigger)


def in_a_models_words(
    summary: str, state: str = "critical", time: Instant = NOON, *, cluster: str = "default", **changed: Any
) -> HealthAssessment:
    """An assessment that a model explained, with this summary; `changed` replaces fields of its explanation."""
    made = evaluation(state, time, cluster=cluster)
    told = Explanation(
        **({"explained_by": "model", "summary": summary, "note": "", "narrative": explained(made).narrative} | changed)
    )
    return HealthAssessment(**dict(made), trigger=Trigger.STATE_CHANGE, explanation=told.model_dump(mode="json"))


def evaluation_id(cluster: str, time: Instant) -> str:
    """Cluster and tick, as the rules name an evaluation."""
    return f"{cluster}:{time.timestamp()}"


def snapshot(of: Evaluation, **changed: Any) -> Snapshot:
    """A snapshot of an evaluation; `changed` replaces fields."""
    made = pipeline.snapshot(of, Memory(), Context(of.cluster, of.interval_sec, of.window_sec))
    return made.model_copy(update=changed)


def issue(finding: str = "no_pollers", subject: str = "orders", **changed: Any) -> Issue:
    """The critical evaluation's finding, of this name and about this subject."""
    found = explained(evaluation("critical")).findings[0]
    texts = {name: getattr(found, name).replace("orders", subject) for name in ("title", "description")}
    return found.model_copy(update={"finding": finding, "subject": subject, **texts, **changed})


def scale_workers(**changed: Any) -> SuggestedAction:
    """Its first action: start workers."""
    return issue().suggested_actions[0].model_copy(update=changed)


def write_recording(path: Path, header: RecordingHeader, ticks: Iterable[Signals]) -> None:
    """Write a whole recording."""
    with recording_to(path, header) as recording:
        for tick in ticks:
            recording.add(tick)
