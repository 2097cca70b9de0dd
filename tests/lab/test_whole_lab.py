"""The score over all recorded incidents and their variants (computed once), against the goals and docs/benchmark.md."""

from pathlib import Path

import pytest

from lab.score import LabScore, score_lab
from tests.lab.runs import RECORDED
from tools.docs.benchmark import document, of_clusters, of_servers

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "benchmark.md"

KINDS = ("10 % of readings dropped", "every 30 s", "every 60 s", "load ×0.05", "load ×20", "no SDK metrics",
         "Temporal Cloud", "Temporal Cloud, SDK metrics")  # fmt: skip

# What is not met yet, so that a cure must remove its line (docs/benchmark.md says it too).
# Slow faults at a twentieth of the load bring less than the events a window tolerates, and a lost reading an evaluation
# of delay.
UNMET_VARIANTS = {
    # Without the server's own families, failing workflow tasks show only while they are attempted.
    ("workflow-task-failures", "Temporal Cloud"),
    # One evaluation in which nothing was refused.
    ("persistence-rate-limit", "Temporal Cloud"),
    ("persistence-rate-limit", "Temporal Cloud, SDK metrics"),
}


@pytest.fixture(scope="module")
def lab() -> LabScore:
    return score_lab(RECORDED, with_variants=True)


@pytest.fixture(scope="module")
def servers() -> dict[str, LabScore]:
    return of_servers()


def test_the_document_is_fresh(lab: LabScore, servers: dict[str, LabScore]) -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(lab, servers, of_clusters()), "run: make docs"


def test_the_goals_are_met_on_every_server_version(servers: dict[str, LabScore]) -> None:
    assert set(servers) == {"1.29.1", "1.30.2", "1.31.2"}
    assert [(version, goal) for version, score in servers.items() for goal in score.goals if not goal.met] == []
    assert all(s.machine["temporal_server"] == v for v, score in servers.items() for s in score.scenarios)


def test_the_goals_are_met_over_all_recordings(lab: LabScore) -> None:
    of_variants = tuple(lab.variants)
    assert [g for g in lab.goals if not g.met and not g.name.startswith(of_variants)] == []
    assert lab.totals.runs == len(RECORDED)


def test_no_variant_is_called_critical_or_happy_when_it_is_not_but_for_those_that_are_known(lab: LabScore) -> None:
    wrong = {
        (scenario.recorded.scenario, variant.kind): [m for m in variant.score.wrong if m.said in ("critical", "happy")]
        for scenario in lab.scenarios
        for variant in scenario.variants
        if variant.score.false_criticals or variant.score.false_happies
    }
    assert set(wrong) == UNMET_VARIANTS, wrong
    assert set(lab.variants) == set(KINDS)
