"""Readings over consecutive pages of real servers (tests/data/pages): what is not there (zero, no traffic or missing,
and why); what is left out (Temporal's own work, ours, long polls, clients' mistakes).

One test a phenomenon of the reference's §E. tests/sources/test_prometheus_agrees.py takes the same pages through a real
Prometheus."""

import re

import pytest

from copilot.metrics.dialects import dialect_by_name, raw_name
from copilot.metrics.resolve import leaves_of
from copilot.metrics.window import histogram_quantile
from copilot.rules.flow import BACKLOG as WAITING
from copilot.rules.flow import PROGRESS
from copilot.rules.gates.registry import OF_COMPLETED_WORK, judge
from copilot.rules.signals.expressions import LABELED, SERVICES, Gauge, Leaf, Matcher, Quantile, Rate, leaves
from copilot.rules.signals.readings import MissingCode, Signals
from copilot.rules.signals.taxonomy import SPECS, ids
from tests.cluster_signals import seen_by_gates
from tests.recorded_pages import WINDOW_SEC, Roll, played, roll
from tests.scraped import Pages, read

SERVER_IDS = tuple(i for i, s in SPECS.items() if s.role == "server" and s.source in ("metrics", "api or metrics"))
LAZY = ("frontend.error_rate_per_sec", "workflow_completion.timed_out_per_sec", "persistence.throttled_per_sec")
BACKLOG = ("matching.backlog_count", "matching.workflow_backlog_age_sec", "matching.activity_backlog_age_sec")


def after(scene: str, mark: str, sec: float = 0.0) -> int:
    """The number of the first beat at least `sec` after a mark."""
    found = roll(scene, "server")
    return next(n for n, read in enumerate(found.reads) if read.at >= found.marks[mark] + sec)


def why(signals: Signals, signal_id: str) -> MissingCode | None:
    found = signals.why_missing(signal_id)
    return found.code if found else None


def reads(scene: str, target: str = "server") -> int:
    return len(roll(scene, target).reads)


def test_a_lazy_counter_is_missing_until_its_target_was_read_twice_and_zero_from_then_on() -> None:
    unread, once, *rest = played("start")[:8]
    assert {why(unread, i) for i in LAZY} == {MissingCode.TARGET_DOWN}
    assert {why(once, i) for i in LAZY} == {MissingCode.ABSENT}
    assert all("a rate needs two" in once.missing[i].detail for i in LAZY)
    assert [[s.value(i) for i in LAZY] for s in rest] == [[0.0] * 3] * 6


@pytest.mark.parametrize("since", [None, 12], ids=["never there", "there since a read within the window"])
def test_a_lazy_counter_is_missing_where_its_presence_metric_was_not_there_throughout(since: int | None) -> None:
    def keep(number: int, series: str) -> bool:
        return not series.startswith("service_requests{") or (since is not None and number >= since)

    signals = played("start", keep=keep, beats=15)[14]
    assert {why(signals, i) for i in LAZY} == {MissingCode.ABSENT}
    assert all("nor is service_requests" in signals.missing[i].detail for i in LAZY)
    assert (signals.value("state_transitions.throughput_per_sec") or 0) > 20


def test_the_first_event_of_a_family_counts_all_it_came_with() -> None:
    """Long polls ended empty before the family had its first sample: what `rate()` cannot see."""
    server, signals = roll("start", "server"), played("start")
    born = next(n for n in range(1, reads("start")) if server.total(n, "poll_timeouts"))
    queues = [f'taskqueue="{q}",' for q in ("orders", "billing")]
    count = sum(server.total(born, "poll_timeouts", q, 'namespace="default"') or 0.0 for q in queues)
    assert count > 3
    filled = signals[born].value("matching.tasks_dispatched_per_sec") or 0.0
    assert signals[born - 1].value("poller.poll_timeout_rate") == 0.0
    share = (count / WINDOW_SEC) / (count / WINDOW_SEC + filled)
    assert signals[born].value("poller.poll_timeout_rate") == pytest.approx(share, rel=0.05)


def test_the_first_observation_of_a_histogram_counts() -> None:
    server, signals = roll("start", "server"), played("start")
    born = next(n for n in range(2, reads("start")) if server.total(n, "pending_tasks_count"))
    assert signals[born - 1].quiet("queue.task_backlog_depth")
    assert signals[born].value("queue.task_backlog_depth") == pytest.approx(0.99)


