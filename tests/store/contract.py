"""What every store must do, whatever it is made of."""

from typing import Any

from copilot.explain.model.answer import ActionRef, Explanation
from copilot.rules.model import (
    Detected,
    HealthAssessment,
    Narrative,
    ReportedState,
    Severity,
    Trigger,
)
from copilot.store.base import Store
from tests.evaluations import NOON, assessment, evaluation, issue, signals, snapshot
from tests.store.model_call_contract import ModelCallContract


def detected(finding: str = "no_pollers", **changed: Any) -> Detected:
    """The critical evaluation's finding, of this name."""
    return Detected.model_validate(issue(finding, **changed).model_dump(include=set(Detected.model_fields)))


POLLERS = detected()
SLOTS = detected("slots_exhausted", severity=Severity.WARNING)


BETTER = Explanation(
    explained_by="model",
    summary="In other words.",
    note="Said by a model.",
    narrative=Narrative(
        setting="a", trigger="b", reactions=("c", "d"), why="e", meaning="f", watch_next="g \U0001f916"
    ),
    actions=(
        ActionRef(finding="no_pollers", action="start_workers"),
        ActionRef(finding="never_found", action="start_workers"),
    ),
)


def found(after_sec: float, *findings: Detected, state: str = "stressed") -> HealthAssessment:
    return assessment(state, NOON.add(seconds=after_sec), findings=findings)


