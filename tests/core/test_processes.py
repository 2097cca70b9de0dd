"""The processes of the server: Temporal's own workers, services that do not answer, and who owns the shards."""

from dataclasses import replace

import pytest

from copilot.rules.model import Evaluation
from copilot.rules.signals.readings import Missing, MissingCode, ProcessRead, ServerFacts, Signals
from tests.cluster_signals import healthy, play, workers_down
from tests.new_causes import (
    ADD,
    RECORD,
    hosts,
    limited,
    not_polling,
    own_tasks,
    process_down,
    restarted,
    row,
    silent,
    with_rows,
)
from tests.scraped import Pages, read

MISSING = "system_workers_missing"


def aging(*, start: float = 31.0, step: float = 10.0, **what: object) -> list[Signals]:
    """Five ticks at which a task of Temporal's own gets older."""
    return [own_tasks(start + step * n, **what) for n in range(5)]  # type: ignore[arg-type]


def last(ticks: list[Signals]) -> Evaluation:
    return play([healthy()] * 5 + ticks)[0][-1]


@pytest.mark.parametrize(
    ("ticks", "missing"),
    [
        (aging(), True),
        (aging(polls=None, start=121.0), True),
        (aging(polls=None), False),
        (aging(polls=2.0), False),
        (aging(dispatched=0.1), False),
        (aging(step=0.0), False),
        (aging(start=1.0, step=5.0), False),
    ],
    ids=["no polls", "polls not counted", "not counted, young", "polled", "dispatched", "a gauge that stays", "young"],
)
def test_temporals_own_workers_are_missing_where_its_tasks_age_and_no_one_takes_them(
    ticks: list[Signals], missing: bool
) -> None:
    evaluation = last(ticks)
    assert (MISSING in evaluation.verdict.fired(), evaluation.verdict.health_state == "stressed") == (missing, missing)
    assert evaluation.bottleneck == ("server_limited" if missing else "healthy")
    assert [f.finding for f in evaluation.findings] == ([MISSING] if missing else [])


@pytest.mark.parametrize(("queue", "work"), [("per_ns_tq", "schedules"), ("batcher", "batch"), ("x", "server's own")])
def test_a_finding_about_temporals_own_workers_says_what_makes_no_progress(queue: str, work: str) -> None:
    finding = play([healthy()] * 5 + aging(queue=queue))[0][-1].findings[0]
    assert finding.title.startswith("Temporal's own workers are missing: no progress of ")
    assert work in finding.title
    assert "no poll is pending" in finding.likely_cause


HISTORIES = tuple(ProcessRead(f"h{n}:9090", "server", services=("history",)) for n in (1, 2))
OWN_WORKER = ProcessRead("w1:9090", "server", services=("worker",))


def lost(down: str, **changes: float | None) -> list[Signals]:
    """Five ticks with a frontend, two history hosts and Temporal's own worker, then five without one of them."""
    every = (*HISTORIES, OWN_WORKER)
    missing = Missing(code=MissingCode.TARGET_DOWN, detail="connection refused")
    after = tuple(replace(p, missing=missing) if p.name == down else p for p in every)
    unread = {"processes": after, "unread": {"server": (down,)}}
    sick = healthy(**changes).model_copy(update=unread)
    return [healthy().model_copy(update={"processes": every})] * 5 + [sick] * 5


def test_a_lost_process_is_named_with_its_service_and_how_many_there_are() -> None:
    (finding,) = play(lost("h1:9090"))[0][-1].findings
    assert finding.title == "A history process does not answer (1 of 2): `h1:9090`"


@pytest.mark.parametrize(("errors", "cause"), [(2.0, "server_process_down"), (20.0, "persistence_failing")])
def test_a_few_calls_cut_short_by_the_loss_of_a_process_are_no_failing_database(errors: float, cause: str) -> None:
    ticks = lost("h1:9090", persistence__error_rate_per_sec=errors, persistence__request_rate_per_sec=100.0)
    assert play(ticks)[0][-1].top_factor == cause


