"""The signal table: one row says everything about a signal, and the rows are consistent."""

from collections import Counter

from copilot.rules.signals.expressions import leaves
from copilot.rules.signals.spec import API, CLOUD, LOGS, SERVER_PAGE, WORKER_PAGE
from copilot.rules.signals.taxonomy import KEY_SIGNALS, SPECS

UNMEASURED = [s for s in SPECS.values() if s.source == "none"]
MEASURED = [s for s in SPECS.values() if s.source != "none"]


def test_every_signal_has_a_hint_of_one_line() -> None:
    assert [s.id for s in SPECS.values() if not 20 < len(s.full_hint) < 450 or "\n" in s.full_hint] == []


def test_what_nothing_measures_names_the_server_release_and_what_can_be_measured_its_setup() -> None:
    assert [s.id for s in UNMEASURED if "server 1.32" not in s.hint or s.setup or s.expression] == []
    assert [s.id for s in MEASURED if s.setup not in (SERVER_PAGE, WORKER_PAGE, API, LOGS, CLOUD)] == []
    assert SPECS["worker.task_slots_used"].setup == SPECS["worker_tasks.activity_failures_per_sec"].setup == WORKER_PAGE
    assert SPECS["frontend.latency_p99_ms"].setup == SERVER_PAGE


def test_a_signal_has_an_expression_if_and_only_if_metrics_measure_it() -> None:
    assert [s.id for s in SPECS.values() if (s.expression is not None) != ("metrics" in s.source)] == []


def test_the_service_that_emits_a_signal_is_the_one_its_expression_selects() -> None:
    emitted_by: dict[object, set[str]] = {}
    for spec in SPECS.values():
        for leaf in leaves(spec.expression) if spec.expression else ():
            emitted_by.setdefault(leaf, set()).add(spec.emitted_by)
            selected = [m.value for m in leaf.series.match if m.label == "service_name" and m.op == "="]
            assert selected in ([], [spec.emitted_by]), spec.id
            assert spec.role == "server" or not spec.emitted_by, spec.id
    assert [leaf for leaf, services in emitted_by.items() if len(services) > 1] == []


def test_a_family_is_emitted_by_one_service_unless_the_expression_selects_it() -> None:
    services: dict[str, set[str]] = {}
    for spec in SPECS.values():
        for leaf in leaves(spec.expression) if spec.expression else ():
            if not any(m.label == "service_name" for m in leaf.series.match):
                services.setdefault(leaf.series.family, set()).add(spec.emitted_by)
    assert {family: found for family, found in services.items() if len(found) > 1} == {}


def test_cards_have_places_of_their_own_and_the_pages_order() -> None:
    places = Counter((s.card.group, s.card.position) for s in SPECS.values() if s.card)
    assert set(places.values()) == {1}
    assert [s.id for s in KEY_SIGNALS["Backlog"]] == [
        "matching.backlog_count", "matching.workflow_backlog_age_sec", "matching.activity_backlog_age_sec",
    ]  # fmt: skip
    assert list(KEY_SIGNALS) == ["Demand", "Backlog", "Progress", "Latency", "Errors", "Workers"]
