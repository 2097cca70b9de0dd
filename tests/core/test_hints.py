"""Every signal says what would turn it on."""

import pytest

from copilot.rules.signals.taxonomy import HINTS, SPECS, SignalSpec

ALL = [pytest.param(spec, id=spec.id) for spec in SPECS.values()]


@pytest.mark.parametrize("spec", ALL)
def test_every_signal_has_a_hint_of_one_line(spec: SignalSpec) -> None:
    assert 20 < len(spec.hint) < 400
    assert "\n" not in spec.hint


def test_hints_are_for_ids_and_groups_there_are() -> None:
    groups = {signal_id.partition(".")[0] for signal_id in SPECS}
    assert set(HINTS) <= groups | set(SPECS)


@pytest.mark.parametrize("spec", [s for s in SPECS.values() if s.source == "none"], ids=lambda s: s.id)
def test_what_nothing_measures_says_of_which_server_that_is_true(spec: SignalSpec) -> None:
    assert "server 1.32" in spec.hint


@pytest.mark.parametrize("spec", [s for s in SPECS.values() if s.source != "none"], ids=lambda s: s.id)
def test_what_can_be_measured_names_the_setting_or_the_server_it_needs(spec: SignalSpec) -> None:
    assert any(word in spec.hint for word in ("[[clusters]]", "[clusters.temporal]", "PostgreSQL"))


def test_a_signal_of_the_workers_asks_for_a_page_of_theirs() -> None:
    assert 'role "worker"' in SPECS["worker.task_slots_used"].hint
    assert 'role "worker"' in SPECS["worker_tasks.activity_failures_per_sec"].hint
    assert 'role "server"' in SPECS["frontend.latency_p99_ms"].hint