def test_what_a_restarted_server_counted_before_its_first_page_counts() -> None:
    server, signals = roll("restart", "server"), played("restart")
    back = after("restart", "restart: done")
    here, before = server.reads[back].page or {}, server.reads[back - 1].page or {}
    born = [s for s in here if s.startswith("tasks_added{") and 'task_add_result="backlog"' in s and s not in before]
    count = sum(float(here[s]) for s in born if 'forwarded="false"' in s and 'namespace="default"' in s)
    assert count >= 2
    found = [s.value("matching.tasks_spooled_per_sec") or 0.0 for s in signals[back : back + 5]]
    assert all(0.95 * count / WINDOW_SEC <= rate < 3 * count / WINDOW_SEC for rate in found)


def test_a_restarted_counter_goes_on_from_zero_and_no_rate_leaps_or_sinks() -> None:
    starts = [s.value("demand.starts_per_sec") for s in played("restart")[1:]]
    assert all(v is not None and 2.5 < v < 4 for v in starts)


def test_gauges_refreshed_once_a_minute_are_missing_after_a_restart_not_zero() -> None:
    server = roll("restart", "server")
    back = after("restart", "restart: done")
    shown = next(n for n in range(back, reads("restart")) if server.total(n, "approximate_backlog_count") is not None)
    assert 50 < server.reads[shown].at - server.marks["restart: done"] < 75
    signals = played("restart")
    assert {why(s, i) for s in signals[back:shown] for i in BACKLOG} == {MissingCode.ABSENT}
    assert all(s.targets == {"server": 1, "worker": 2} for s in signals)
    assert [signals[shown].value(i) for i in BACKLOG] == [0.0] * 3
    judged = {g.name: g for g in judge(seen_by_gates(signals[back]))}
    assert judged["backlog_age"].fired is None


def test_gauges_refreshed_once_a_minute_are_taken_as_they_are_and_not_extrapolated() -> None:
    """Tasks pile up for two minutes; the gauge stands still in between, and so does the reading."""
    server, signals = roll("workers-down", "server"), played("workers-down")
    until = after("workers-down", "workers started")
    ours = [s.value("matching.backlog_count") for s in signals[:until]]
    assert ours == [server.total(n, "approximate_backlog_count", 'namespace="default"') for n in range(until)]
    spooled = [s.value("matching.tasks_spooled_per_sec") or 0.0 for s in signals]
    still = [n for n in range(1, until) if ours[n] == ours[n - 1] and ours[n] and spooled[n] > 1]
    assert len(still) >= 8
    assert len(set(ours)) <= 8


def test_what_died_leaves_no_reading_though_its_series_linger_elsewhere() -> None:
    """The killed workers' pages are gone at once; on the server's page their queues and counters stay for good."""
    signals, server = played("workers-down"), roll("workers-down", "server")
    down, until = after("workers-down", "workers killed", 6), after("workers-down", "workers started")
    workers = ids("worker")
    assert until - down > 15
    for number in range(down, until):
        assert {why(signals[number], i) for i in workers if SPECS[i].source == "metrics"} == {MissingCode.TARGET_DOWN}
        assert signals[number].targets == {"server": 1, "worker": 0}
        assert signals[number].value("poller.pending_polls") == 0
        assert server.total(number, "poll_success", 'namespace="default"')
    assert signals[until - 1].value("matching.tasks_dispatched_per_sec") == 0.0
    sticky = [s for s in server.reads[until - 1].page or {} if s.startswith("approximate_backlog") and "sticky" in s]
    assert sticky
    assert roll("workers-down", "worker-1").reads[down].page is None


def worker_readings(signals: Signals) -> dict[str, float | None]:
    return {i: value for i, value in signals.readings.items() if SPECS[i].role == "worker"}


