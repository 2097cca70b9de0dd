"""Spellings: what sample names tell of their reporter."""

import pytest

from copilot.metrics.dialects import (
    ANCHORS,
    BYTES,
    DIALECTS,
    NUMBERS,
    anchor_names,
    detect_dialects,
    dialect_by_name,
    raw_name,
)
from copilot.metrics.resolve import leaves_of
from copilot.rules.signals.expressions import Quantile, Rate, Role
from copilot.rules.signals.taxonomy import SPECS
from tests.scraped import recorded


def names_on(page: str) -> set[str]:
    lines = recorded(page).decode().splitlines()
    return {line.split("{")[0].split(" ")[0] for line in lines if not line.startswith("#")}


@pytest.mark.parametrize(
    ("page", "role", "dialect"),
    [
        ("server", "server", "server"),
        ("worker", "worker", "sdk default"),
        ("worker_suffixed", "worker", "sdk suffixed"),
    ],
)
def test_a_recorded_page_tells_its_dialect(page: str, role: Role, dialect: str) -> None:
    assert [d.name for d in detect_dialects(names_on(page), role)] == [dialect]


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.name)
def test_every_dialect_is_told_by_its_own_marks(dialect: object) -> None:
    [found] = [d for d in DIALECTS if d is dialect]
    assert [d.name for d in detect_dialects(anchor_names(found), found.role)] == [found.name]


def test_a_mixed_fleet_speaks_two_dialects_and_no_third_made_of_both() -> None:
    both = names_on("worker") | names_on("worker_suffixed")
    assert [d.name for d in detect_dialects(both, "worker")] == ["sdk default", "sdk suffixed"]
    servers = {mark for name in ("server", "server opentelemetry") for mark in anchor_names(dialect_by_name(name))}
    assert [d.name for d in detect_dialects(servers, "server")] == ["server", "server opentelemetry"]


def test_a_counter_alone_tells_enough_and_nothing_tells_nothing() -> None:
    assert [d.counter for d in detect_dialects({"temporal_request_total"}, "worker")] == ["_total"]
    assert detect_dialects({"http_requests_total", "service_latency_count"}, "server") == []


def test_a_prefix_stands_before_every_name() -> None:
    [dialect] = detect_dialects({"acme_service_requests", "acme_service_latency_count"}, "server", prefix="acme_")
    assert all(
        raw_name(leaf, dialect).startswith("acme_")
        for leaf in leaves_of(SPECS.values())
        if leaf.series.role == "server"
    )


def test_histograms_of_numbers_are_those_the_taxonomy_takes_no_duration_of() -> None:
    quantiles = [leaf for leaf in leaves_of(SPECS.values()) if isinstance(leaf, Quantile)]
    assert all((q.series.family in NUMBERS | BYTES) != q.timer for q in quantiles)
    assert not {f for anchors in ANCHORS.values() for f in anchors} & NUMBERS


@pytest.mark.parametrize(
    ("lowest", "units"), [pytest.param(0.001, 1.0, id="seconds"), pytest.param(50.0, 1000.0, id="milliseconds")]
)
def test_where_no_name_says_the_unit_the_lowest_bound_does(lowest: float, units: float) -> None:
    assert dialect_by_name("sdk default").scale(lowest) == units
    assert dialect_by_name("server").scale(lowest) == units
    assert dialect_by_name("server opentelemetry").scale(lowest) == 1000.0


def test_opentelemetry_names_say_the_unit() -> None:
    dialect = dialect_by_name("server opentelemetry")
    found = {raw_name(leaf, dialect) for leaf in leaves_of(SPECS.values()) if leaf.series.role == "server"}
    assert {
        "service_requests_total",
        "service_latency_milliseconds_bucket",
        "state_transition_count_ratio_count",
        "task_latency_queue_milliseconds_count",
        "approximate_backlog_count",
    } <= found
    assert dialect.histogram("history_size") == "history_size_bytes"
    assert {isinstance(leaf, Rate) for leaf in leaves_of(SPECS.values())} == {True, False}
