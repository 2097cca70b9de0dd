"""A secret and control characters planted where they can get in, and everything looked through where they could get
out."""

import json
from functools import partial
from pathlib import Path

import pytest
from whenever import Instant

from copilot import bootstrap, pipeline
from copilot.embedded.ports import free_ports
from copilot.errors import SettingsError, SourceError, StoreError
from copilot.explain import explained
from copilot.logs.patterns import PatternBook
from copilot.loops.activities.observe import LogActivities, WatchedLogs
from copilot.loops.messages import QueryLogs
from copilot.pipeline import cleaned
from copilot.redaction.redactor import redacted
from copilot.rules.evaluate import evaluate
from copilot.rules.memory import Memory
from copilot.rules.model import Evaluation, HealthAssessment, Trigger
from copilot.rules.signals.logs import LogReading, with_logs
from copilot.rules.signals.readings import (
    BreakdownRow,
    Missing,
    MissingCode,
    ProcessRead,
    RecordingHeader,
    Signals,
)
from copilot.settings.clusters import ClusterSettings, MetricsEndpoint
from copilot.sources.logs.file import FileLogs
from copilot.store.rows import split_evaluation, to_jsonb
from tests.api.conftest import client
from tests.api.standin import Clock, ToldLoop, deps
from tests.cluster_signals import at, healthy, with_queues, workers_down
from tests.evaluations import write_recording
from tests.fakes.memory_store import MemoryStore

PASSWORD, TOKEN, KEY = "corr3ct-horse", "x8Hj2kLq9ZpW3vT6bNmR", "AKIAIOSFODNN7EXAMPLE"
PAGE = MetricsEndpoint(url="http://127.0.0.1:1/metrics", role="server")
CLUSTER = ClusterSettings(name="default", interval_sec=10, window_sec=30, metrics=(PAGE,))
SECRETS = (PASSWORD, TOKEN, KEY)
ODD = ("\x1b", "\x07", "\r", "\x9b", "\u202e", "\0", "\ud800")
QUEUE = f"orders-{TOKEN}{''.join(ODD)}"
ANSWERS = (
    "/", "/fragment", "/status", "/status/services", "/status/issues", "/status/summary", "/status/evaluation",
    "/status/timeline", "/signals/matching.backlog_count", "/logs/patterns", "/clusters", "/readyz", "/metrics",
    "/targets",
)  # fmt: skip


class Queues:
    """A source that reads a queue nobody polls, called like a credential."""

    name, expected = "api", ("matching.backlog_count",)

    async def read(self, now: Instant) -> Signals:
        rows = {
            "demand.tasks_added_per_sec": 4.0,
            "matching.tasks_dispatched_per_sec": 0.0,
            "poller.pending_polls": 0.0,
        }
        waits = {"matching.backlog_count": 240.0, "matching.workflow_backlog_age_sec": 60.0}
        return with_queues(workers_down(60.0), **{QUEUE: rows | waits}).model_copy(update={"time": now})

    async def aclose(self) -> None:
        """Nothing to stop."""


async def _logs(folder: Path, now: Instant) -> LogReading:
    file = folder / "history.log"
    file.touch()
    watched = WatchedLogs(FileLogs((file,)), PatternBook([]), 30.0)
    activities = LogActivities(redact=partial(redacted, addresses=False), logs={"default": watched})
    begun = await activities.query_logs(QueryLogs(cluster="default", cursor={}, memory={}, deadline_sec=5))
    said, service = f"upload refused for {KEY} and {TOKEN}{''.join(ODD)}", f"history{ODD[-1]}"
    line = json.dumps({"level": "error", "msg": said, "service": service, "ts": now.format_iso()})
    file.write_text(f"{line}\n" * 12, encoding="utf-8")
    asked = QueryLogs(cluster="default", cursor=begun.cursor, memory=begun.memory, deadline_sec=5)
    seen = LogReading.model_validate((await activities.query_logs(asked)).seen)
    assert "upload refused for" in seen.patterns[0].sample
    return seen


async def _read(folder: Path) -> Signals:
    (port,) = free_ports(1)
    page = MetricsEndpoint(url=f"http://watcher:{PASSWORD}@127.0.0.1:{port}/metrics?token={TOKEN}", role="server")
    cluster = ClusterSettings(name="default", interval_sec=5, window_sec=10, metrics=(page,))
    sources = bootstrap.sources(cluster)
    try:
        signals = await pipeline.collect([Queues(), *sources], Instant.now())
    finally:
        for source in sources:
            await source.aclose()
    said = await pipeline.collect([_Refused(f"{page.url}: Connection refused")], Instant.now())
    missing = {i: m for i, m in said.missing.items() if signals.value(i) is None}
    lost = dict.fromkeys(missing)
    signals = signals.model_copy(
        update={"readings": {**signals.readings, **lost}, "missing": {**signals.missing, **missing}}
    )
    return with_logs(signals, await _logs(folder, signals.time), stale_sec=600)