def test_a_frozen_servers_rates_are_whole_or_missing_and_never_sink() -> None:
    """The process stands still for half a minute and every read times out: PromQL's rates would sink step by step."""
    signals, server = played("freeze"), roll("freeze", "server")
    frozen = [n for n, read in enumerate(server.reads) if read.page is None]
    assert {(read.why.code if read.why else None) for read in server.reads if read.page is None} == {
        MissingCode.TIMEOUT
    }
    assert len(frozen) >= 5
    steady = ("demand.starts_per_sec", "state_transitions.throughput_per_sec", "history.tasks_acked_per_sec")
    for signal_id in steady:
        before = signals[frozen[0] - 1].value(signal_id) or 0.0
        assert before > 1
        for found in signals[1:]:
            value = found.value(signal_id)
            assert value is None or value > 0.75 * before
    tolerated, *rest = frozen
    assert signals[tolerated].readings == {**signals[tolerated - 1].readings, **worker_readings(signals[tolerated])}
    assert signals[tolerated].targets["server"] == 1
    for number in rest:
        assert {why(signals[number], i) for i in SERVER_IDS} == {MissingCode.TIMEOUT}
        assert "no answer within 3 s" in signals[number].missing[steady[0]].detail
    back = frozen[-1] + 1
    assert {why(signals[back], i) for i in (*steady, *LAZY)} == {MissingCode.ABSENT}
    assert all(signals[back + 1].value(i) is not None for i in (*steady, *LAZY))


def test_no_traffic_is_covered_has_no_value_and_is_not_zero() -> None:
    signals = played("idle")[-1]
    counted = {i for i in SERVER_IDS if any(isinstance(leaf, Quantile) for leaf in parts(i))}
    quiet = set(signals.no_traffic)
    assert {"frontend.latency_p95_ms", "frontend.latency_p99_ms", "workflow_tasks.attempts_p99"} <= quiet
    assert {"workflow_completion.completion_rate", "poller.sync_match_rate", "worker_cache.sticky_hit_rate"} <= quiet
    assert {"workers.wft_schedule_to_start_p95_ms", "workers.activity_execution_p95_ms"} <= quiet
    assert len(quiet & counted) >= 5
    assert all(signals.covered(i) and signals.value(i) is None for i in quiet)
    assert [signals.value(i) for i in PROGRESS] == [0.0] * len(PROGRESS)
    assert (signals.value("poller.pending_polls") or 0) > 10
    assert set(signals.missing) == {
        *("connection_pool.utilization_pct", "shard.owned_count", "runtime.heap_bytes"),
        # Newer than all that is on the page, which does not say of which release it is.
        "limits.requests_used_share",
    }
    page = roll("idle", "server").reads[-1].page or {}
    assert any(s.startswith("service_latency_bucket") for s in page)
    unfired = [g for g in judge(seen_by_gates(signals)) if g.fired]
    assert unfired == []


ATTEMPTS = frozenset({"task_requests", "persistence_requests", "service_requests", "task_attempt", "task_errors",
                      "workflow_task_attempt", "temporal_request", "client_requests"})  # fmt: skip
"""Families that count tries: they rise while work stops."""


def parts(signal_id: str) -> tuple[Rate | Gauge | Quantile, ...]:
    spec = SPECS[signal_id]
    return leaves(spec.expression) if spec.expression is not None else ()


def test_what_is_called_served_counts_no_attempts_and_measures_no_time() -> None:
    for signal_id in PROGRESS:
        assert SPECS[signal_id].worse == "down"
        assert all(isinstance(leaf, Rate) for leaf in parts(signal_id))
        assert not {leaf.series.family for leaf in parts(signal_id)} & ATTEMPTS
    attempts = {i for i in SPECS if any(leaf.series.family in ATTEMPTS for leaf in parts(i))}
    assert {"history.task_processing_rate_per_sec", "persistence.request_rate_per_sec"} <= attempts
    assert all(SPECS[i].worse != "down" for i in attempts)


def test_attempts_go_on_while_nobody_works_and_the_cluster_is_stalled_all_the_same() -> None:
    """Without workers history still tries: six attempts a second, and a thousand would change no gate."""
    signals = played("workers-down")[after("workers-down", "workers started") - 1]
    tried = "history.task_processing_rate_per_sec"
    assert (signals.value(tried) or 0) > 3
    assert signals.value("matching.tasks_dispatched_per_sec") == 0
    feverish = signals.model_copy(update={"readings": signals.readings | {
        i: 1000.0 for i in SPECS if any(leaf.series.family in ATTEMPTS - {"service_requests"} for leaf in parts(i))
        and isinstance(SPECS[i].expression, Rate)}})  # fmt: skip
    fired = [{g.name for g in judge(seen_by_gates(s)) if g.fired} for s in (signals, feverish)]
    assert "work_stalled" in fired[0]
    assert fired[0] == fired[1]