class StoreContract(ModelCallContract):
    """Tests over a `store` fixture that the subclasses' modules give."""

    async def test_an_empty_store_says_nothing_and_fails_nowhere(self, store: Store) -> None:
        assert await store.latest_evaluation("default") is None
        assert await store.latest_snapshot("default") is None
        assert await store.latest_assessment("default") is None
        assert await store.timeline("default", NOON, NOON.add(hours=1), 100) == []
        assert await store.issues("default") == []
        assert await store.clusters() == []
        assert await store.prune(NOON) == 0

    async def test_setting_up_the_schema_again_changes_nothing(self, store: Store) -> None:
        await store.save_snapshots([snapshot(evaluation())])
        first = await store.setup_schema()
        assert await store.setup_schema() == first
        assert await store.clusters() == ["default"]

    async def test_a_snapshot_comes_back_as_it_was(self, store: Store) -> None:
        kept = snapshot(evaluation("critical"), memory_before={"hold": {"since": "x", "n": [1, 2.5, None, True]}})
        await store.save_snapshots([kept])
        assert await store.latest_snapshot("default") == kept
        assert await store.latest_evaluation("default") == kept.evaluation

    async def test_a_tick_is_kept_once_however_often_it_is_saved(self, store: Store) -> None:
        ticks = [snapshot(evaluation(time=NOON.add(seconds=30 * n))) for n in range(4)]
        assert await store.save_snapshots(ticks[:3]) == 3
        assert await store.save_snapshots([*ticks, *ticks]) == 1
        changed = snapshot(evaluation("critical", NOON))
        assert await store.save_snapshots([changed]) == 0
        points = await store.timeline("default", NOON, NOON.add(hours=1), 100)
        assert [p.health_state for p in points] == [ReportedState.HAPPY] * 4

    async def test_the_newest_tick_wins_whatever_arrives_last(self, store: Store) -> None:
        await store.save_snapshots([snapshot(evaluation(time=NOON.add(seconds=30)))])
        await store.save_snapshots([snapshot(evaluation(time=NOON))])
        newest = await store.latest_evaluation("default")
        assert newest is not None
        assert newest.time == NOON.add(seconds=30)

    async def test_the_tick_that_was_assessed_comes_back_as_its_assessment(self, store: Store) -> None:
        await store.save_snapshots([snapshot(evaluation("critical"))])
        await store.save_assessment(assessment("critical"))
        assert isinstance(await store.latest_evaluation("default"), HealthAssessment)

    async def test_what_was_said_at_a_moment_is_the_newest_tick_no_later_than_it(self, store: Store) -> None:
        later = NOON.add(seconds=30)
        await store.save_snapshots([snapshot(evaluation("critical")), snapshot(evaluation(time=later))])
        await store.save_assessment(assessment("critical"))
        assert await store.evaluation_at("default", NOON.subtract(seconds=1)) is None
        assert isinstance(await store.evaluation_at("default", NOON.add(seconds=29)), HealthAssessment)
        assert await store.evaluation_at("default", later) == evaluation(time=later)
        assert await store.evaluation_at("other", later) is None

    async def test_clusters_do_not_see_each_other(self, store: Store) -> None:
        await store.save_snapshots([snapshot(evaluation(cluster="a")), snapshot(evaluation(cluster="b"))])
        await store.save_assessment(assessment("critical", cluster="b"))
        assert await store.clusters() == ["a", "b"]
        assert await store.issues("a") == []
        assert len(await store.timeline("a", NOON, NOON, 10)) == 1

    async def test_threshold_sets_are_kept_by_hash(self, store: Store) -> None:
        await store.save_thresholds("h1", {"work_stalled": {"share": 0.1}})
        await store.save_thresholds("h1", {"work_stalled": {"share": 0.1}})
        assert await store.thresholds("h1") == {"work_stalled": {"share": 0.1}}
        assert await store.thresholds("h2") is None

    async def test_an_assessment_is_kept_once_per_tick_and_trigger(self, store: Store) -> None:
        first = assessment("critical")
        assert await store.save_assessment(first)
        assert not await store.save_assessment(first)
        assert await store.save_assessment(first.model_copy(update={"trigger": Trigger.SCHEDULED}))
        assert await store.latest_assessment("default") is not None
        assert len(await store.assessments_in_range("default", NOON, NOON)) == 2
        assert len(await store.issues("default")) == len(first.findings)

    async def test_assessments_of_a_range_come_oldest_first_and_bounded(self, store: Store) -> None:
        for n in (2, 0, 1, 3):
            await store.save_assessment(found(60 * n))
        times = [a.time for a in await store.assessments_in_range("default", NOON, NOON.add(minutes=2))]
        assert times == [NOON.add(minutes=n) for n in range(3)]
        newest = await store.assessments_in_range("default", NOON, NOON.add(minutes=9), limit=2)
        assert [a.time for a in newest] == [NOON.add(minutes=2), NOON.add(minutes=3)]

    async def test_a_problem_seen_again_stays_one_issue(self, store: Store) -> None:
        await store.save_assessment(found(0, POLLERS))
        await store.save_assessment(found(300, POLLERS.model_copy(update={"evidence": {"pollers": 0.0}})))
        (kept,) = await store.issues("default")
        assert (kept.first_seen, kept.last_seen, kept.resolved_at) == (NOON, NOON.add(minutes=5), None)
        assert kept.evidence == {"pollers": 0.0}

    async def test_a_problem_no_longer_found_is_resolved_and_its_return_is_a_new_issue(self, store: Store) -> None:
        await store.save_assessment(found(0, POLLERS, SLOTS))
        await store.save_assessment(found(60, SLOTS))
        await store.save_assessment(found(120, POLLERS, SLOTS))
        assert [(i.finding, i.first_seen) for i in await store.issues("default")] == [
            ("no_pollers", NOON.add(minutes=2)),
            ("slots_exhausted", NOON),
        ]
        (resolved,) = await store.resolved_issues("default")
        assert (resolved.finding, resolved.resolved_at) == ("no_pollers", NOON.add(minutes=1))

    async def test_one_finding_on_two_queues_is_two_issues(self, store: Store) -> None:
        await store.save_assessment(found(0, POLLERS, issue(subject="billing")))
        assert {i.subject for i in await store.issues("default")} == {"orders", "billing"}

    async def test_a_blind_or_stale_assessment_resolves_nothing(self, store: Store) -> None:
        await store.save_assessment(found(0, POLLERS))
        await store.save_assessment(found(60, state="unknown"))
        (kept,) = await store.issues("default")
        assert kept.resolved_at is None

    async def test_a_late_assessment_does_not_reopen_what_was_resolved(self, store: Store) -> None:
        await store.save_assessment(found(0, POLLERS))
        await store.save_assessment(found(120, state="happy"))
        await store.save_assessment(found(60, POLLERS))
        assert await store.issues("default") == []
        (kept,) = await store.resolved_issues("default")
        assert (kept.last_seen, kept.resolved_at) == (NOON.add(minutes=1), NOON.add(minutes=2))

    async def test_a_late_assessment_does_not_resolve_what_is_open(self, store: Store) -> None:
        await store.save_assessment(found(0, POLLERS))
        await store.save_assessment(found(120, POLLERS))
        await store.save_assessment(found(60, state="happy"))
        (kept,) = await store.issues("default")
        assert (kept.first_seen, kept.last_seen) == (NOON, NOON.add(minutes=2))

    async def test_a_late_assessment_makes_an_open_issue_begin_earlier(self, store: Store) -> None:
        await store.save_assessment(found(120, POLLERS))
        await store.save_assessment(found(60, POLLERS))
        (kept,) = await store.issues("default")
        assert (kept.first_seen, kept.last_seen) == (NOON.add(minutes=1), NOON.add(minutes=2))

    async def test_a_late_assessment_leaves_a_trace_of_a_problem_that_is_over(self, store: Store) -> None:
        await store.save_assessment(found(120, state="happy"))
        await store.save_assessment(found(60, POLLERS))
        assert await store.issues("default") == []
        (kept,) = await store.resolved_issues("default")
        assert (kept.first_seen, kept.resolved_at) == (NOON.add(minutes=1), NOON.add(minutes=2))

    async def test_issues_come_critical_first_and_can_be_chosen_and_bounded(self, store: Store) -> None:
        await store.save_assessment(found(0, SLOTS, POLLERS, issue("shard_churn", "", severity=Severity.WARNING)))
        everything = await store.issues("default")
        assert [i.finding for i in everything] == ["no_pollers", "shard_churn", "slots_exhausted"]
        warnings = await store.issues("default", severity=Severity.WARNING)
        assert [i.finding for i in warnings] == ["shard_churn", "slots_exhausted"]
        assert len(await store.issues("default", limit=1)) == 1

    async def test_of_the_resolved_the_last_comes_first_whatever_its_severity(self, store: Store) -> None:
        await store.save_assessment(found(0, POLLERS))
        await store.save_assessment(found(60, SLOTS))
        await store.save_assessment(found(120, POLLERS, SLOTS))
        await store.save_assessment(found(180, state="happy"))
        over = await store.resolved_issues("default")
        assert [(i.finding, i.resolved_at) for i in over] == [
            ("no_pollers", NOON.add(minutes=3)),
            ("slots_exhausted", NOON.add(minutes=3)),
            ("no_pollers", NOON.add(minutes=1)),
        ]
        assert await store.resolved_issues("default", limit=2) == over[:2]
        assert await store.resolved_issues("default", severity=Severity.WARNING) == [over[1]]

    async def test_a_long_timeline_is_bounded_and_keeps_every_change(self, store: Store) -> None:
        states = ["happy"] * 400
        states[100] = "stressed"
        states[250:253] = ["stressed", "critical", "stressed"]
        await store.save_snapshots([snapshot(evaluation(s, NOON.add(seconds=30 * n))) for n, s in enumerate(states)])
        points = await store.timeline("default", NOON, NOON.add(hours=24), 50)
        assert len(points) == 50
        times = {(p.time - NOON).total("seconds") / 30 for p in points}
        assert {0, 100, 101, 250, 251, 252, 253, 399} <= times
        assert [p.time for p in points] == sorted(p.time for p in points)

    async def test_a_timeline_carries_readings_when_asked(self, store: Store) -> None:
        said = evaluation("stressed")
        await store.save_snapshots([snapshot(said)])
        (plain,) = await store.timeline("default", NOON, NOON, 10)
        (point,) = await store.timeline("default", NOON, NOON, 10, signals=True)
        assert plain.signals is None
        assert point.signals == said.signals.readings
        assert (point.top_factor, point.bottleneck, point.stale) == ("no_pollers", said.bottleneck, False)

    async def test_a_series_keeps_peaks_and_gaps(self, store: Store) -> None:
        values = [1.0] * 300
        values[137] = 99.0
        kept = []
        for n, value in enumerate(values):
            time = NOON.add(seconds=30 * n)
            reading = None if 200 <= n < 230 else value
            kept.append(snapshot(evaluation(time=time, signals=signals(time, demand__starts_per_sec=reading))))
        await store.save_snapshots(kept)
        points = await store.signal_series("default", "demand.starts_per_sec", NOON, NOON.add(hours=9), 40)
        assert len(points) <= 40
        assert max(p.value for p in points if p.value is not None) == 99.0
        assert any(p.value is None for p in points)
        assert await store.signal_series("default", "no.such_id", NOON, NOON, 40) != []

    async def test_a_series_of_a_short_range_is_given_whole(self, store: Store) -> None:
        await store.save_snapshots([snapshot(evaluation(time=NOON.add(seconds=n))) for n in range(3)])
        points = await store.signal_series("default", "demand.starts_per_sec", NOON, NOON.add(seconds=2), 100)
        assert [p.value for p in points] == [evaluation().signals.value("demand.starts_per_sec")] * 3

    async def test_pruning_takes_the_old_and_leaves_what_is_open(self, store: Store) -> None:
        await store.save_snapshots([snapshot(evaluation(time=NOON.add(seconds=30 * n))) for n in range(20)])
        await store.save_assessment(found(0, POLLERS, SLOTS))
        await store.save_assessment(found(60, POLLERS))
        assert await store.prune(NOON.add(minutes=5), batch=3) == 10 + 2 + 1
        assert len(await store.timeline("default", NOON, NOON.add(hours=1), 100)) == 10
        assert [i.finding for i in await store.issues("default")] == ["no_pollers"]
        assert await store.resolved_issues("default") == []

    async def test_one_cluster_can_be_pruned_alone(self, store: Store) -> None:
        for cluster in ("east", "west"):
            await store.save_snapshots(
                [snapshot(evaluation(time=NOON.add(seconds=n), cluster=cluster)) for n in range(4)]
            )
        assert await store.prune(NOON.add(seconds=3), cluster="east") == 3
        left = [len(await store.timeline(c, NOON, NOON.add(hours=1), 100)) for c in ("east", "west")]
        assert left == [1, 4]

    async def test_what_would_be_pruned_can_be_counted_first(self, store: Store) -> None:
        await store.save_snapshots([snapshot(evaluation(time=NOON.add(seconds=30 * n))) for n in range(20)])
        await store.save_snapshots([snapshot(evaluation(time=NOON, cluster="other"))])
        await store.save_assessment(found(0, POLLERS, SLOTS))
        await store.save_assessment(found(60, POLLERS))
        expected = {"metrics_snapshots": 11, "health_assessments": 2, "issues": 1, "model_calls": 0}
        assert await store.prunable(NOON.add(minutes=5)) == expected
        told = dict.fromkeys(expected, 0)
        await store.prune(NOON.add(minutes=5), 4, lambda table, rows: told.update({table: told[table] + rows}))
        assert told == expected
        assert set((await store.prunable(NOON.add(minutes=5))).values()) == {0}

    async def test_an_explanation_changes_nothing_else(self, store: Store) -> None:
        first = found(0, POLLERS, SLOTS)
        await store.save_assessment(first)
        for _ in range(2):
            assert await store.improve_explanation(first.evaluation_id, first.trigger, BETTER)
        stored = await store.latest_assessment("default")
        assert stored == first.model_copy(update={"explanation": BETTER.model_dump(mode="json")})
        assert not await store.save_assessment(first)
        assert await store.latest_assessment("default") == stored

    async def test_words_for_an_assessment_that_is_not_kept_are_refused(self, store: Store) -> None:
        first = found(0, POLLERS)
        await store.save_assessment(first)
        assert not await store.improve_explanation("another", first.trigger, BETTER)
        assert not await store.improve_explanation(first.evaluation_id, Trigger.MANUAL, BETTER)
        assert await store.latest_assessment("default") == first

    async def test_strings_a_database_might_refuse_are_kept(self, store: Store) -> None:
        nasty = issue(subject="nul\0 and 'quotes\"; DROP TABLE issues; -- \\u0000 \U0001f916", title="<script>")
        await store.save_snapshots([snapshot(evaluation("stressed", findings=(nasty,)))])
        await store.save_assessment(found(0, nasty))
        await store.save_assessment(found(60, nasty))
        (kept,) = await store.issues("default")
        assert "DROP TABLE" in kept.subject
        assert "\U0001f916" in kept.subject
        assert kept.last_seen == NOON.add(minutes=1)