class _Refused(Queues):
    """A source that quotes the address it was given."""

    name, expected = "metrics", ("host.cpu_throttle_pct",)

    def __init__(self, detail: str) -> None:
        self._detail = detail

    async def read(self, now: Instant) -> Signals:  # noqa: ARG002
        raise SourceError(MissingCode.TARGET_DOWN, self._detail)


async def _judged(folder: Path) -> list[Evaluation]:
    signals, memory, found = await _read(folder), Memory(), []
    context = pipeline.context(CLUSTER)
    for number in range(6):
        evaluation, memory = evaluate(at(signals, 10.0 * number), memory, context)
        found.append(evaluation)
    assert found[-1].top_factor == "no_pollers"
    assert "‹token-" in explained(found[-1]).findings[0].title
    assert memory.cause is not None
    return found


def _leaked(text: str) -> list[str]:
    return [secret for secret in (*SECRETS, *ODD, *map(ascii, ODD)) if secret.strip("'") in text]


async def test_no_answer_of_the_api_no_row_of_the_store_and_no_recording_has_a_planted_secret(tmp_path: Path) -> None:
    found = await _judged(tmp_path)
    last = found[-1]
    store, loop = MemoryStore(), ToldLoop()
    assessment = HealthAssessment.model_validate({**last.model_dump(), "trigger": Trigger.STATE_CHANGE})
    await store.save_assessment(assessment)
    loop.tell(last)
    assert not _leaked("".join(split_evaluation(last)) + to_jsonb(assessment))
    issues = await store.issues("default")
    assert issues
    assert not _leaked("".join(to_jsonb(issue) for issue in issues))
    async with client(deps(loop, store, Clock(last.time))) as talking:
        for path in ANSWERS:
            answer = await talking.get(path)
            assert answer.status_code == 200, path
            assert not _leaked(answer.text), path
        loop.away = StoreError(f"postgresql://copilot:{PASSWORD}@db:5432/copilot cannot be reached")
    async with client(deps(loop, store, Clock(last.time))) as talking:
        degraded = (await talking.get("/status")).json()["degraded_because"]
        assert "cannot be reached" in degraded
        assert not _leaked(degraded)
    recording = tmp_path / "night.jsonl"
    head = RecordingHeader(cluster="default", interval_sec=10, window_sec=30, sources=("api",), taxonomy="1")
    write_recording(recording, head, [e.signals for e in found])
    assert not _leaked(recording.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "error",
    [
        StoreError(f"postgresql://copilot:{PASSWORD}@db/copilot is away"),
        SettingsError([f"prometheus.url https://me:{PASSWORD}@prom cannot be used"]),
        SourceError(MissingCode.FORBIDDEN, f"Authorization: Bearer {TOKEN}"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_for_people_says_no_secret(error: Exception) -> None:
    assert not _leaked(f"{error} {getattr(error, 'problems', '')} {getattr(error, 'detail', '')}")


def _named(*queues: str) -> Signals:
    return with_queues(healthy(), **{queue: {"matching.backlog_count": 3.0} for queue in queues})


def test_two_queues_with_a_secret_in_their_names_stay_two_and_keep_their_names() -> None:
    one, other = f"a-{TOKEN}", "a-Zk3vQ9xW7pLm2TnB8rYc"
    names = [r.labels["task_queue"] for r in cleaned(_named(one, other)).rows("matching.backlog_count")]
    assert len(set(names)) == 2
    again = [r.labels["task_queue"] for r in cleaned(_named("c", other)).rows("matching.backlog_count")]
    assert again == ["c", names[1]]


def test_a_queue_is_called_the_same_as_the_api_and_as_metrics_spell_it() -> None:
    told = f"pay.password={TOKEN}"
    labels = {
        r.labels["task_queue"]
        for r in cleaned(_named(told, told.replace(".", "_").replace("=", "_"))).rows("matching.backlog_count")
    }
    assert len(labels) == 1
    assert TOKEN not in labels.pop()


def test_an_ignored_queue_with_a_secret_in_its_name_stays_ignored() -> None:
    context = pipeline.context(CLUSTER.model_copy(update={"ignore_task_queues": (QUEUE, "plain")}))
    (row,) = cleaned(_named(QUEUE)).rows("matching.backlog_count")
    assert {row.labels["task_queue"], "plain"} <= set(context.ignore_task_queues)


def test_addresses_are_hidden_by_setting_only() -> None:
    row = BreakdownRow(labels={"instance": "10.1.2.3:9090"}, value=1.0)
    why = Missing(code=MissingCode.TARGET_DOWN, detail="10.1.2.3 refuses")
    lost = {
        "processes": (ProcessRead("10.1.2.3:9090", "server", missing=why),),
        "unread": {"server": ("10.1.2.3:9090",)},
    }
    signals = healthy().model_copy(update={"breakdowns": {"demand.starts_per_sec": (row,)}, **lost})
    assert cleaned(signals) == signals
    hidden = cleaned(signals, addresses=True)
    assert "10.1.2.3" not in hidden.model_dump_json()
    assert (hidden.processes[0].name,) == hidden.unread["server"]