def test_what_waits_is_never_a_quantile_of_what_was_finished() -> None:
    for signal_id in WAITING:
        assert not any(isinstance(leaf, Quantile) for leaf in parts(signal_id))
    signals = played("workers-down")
    killed, started = after("workers-down", "workers killed"), after("workers-down", "workers started")
    waiting, latency = "matching.workflow_backlog_age_sec", "history.task_queue_latency_p99_sec"
    last = signals[started - 1]
    assert (last.value(waiting) or 0) > 60
    assert (last.value(latency) or 0) < 1
    assert (last.value("frontend.latency_p99_ms") or 0) < 200
    handed = [s.value("workers.wft_schedule_to_start_p95_ms") for s in signals]
    assert all(v is None or v <= 100 for v in handed[:started])
    assert max(v or 0 for v in handed[started:]) > 10_000
    assert killed < started
    latencies = {"frontend_latency", "persistence_latency", "history_latency"}
    assert latencies | {"workflow_task_attempts"} == OF_COMPLETED_WORK


OF_TEMPORAL = {i for i in SPECS if i.startswith("system_workers.")} | {"deploy.task_restarts"}
"""What is about Temporal's own work, or its processes."""
SYSTEM = ("temporal_system", "system", "_unknown_")


def growth(found: Roll, name: str, *containing: str, over: tuple[int, int] = (-7, -1)) -> float:
    """Events between two reads, counted by hand."""
    first, last = (found.total(n, name, *containing) or 0.0 for n in over)
    return last - first


@pytest.mark.parametrize(("scene", "last"), [("start", 21), ("freeze", 6), ("workers-down", 24), ("idle", 17)])
def test_every_rate_of_a_cycle_is_over_the_same_pages(scene: str, last: int) -> None:
    """Counted by hand over just the pages of one window, every rate of the cycle comes out, within 5 % or half an
    event (of what was born in it `rate()` extrapolates)."""
    signals, server = played(scene)[last], roll(scene, "server")
    inside = [read for read in server.reads[: last + 1] if read.at >= server.reads[last].at - WINDOW_SEC]
    pages, sec = [read.page or {} for read in inside], inside[-1].at - inside[0].at
    assert 0.8 * WINDOW_SEC < sec <= WINDOW_SEC
    compared = 0
    for spec in SPECS.values():
        value, leaf = signals.value(spec.id), spec.expression
        if not isinstance(leaf, Rate) or leaf.series.role != "server" or value is None:
            continue
        name = leaf.series.family + leaf.suffix
        counted = 0.0
        for series in {s for page in pages for s in page if s.split("{")[0] == name and wanted_by(leaf, s)}:
            counted += float(pages[-1][series]) - float(pages[0].get(series, 0.0))
        assert value == pytest.approx(counted / sec, rel=0.05, abs=0.5 / sec), spec.id
        compared += counted > 0
    assert compared >= (1 if scene == "idle" else 8)


def wanted_by(leaf: Leaf, series: str) -> bool:
    """Whether a leaf's matchers take a series, read here without our own parser and matchers."""

    def taken(m: Matcher) -> bool:
        found = re.search(rf'[{{,]{m.label}="([^"]*)"', series)
        text = found.group(1) if found else ""
        same = text == m.value if "~" not in m.op else re.fullmatch(m.value, text) is not None
        return same is not m.op.startswith("!")

    return all(taken(m) for m in leaf.series.match)


def test_temporals_own_work_is_in_no_reading_of_an_idle_cluster() -> None:
    server, signals = roll("idle", "server"), played("idle")[-1]
    own = sum(growth(server, "service_requests", f'namespace="{name}"') for name in SYSTEM)
    assert own > 5
    for signal_id in ("frontend.request_rate_per_sec", "demand.requests_per_sec", "demand.starts_per_sec",
                      "demand.tasks_added_per_sec", "state_transitions.throughput_per_sec"):  # fmt: skip
        assert signals.value(signal_id) == 0.0
    queues = {
        row.labels["task_queue"]
        for i in signals.breakdowns
        for row in signals.rows(i)
        if "task_queue" in row.labels and not i.startswith("system_workers.")
    }
    assert queues
    assert not any(q.startswith(("temporal_sys", "temporal-sys", "default_worker")) for q in queues)
    assert server.total(-1, "pending_polls", 'taskqueue="temporal_sys_per_ns_tq"')


