"""What a reading leaves out, on pages of real servers: Temporal's own work, ours, long polls, clients' mistakes; and
that all rates of a cycle are over the same pages."""

import re

import pytest

from copilot.metrics.dialects import dialect_by_name, raw_name
from copilot.metrics.resolve import leaves_of
from copilot.metrics.window import histogram_quantile
from copilot.rules.signals.expressions import SERVICES, Leaf, Matcher, Rate
from copilot.rules.signals.taxonomy import SPECS
from tests.recorded_pages import WINDOW_SEC, Roll, played, roll

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
        row.labels["task_queue"] for i in signals.breakdowns for row in signals.rows(i) if "task_queue" in row.labels
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
        for leaf in leaves_of(SPECS.values())
        if leaf.series.role == "server"
        and leaf != SERVICES
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
