"""What one reading is good for."""

from hypothesis import given
from hypothesis import strategies as st
from whenever import Instant

from copilot.diagnosis import (
    FIX_CONNECTION,
    Check,
    CheckStatus,
    Diagnosis,
    SignalStatus,
    diagnose_cluster,
    diagnose_signal,
    distrust_reasons,
)
from copilot.rules.signals.readings import Missing, MissingCode, Signals
from copilot.rules.signals.taxonomy import SPECS, ids
from copilot.rules.state_machine import coverage, usable
from tests.cluster_signals import healthy

NOW = Instant.from_utc(2026, 11, 22, 3)
DOWN = Missing(code=MissingCode.TARGET_DOWN, detail="http://a/metrics: Connection refused")
PRIMARIES = [i for i in ids("primary") if SPECS[i].source != "none" and i != "frontend.reachable"]


def status(signal_id: str, signals: Signals) -> tuple[str, str, str]:
    row = diagnose_signal(SPECS[signal_id], signals)
    return row.status.value, row.why, row.hint


def test_a_signal_is_a_value_no_traffic_missing_or_nothing_measures_it() -> None:
    signals = Signals(
        time=NOW,
        readings={"demand.starts_per_sec": 2.5, "frontend.latency_p99_ms": None, "cache.hit_rate": None},
        no_traffic=("frontend.latency_p99_ms",),
        missing={"cache.hit_rate": DOWN},
    )
    assert diagnose_signal(SPECS["demand.starts_per_sec"], signals).value == 2.5
    assert status("frontend.latency_p99_ms", signals) == ("no_traffic", "", "")
    assert status("cache.hit_rate", signals) == ("missing", DOWN.detail, FIX_CONNECTION)
    hint = SPECS["history.backlog_age_sec"].hint
    assert status("history.backlog_age_sec", signals) == ("unmeasured", "nothing measures it", hint)


def test_what_no_source_is_configured_for_says_which() -> None:
    nothing = Signals(time=NOW, readings={})
    assert status("poller.recent_pollers", nothing)[1] == "no [clusters.temporal] address is configured"
    assert status("worker_cache.sticky_size", nothing)[1] == "no worker metrics are configured"
    assert 'role "worker"' in status("worker_cache.sticky_size", nothing)[2]


def test_what_was_read_and_not_there_says_what_would_turn_it_on() -> None:
    absent = Missing(code=MissingCode.ABSENT, detail="persistence_sql_in_use is not on the server pages")
    signals = Signals(
        time=NOW,
        readings={"connection_pool.utilization_pct": None},
        missing={"connection_pool.utilization_pct": absent},
    )
    assert "MySQL and PostgreSQL" in status("connection_pool.utilization_pct", signals)[2]


def test_a_healthy_reading_can_be_trusted_and_a_failed_check_spoils_it() -> None:
    fine = diagnose_cluster("a", [Check(name="clocks", status=CheckStatus.WARNING, found="9 s ahead")], healthy())
    assert fine.distrust == ()
    assert Diagnosis(own=(), clusters=(fine,)).fine
    failed = Check(name="Temporal frontend", status=CheckStatus.FAILED, found="connection refused")
    spoilt = diagnose_cluster("a", [failed], healthy())
    assert spoilt.distrust == ("Temporal frontend: connection refused",)
    assert not Diagnosis(own=(), clusters=(spoilt,)).fine
    assert not Diagnosis(own=(failed,), clusters=(fine,)).fine


def test_a_diagnosis_lists_every_signal_once() -> None:
    rows = diagnose_cluster("a", [], healthy()).signals
    assert [row.id for row in rows] == list(SPECS)
    assert all(row.hint for row in rows if row.status in (SignalStatus.MISSING, SignalStatus.UNMEASURED))


def test_nothing_read_is_said_in_full() -> None:
    reasons = distrust_reasons(Signals(time=NOW, readings=dict.fromkeys(PRIMARIES)))
    assert reasons[0] == "0% of the primary signals were read, a verdict needs 60%"
    assert [r.partition(":")[0] for r in reasons[1:]] == [
        "no signal of demand",
        "no signal of backlog",
        "no signal of completed work",
    ]


@given(st.sets(st.sampled_from(PRIMARIES)))
def test_too_little_is_what_the_state_machine_would_not_judge(read: set[str]) -> None:
    signals = Signals(time=NOW, readings={i: 1.0 if i in read else None for i in PRIMARIES})
    assert (distrust_reasons(signals) == ()) == usable(signals, coverage(signals))


def test_it_is_said_whose_reading_a_signal_is_where_two_sources_know_it() -> None:
    signals = healthy().model_copy(update={"sources": {"matching.backlog_count": "api"}})
    assert diagnose_signal(SPECS["matching.backlog_count"], signals).source == "api"
    assert diagnose_signal(SPECS["demand.starts_per_sec"], signals).source == ""