def test_a_lost_process_stays_a_note_in_a_happy_verdict_whatever_else_is_seen_for_a_moment() -> None:
    slow = play(lost("h1:9090")[:-1] + lost("h1:9090", frontend__latency_p99_ms=3000.0)[-1:])[0][-1]
    assert (slow.verdict.health_state, slow.verdict.fired()) == ("happy", ("frontend_latency",))
    assert [f.finding for f in slow.findings] == ["server_process_down"]


def test_the_loss_of_temporals_own_worker_is_a_note_and_blames_no_server_process() -> None:
    calm = play(lost("w1:9090"))[0][-1]
    assert (calm.verdict.health_state, [f.finding for f in calm.findings]) == ("happy", [MISSING])
    assert calm.findings[0].title == "Temporal's own workers are missing: `w1:9090`"
    assert "The page of `w1:9090` does not answer." in calm.findings[0].likely_cause
    wrong = {name.replace(".", "__"): value for name, value in workers_down(60.0).readings.items()}
    stalled = play(lost("w1:9090", **wrong))[0][-1]
    assert (stalled.top_factor, stalled.bottleneck) == ("workers_not_polling", "worker_limited")
    assert MISSING in [f.finding for f in stalled.findings]


MATCHING = 'service_requests{service_name="matching",operation="AddWorkflowTask",namespace="default"}'
LABELS = 'namespace="default",taskqueue="temporal_sys_per_ns_tq",task_type="Workflow"'
BUILD = 'build_information{{build_version="{}",service_name="matching"}} 1'


def own_page(version: str, *lines: str, service: str = MATCHING) -> Signals:
    """Two pages a minute apart."""
    pages = Pages()
    for at, n in ((0, 100), (60, 220)):
        pages.add(at, f"{service} {n}", BUILD.format(version), *lines)
    return read(pages, at=60)


def test_temporals_own_queues_are_read_apart_from_the_users() -> None:
    age, polls = f"approximate_backlog_age_seconds{{{LABELS}}} 90", f"pending_polls{{{LABELS}}} 0"
    signals = own_page("1.32.0", age, polls)
    assert signals.value("system_workers.backlog_age_sec") == 90.0
    assert [r.value for r in signals.rows("system_workers.pending_polls")] == [0.0]
    assert (signals.value("poller.pending_polls"), signals.value("matching.workflow_backlog_age_sec")) == (0.0, None)


@pytest.mark.parametrize(
    ("version", "service", "code"),
    [("1.31.2", MATCHING, MissingCode.NO_SOURCE), ("1.32.0", MATCHING.replace("matching", "history"), "absent")],
)
def test_polls_of_temporals_own_workers_are_missing_where_nothing_counts_them(
    version: str, service: str, code: str
) -> None:
    why = own_page(version, service=service).why_missing("system_workers.pending_polls")
    assert why is not None
    assert why.code == code


def unanswered(*calls: tuple[str, str, float], signals: Signals | None = None, processes: int = 4) -> Signals:
    rows = (row(rate, service_role=service, operation=operation) for service, operation, rate in calls)
    of = with_rows(signals or limited(), "calls.unanswered_per_sec", *rows)
    return of.model_copy(update={"targets": of.targets | {"server": processes}})


@pytest.mark.parametrize(
    ("signals", "service"),
    [
        (unanswered(("matching", ADD, 1.0)), "matching"),
        (unanswered(("matching", ADD, 1.0), ("history", RECORD, 1.0)), "history"),
        (unanswered(("matching", ADD, 0.1)), ""),
        (unanswered(("matching", ADD, 1.0), signals=healthy()), ""),
        (unanswered(("matching", ADD, 1.0), signals=limited(persistence__error_rate_per_sec=9.0)), ""),
        (unanswered(("matching", ADD, 1.0), processes=1), ""),
    ],
    ids=["matching", "matching waits for history", "few", "nothing suffers", "the database", "one process, overloaded"],
)
def test_the_service_that_does_not_answer_the_others_is_named(signals: Signals, service: str) -> None:
    found = [f.subject for f in last([signals] * 6).findings if f.finding == "service_not_answering"]
    assert found == ([service] if service else [])