def test_only_the_databases_signals_count_what_temporals_own_namespaces_do() -> None:
    """How the database answers concerns everybody, whoever asked."""
    page: dict[str, str] = {}
    for scene in ("start", "restart", "workers-down", "mistakes"):
        page |= roll(scene, "server").reads[-1].page or {}
    own = [s for s in page if any(f'namespace="{name}"' in s for name in SYSTEM)]
    counted = {
        leaf.series.family
        for leaf in leaves_of(s for s in SPECS.values() if s.id not in (*OF_TEMPORAL, "limits.requests_used_share"))
        if leaf.series.role == "server"
        and leaf not in (SERVICES, *LABELED.values())
        and any(s.split("{")[0] == raw_name(leaf, dialect_by_name("server")) and wanted_by(leaf, s) for s in own)
    }
    assert {"persistence_latency", "persistence_requests"} <= counted
    assert {family for family in counted if not family.startswith("persistence_")} == set()


def test_the_copilots_own_calls_are_no_requests_and_no_latency() -> None:
    """It described task queues, listed workflows and checked the frontend's health every ten seconds meanwhile."""
    server = roll("idle", "server")
    for operation in ("DescribeTaskQueue", "ListWorkflowExecutions", "Check"):
        asked = 'service_name="frontend"', f'operation="{operation}"'
        assert growth(server, "service_requests", *asked, over=(0, -1)) > 0
    for signals in played("idle")[1:]:
        assert signals.value("frontend.request_rate_per_sec") == 0.0
        assert signals.quiet("frontend.latency_p99_ms")


def test_long_polls_are_no_latency() -> None:
    server, signals = roll("start", "server"), played("start")[-1]
    buckets: dict[float, float] = {}
    for series in server.reads[-1].page or {}:
        if series.startswith("service_latency_bucket{") and 'service_name="frontend"' in series:
            bound = re.search(r'le="([^"]*)"', series)
            assert bound
            count = growth(server, "service_latency_bucket", series)
            buckets[float(bound.group(1))] = buckets.get(float(bound.group(1)), 0.0) + count
    assert histogram_quantile(0.99, buckets) > 5
    assert (signals.value("frontend.latency_p99_ms") or 0) < 500
    assert (signals.value("poller.long_poll_latency_ms") or 0) > 5000


def test_clients_mistakes_are_no_errors() -> None:
    """NotFound, AlreadyStarted and InvalidArgument, about eight a second."""
    server = roll("mistakes", "server")
    for mistake in ("NotFound", "WorkflowExecutionAlreadyStarted", "InvalidArgument"):
        named = f'error_type="serviceerror_{mistake}"'
        assert growth(server, "service_error_with_type", named, 'service_name="frontend"') / WINDOW_SEC > 1
    for signals in played("mistakes")[1:]:
        assert signals.value("frontend.error_rate_per_sec") == 0.0
        assert signals.value("demand.rejected_per_sec") == 0.0
        assert signals.value("persistence.error_rate_per_sec") == 0.0


STARTS = "demand.starts_per_sec"
LABELS = {"service_name": "frontend", "operation": "StartWorkflowExecution", "namespace": "default"}


@pytest.mark.parametrize("value", ["", "_tag_excluded_"])
@pytest.mark.parametrize("label", LABELS)
def test_what_a_lost_label_would_tell_apart_is_missing_and_without_namespaces_it_is_said_whose_it_is(
    label: str, value: str
) -> None:
    pages = Pages()
    labels = ",".join(f'{name}="{text}"' for name, text in (LABELS | {label: value}).items() if text)
    for n in range(7):
        families = ("service_requests", "service_pending_requests", "service_latency_count")
        pages.add(10 * n, *(f"{family}{{{labels}}} {100 + 20 * n}" for family in families))
    signals = read(pages, at=60)
    missing = signals.missing.get(STARTS)
    if label == "namespace":
        assert signals.value(STARTS) == pytest.approx(2.0)
        assert "Temporal's own too" in signals.sources[STARTS]
        assert "poller.pending_polls" in signals.missing
    else:
        assert missing is not None
        assert f"the label {label} is on no series" in missing.detail
