"""What every store must do, whatever it is made of."""

from typing import Any

import pytest

from copilot.explain.model.answer import ActionRef, Explanation
from copilot.rules.incident_log import IncidentEntry
from copilot.rules.model import Detected, HealthAssessment, Narrative, ReportedState, Severity, Trigger
from copilot.rules.mutes import HeldBack, Matcher, MuteEvent
from copilot.rules.signals.change import Change
from copilot.store.base import Store
from tests.core.test_mutes import a_mute
from tests.evaluations import NOON, assessment, evaluation, issue, signals, snapshot
from tests.store.model_call_contract import ModelCallContract


def detected(finding: str = "no_pollers", **changed: Any) -> Detected:
    """The critical evaluation's finding, of this name."""
    return Detected.model_validate(issue(finding, **changed).model_dump(include=set(Detected.model_fields)))


OF = Matcher(cluster="default")
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

    async def test_an_empty_store_has_nothing_and_fails_nowhere(self, store: Store) -> None:
        assert await store.latest_evaluation("default") is None
        assert await store.latest_snapshot("default") is None
        assert await store.latest_assessment("default") is None
        assert await store.timeline("default", NOON, NOON.add(hours=1), 100) == []
        assert await store.issues("default") == []
        assert await store.clusters() == []
        assert await store.prune(NOON) == 0

    async def test_a_snapshot_comes_back_as_it_was_though_the_schema_is_set_up_again(self, store: Store) -> None:
        kept = snapshot(evaluation("critical"), memory_before={"hold": {"since": "x", "n": [1, 2.5, None, True]}})
        await store.save_snapshots([kept])
        assert await store.setup_schema() == await store.setup_schema()
        assert await store.clusters() == ["default"]
        assert await store.latest_snapshot("default") == kept
        assert await store.latest_evaluation("default") == kept.evaluation

    async def test_a_tick_is_stored_once_however_often_and_in_which_order_it_is_saved(self, store: Store) -> None:
        ticks = [snapshot(evaluation(time=NOON.add(seconds=30 * n))) for n in range(4)]
        assert await store.save_snapshots(ticks[1:]) == 3
        assert await store.save_snapshots([*ticks, *ticks]) == 1
        assert await store.save_snapshots([snapshot(evaluation("critical"))]) == 0
        points = await store.timeline("default", NOON, NOON.add(hours=1), 100)
        assert [p.health_state for p in points] == [ReportedState.HAPPY] * 4
        assert await store.latest_snapshot("default") == ticks[3]

    async def test_the_newest_evaluation_no_later_than_a_time_is_the_assessment_if_there_is_one(
        self, store: Store
    ) -> None:
        later = NOON.add(seconds=30)
        await store.save_snapshots([snapshot(evaluation("critical"))])
        await store.save_assessment(assessment("critical"))
        assert isinstance(await store.latest_evaluation("default"), HealthAssessment)
        await store.save_snapshots([snapshot(evaluation(time=later))])
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

    @pytest.mark.parametrize(
        ("story", "expected"),
        [
            pytest.param([(0, POLLERS), (5, POLLERS)], [("no_pollers", 0, 5, None)], id="seen again, it is one issue"),
            pytest.param(
                [(0, POLLERS, SLOTS), (1, SLOTS), (2, POLLERS, SLOTS)],
                [("no_pollers", 2, 2, None), ("slots_exhausted", 0, 2, None), ("no_pollers", 0, 0, 1)],
                id="no longer found, it is resolved, and its return is a new issue",
            ),
            pytest.param([(0, POLLERS), (1, "unknown")], [("no_pollers", 0, 0, None)], id="unknown resolves nothing"),
            pytest.param(
                [(0, POLLERS), (2, "happy"), (1, POLLERS)], [("no_pollers", 0, 1, 2)], id="late: it does not reopen"
            ),
            pytest.param(
                [(0, POLLERS), (2, POLLERS), (1, "happy")], [("no_pollers", 0, 2, None)], id="late: it resolves nothing"
            ),
            pytest.param(
                [(2, POLLERS), (1, POLLERS)], [("no_pollers", 1, 2, None)], id="late: an issue begins earlier"
            ),
            pytest.param([(2, "happy"), (1, POLLERS)], [("no_pollers", 1, 1, 2)], id="late: it leaves a trace"),
        ],
    )
    async def test_the_life_of_issues(
        self,
        store: Store,
        story: list[tuple[int, *tuple[Detected | str, ...]]],
        expected: list[tuple[str, int, int, int | None]],
    ) -> None:
        """Assessments by minute, in the order in which they arrive: with these findings, or in a state without any.
        Then finding, first and last seen, and resolved, of the open issues and of the resolved ones."""
        for minute, *seen in story:
            state = next((s for s in seen if isinstance(s, str)), "stressed")
            await store.save_assessment(found(60 * minute, *(f for f in seen if isinstance(f, Detected)), state=state))
        issues = [*await store.issues("default"), *await store.resolved_issues("default")]
        assert [(i.finding, i.first_seen, i.last_seen, i.resolved_at) for i in issues] == [
            (name, *(None if minute is None else NOON.add(minutes=minute) for minute in times))
            for name, *times in expected
        ]

    async def test_issues_come_critical_first_and_can_be_bounded(self, store: Store) -> None:
        churn = issue("shard_churn", "", severity=Severity.WARNING)
        await store.save_assessment(found(0, SLOTS, POLLERS, issue(subject="billing"), churn))
        everything = await store.issues("default")
        assert [i.finding for i in everything] == ["no_pollers", "no_pollers", "shard_churn", "slots_exhausted"]
        assert [i.subject for i in everything[:2]] == ["billing", "orders"]
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
        states = ["happy"] * 120
        states[30] = "stressed"
        states[75:78] = ["stressed", "critical", "stressed"]
        await store.save_snapshots([snapshot(evaluation(s, NOON.add(seconds=30 * n))) for n, s in enumerate(states)])
        points = await store.timeline("default", NOON, NOON.add(hours=24), 20)
        assert len(points) == 20
        times = {(p.time - NOON).total("seconds") / 30 for p in points}
        assert {0, 30, 31, 75, 76, 77, 78, 119} <= times
        assert [p.time for p in points] == sorted(p.time for p in points)

    async def test_a_short_range_is_given_whole_and_with_readings_on_request(self, store: Store) -> None:
        said = evaluation("stressed")
        await store.save_snapshots([snapshot(said), snapshot(evaluation(time=NOON.add(seconds=1)))])
        (plain,) = await store.timeline("default", NOON, NOON, 10)
        (point,) = await store.timeline("default", NOON, NOON, 10, signals=True)
        assert (plain.signals, point.signals) == (None, said.signals.readings)
        assert (point.top_factor, point.bottleneck, point.stale) == ("no_pollers", said.bottleneck, False)
        points = await store.signal_series("default", "demand.starts_per_sec", NOON, NOON.add(seconds=2), 100)
        expected = [e.signals.value("demand.starts_per_sec") for e in (said, evaluation())]
        assert [p.value for p in points] == expected

    async def test_a_series_keeps_peaks_and_gaps(self, store: Store) -> None:
        values: list[float | None] = [1.0] * 100
        values[45] = 99.0
        values[65:85] = [None] * 20
        ticks = [(NOON.add(seconds=30 * n), value) for n, value in enumerate(values)]
        await store.save_snapshots(
            [snapshot(evaluation(time=t, signals=signals(t, demand__starts_per_sec=v))) for t, v in ticks]
        )
        points = await store.signal_series("default", "demand.starts_per_sec", NOON, NOON.add(hours=9), 20)
        assert len(points) <= 20
        assert max(p.value for p in points if p.value is not None) == 99.0
        assert any(p.value is None for p in points)
        assert await store.signal_series("default", "no.such_id", NOON, NOON, 40) != []

    async def test_a_change_is_stored_once_and_what_is_seen_of_it_may_grow(self, store: Store) -> None:
        seen = Change(cluster="default", at=NOON, kind="restart", text="3 of 12 workers", source="seen", task_queue="q")
        grown = seen.model_copy(update={"text": "12 of 12 workers"})
        told = [Change(cluster="default", at=NOON.add(seconds=n), kind="deploy", text=f"v{n}") for n in range(3)]
        assert await store.save_changes([seen, *told, *told]) == 4
        assert await store.save_changes([grown, *told]) == 0
        both = sorted((grown, told[0]), key=lambda c: c.digest)
        assert await store.changes("default", NOON, NOON.add(seconds=1)) == [told[1], *both]
        assert await store.changes("default", NOON, NOON.add(hours=1), limit=1) == [told[2]]
        assert await store.changes("other", NOON, NOON.add(hours=1)) == []

    async def test_pruning_deletes_what_it_counted_and_leaves_what_is_open(self, store: Store) -> None:
        await store.save_snapshots([snapshot(evaluation(time=NOON.add(seconds=30 * n))) for n in range(20)])
        await store.save_snapshots([snapshot(evaluation(cluster="other"))])
        await store.save_assessment(found(0, POLLERS, SLOTS))
        await store.save_assessment(found(60, POLLERS))
        for seconds in (0, 60):
            await store.save_inspection("default", "workers", NOON.add(seconds=seconds), {"seen": seconds})
        assert await store.inspection("default", "workers") == {"seen": 60}
        assert await store.inspection("default", "workers", NOON.add(seconds=60)) is None
        assert await store.inspection("other", "workers") is None
        before = NOON.add(minutes=5)
        await store.save_changes([Change(cluster="default", at=before.subtract(seconds=1), kind="deploy", text="old")])
        over, lasting = (a_mute(id=f"{h}", hours=h).model_copy(update={"matcher": OF}) for h in (0.05, 9))
        for mute in (over, lasting):
            created = MuteEvent(mute_id=mute.id, kind="created", at=NOON, mute=mute)
            held = HeldBack(channel="ops", notification="firing", state=ReportedState.CRITICAL, event_id="e")
            kept = MuteEvent(mute_id=mute.id, kind="held", at=NOON, held=held)
            for _ in range(2):
                await store.save_mute_events(mute, [kept, created])
        known = await store.mutes("default", NOON)
        assert {(life.mute, len(life.held)) for life in known} == {(over, 1), (lasting, 1)}
        assert await store.mutes("other", NOON) == []
        assert [life.mute.id for life in await store.mutes("default", lasting.until)] == ["9"]
        entries = [
            IncidentEntry(at=NOON.add(minutes=n), kind=kind, who="ops", text=f"{n}", event_id="one")
            for n, kind in ((0, "not delivered"), (1, "not delivered"), (6, "notified"))
        ]
        for entry in entries:
            await store.save_incident_entry("default", entry)
        assert await store.incident_entries("default", NOON, NOON.add(hours=1)) == [entries[0], entries[2]]
        assert await store.incident_entries("default", NOON.add(seconds=1), before) == []
        assert await store.incident_entries("other", NOON, NOON.add(hours=1)) == []
        expected = {
            "metrics_snapshots": 11,
            "health_assessments": 2,
            "issues": 1,
            "changes": 1,
            "model_calls": 0,
            "inspections": 1,
            "mute_events": 2,
            "incident_entries": 1,
        }
        assert await store.prunable(before) == expected
        assert await store.prune(before, cluster="other") == 1
        deleted = dict.fromkeys(expected, 0)
        assert await store.prune(before, 4, lambda table, rows: deleted.update({table: deleted[table] + rows})) == 18
        assert deleted == expected | {"metrics_snapshots": 10}
        assert set((await store.prunable(before)).values()) == {0}
        assert len(await store.timeline("default", NOON, NOON.add(hours=1), 100)) == 10
        assert [i.finding for i in await store.issues("default")] == ["no_pollers"]
        assert await store.resolved_issues("default") == []

    async def test_another_explanation_of_a_stored_assessment_changes_nothing_else(self, store: Store) -> None:
        first = found(0, POLLERS, SLOTS)
        await store.save_assessment(first)
        assert not await store.improve_explanation("another", first.trigger, BETTER)
        assert not await store.improve_explanation(first.evaluation_id, Trigger.MANUAL, BETTER)
        assert await store.latest_assessment("default") == first
        for _ in range(2):
            assert await store.improve_explanation(first.evaluation_id, first.trigger, BETTER)
        stored = await store.latest_assessment("default")
        assert stored == first.model_copy(update={"explanation": BETTER.model_dump(mode="json")})
        assert not await store.save_assessment(first)
        assert await store.latest_assessment("default") == stored

    async def test_strings_a_database_might_refuse_are_kept(self, store: Store) -> None:
        nasty = issue(subject="nul\0 and 'quotes\"; DROP TABLE issues; -- \\u0000 \U0001f916", title="<script>")
        await store.save_snapshots([snapshot(evaluation("stressed", findings=(nasty,)))])
        await store.save_assessment(found(0, nasty))
        await store.save_assessment(found(60, nasty.model_copy(update={"evidence": {"pollers": 0.0}})))
        (kept,) = await store.issues("default")
        assert kept.evidence == {"pollers": 0.0}
        assert "DROP TABLE" in kept.subject
        assert "\U0001f916" in kept.subject
        assert kept.last_seen == NOON.add(minutes=1)