def test_workers_are_not_blamed_while_matching_does_not_answer() -> None:
    assert last([limited()] * 2).bottleneck == "worker_limited"
    evaluation = last([silent("matching", ADD)] * 2)
    assert evaluation.bottleneck == "server_limited"
    assert "worker_slow" not in [f.finding for f in evaluation.findings]


def test_a_process_whose_name_says_nothing_is_named_by_its_callers() -> None:
    down = unanswered(("matching", ADD, 1.0), signals=process_down("http://10.0.6.1:9090/metrics"))
    assert play([down])[0][-1].findings[0].title.startswith("A matching process does not answer")


@pytest.mark.parametrize(
    ("shards", "total", "said"),
    [
        ((270.0,), 512, " own 270 of 512 shards."),
        ((512.0, 270.0), 512, " own 512 + 270 of 512 shards, 270 of them twice."),
        ((242.0, 270.0), 512, ""),
        ((242.0, 512.0), 0, ""),
    ],
    ids=["unowned", "owned twice", "each once", "total unknown"],
)
def test_findings_about_history_hosts_say_who_owns_the_shards(shards: tuple[float, ...], total: int, said: str) -> None:
    rows = (row(n, instance=f"10.0.5.{i}:9090") for i, n in enumerate(shards))
    signals = with_rows(hosts(0.0, 17.0), "shard.owned_count", *rows)
    signals = signals.model_copy(update={"server": ServerFacts(history_shards=total) if total else None})
    cause = play([healthy()] * 5 + [signals] * 4)[0][-1].findings[0].likely_cause
    assert cause.endswith(f"The history hosts that are read{said}" if said else "wait and fail.")


@pytest.mark.parametrize(
    ("times", "title"),
    [
        ((1.0, 1.0, 1.0), "A rolling restart: 3 of 6 server processes restarted"),
        ((4.0, 1.0), "A server process restarts again and again: `10.1.0.1:9090`"),
    ],
    ids=["in order", "again and again"],
)
def test_restarts_are_worth_a_note_while_nothing_suffers_and_the_cause_once_requests_fail(
    times: tuple[float, ...], title: str
) -> None:
    note = last([restarted(*times)] * 6)
    hurt = play([healthy()] * 5 + [restarted(*times, frontend__error_rate_per_sec=2.0)] * 4)[0][-1]
    assert (note.verdict.health_state, hurt.verdict.health_state) == ("happy", "stressed")
    assert [f.contributing_factors for f in note.findings] == [()]
    assert hurt.findings[0].title == title
    assert [f.suggested_actions for f in hurt.findings[1:]] == [()] * (len(hurt.findings) - 1)


def test_restarts_that_hurt_nothing_are_not_the_cause_of_what_hurts() -> None:
    signals = not_polling()
    rows = [row(1.0, instance=f"10.1.0.{n}:9090") for n in range(3)]
    found = [f.finding for f in last([with_rows(signals, "deploy.task_restarts", *rows)] * 6).findings]
    assert (found[0], found[-1]) == ("workers_not_polling", "rolling_restart")


def test_a_server_page_whose_counters_begin_anew_is_a_restart_by_name() -> None:
    pages = Pages()
    for at, n in ((0, 100), (15, 140), (30, 3), (45, 40), (60, 2)):
        pages.add(at, f"{MATCHING} {n}")
    signals = read(pages, at=60)
    assert signals.value("deploy.task_restarts") == 2.0
    assert [r.labels for r in signals.rows("deploy.task_restarts")] == [{"instance": "http://server/metrics"}]
