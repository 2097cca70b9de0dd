"""What a mute holds back, when it ends early, and when its windows are."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from whenever import Instant

from copilot.rules.incident_log import mute_entries
from copilot.rules.model import ReportedState
from copilot.rules.mutes import Matcher, Mute, MuteEvent, MuteLife, Problem, Seen, judge, lives, seen, woken_at
from tests.evaluations import NOON, evaluation

ORDERS = Problem(finding="no_pollers", subject="orders", namespaces=("default",))
BILLING = Problem(finding="no_pollers", subject="billing", namespaces=("default",))
SLOW = Problem(finding="worker_slow", subject="orders")
FULL = Problem(finding="persistence_slow")
DRAINING = Problem(finding="backlog_draining", passing=True)


def a_mute(kind: Any = "silence", hours: float = 2, **changed: Any) -> Mute:
    of = {name: changed.pop(name) for name in ("finding", "namespace", "task_queue") if name in changed}
    start = changed.pop("start", NOON)
    end = start.add(hours=hours)
    plain = {"breaks_when_worse": kind != "maintenance", "ends_when_resolved": kind != "maintenance"}
    fields = {
        "id": f"{kind}-{of}",
        "start": start,
        "end": end,
        "until": end,
        "owner": "ada",
        "reason": "known",
        "created_at": NOON,
    }
    return Mute(kind=kind, matcher=Matcher(cluster="east", **of), **{**plain, **fields, **changed})


def at(minutes: float, state: str, *problems: Problem) -> Seen:
    return Seen(time=NOON.add(minutes=minutes), state=ReportedState(state), problems=problems)


def made(mute: Mute, baseline: Seen | None = None) -> MuteLife:
    created = MuteEvent(mute_id=mute.id, kind="created", at=NOON, mute=mute)
    return MuteLife(mute=mute, created=created, baseline=baseline)


def lived(mute: Mute | list[Mute], *moments: Seen) -> tuple[list[bool], list[str]]:
    """Whether notifications are held back at each moment, and what happened to the mutes."""
    known: tuple[MuteLife, ...] = tuple(made(m) for m in (mute if isinstance(mute, list) else [mute]))
    held: list[bool] = []
    happened: list[str] = []
    for moment in moments:
        judged = judge(known, moment)
        known, held = judged.lives, [*held, judged.by is not None]
        happened += [e.why or e.kind for e in judged.events if e.kind != "matched"]
    return held, happened


STRESSED = at(1, "stressed", ORDERS)


@pytest.mark.parametrize(
    ("mute", "moments", "held", "happened"),
    [
        (a_mute(), [STRESSED, at(2, "stressed", ORDERS)], [1, 1], []),
        (a_mute(), [STRESSED, at(2, "critical", ORDERS), at(3, "stressed", ORDERS)], [1, 0, 0], ["critical"]),
        (a_mute(), [STRESSED, at(2, "unknown")], [1, 0], ["unknown"]),
        (a_mute(), [at(1, "critical", ORDERS), at(2, "stressed", ORDERS), at(3, "critical", ORDERS)], [1, 1, 1], []),
        (a_mute(), [STRESSED, at(2, "stressed", ORDERS, FULL)], [1, 0], ["persistence_slow"]),
        (a_mute(), [STRESSED, at(2, "stressed", BILLING, ORDERS)], [1, 0], ["no_pollers billing"]),
        (a_mute(), [STRESSED, at(2, "stressed", ORDERS, SLOW, DRAINING)], [1, 1], []),
        (a_mute(), [STRESSED, at(2, "happy"), at(3, "stressed", ORDERS)], [1, 0, 0], ["resolved"]),
        (a_mute(ends_when_resolved=False), [STRESSED, at(2, "happy"), at(3, "stressed", ORDERS)], [1, 1, 1], []),
        (a_mute(breaks_when_worse=False), [STRESSED, at(2, "critical", ORDERS, FULL)], [1, 1], []),
        (a_mute(), [at(121, "stressed", ORDERS)], [0], []),
        (a_mute(start=NOON.add(hours=1)), [STRESSED, at(61, "critical", ORDERS)], [0, 1], []),
        (a_mute("ack"), [at(1, "critical", ORDERS), at(2, "critical", ORDERS, FULL)], [1, 0], ["persistence_slow"]),
        (a_mute("maintenance"), [at(1, "happy"), STRESSED, at(2, "critical", FULL), at(3, "happy")], [1, 1, 1, 1], []),
        (a_mute(finding="no_pollers"), [at(1, "happy"), STRESSED], [0, 1], []),
        (a_mute(finding="no_pollers"), [at(1, "stressed", ORDERS, FULL)], [0], []),
        (a_mute(finding="no_pollers", task_queue="orders"), [at(1, "stressed", BILLING, ORDERS)], [0], []),
        (a_mute(namespace="default"), [STRESSED, at(2, "stressed", SLOW)], [1, 0], []),
        (a_mute(namespace="other"), [STRESSED], [0], []),
        (a_mute(finding="no_pollers"), [at(1, "unknown")], [0], []),
        ([a_mute(finding="no_pollers"), a_mute(finding="persistence_slow")],
         [STRESSED, at(2, "stressed", ORDERS, FULL)], [1, 1], []),
    ],
)  # fmt: skip
def test_a_mute_holds_back_what_was_known_and_nothing_worse(
    mute: Mute | list[Mute], moments: list[Seen], held: list[int], happened: list[str]
) -> None:
    assert lived(mute, *moments) == ([bool(h) for h in held], happened)


def test_what_a_mute_looks_at_is_each_cause_on_each_queue_without_consequences() -> None:
    e = evaluation("critical")
    first = e.findings[0]
    both = first.model_copy(update={"subject": "billing, orders"})
    consequence = first.model_copy(update={"finding": "worker_slow"})
    note = first.model_copy(update={"finding": "near_limit", "contributing_factors": ()})
    found = seen(NOON, e.verdict.health_state, [both, consequence, note], e.verdict.gates)
    assert found.problems == (BILLING, ORDERS)
    assert [p.finding for p in seen(NOON, e.verdict.health_state, [note], ()).problems] == ["near_limit"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"hours": 31 * 24}, "more than 30 days"),
        ({"hours": -1}, "ends before it starts"),
        ({"weekly": True, "hours": 7 * 24}, "shorter than a week"),
        ({"weekly": True, "until": NOON.add(hours=367 * 24)}, "more than 366 days"),
        ({"zone": "Mars/Olympus"}, "no time zone"),
    ],
)
def test_a_mute_has_a_near_end(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        a_mute("maintenance", **changed)


def test_a_weekly_window_keeps_its_time_of_day_and_ends_with_its_last_week() -> None:
    start = Instant.parse_iso("2026-10-20T20:00:00Z")  # 22:00 in Berlin, and 21:00 UTC after the clocks went back
    mute = a_mute("maintenance", start=start, weekly=True, zone="Europe/Berlin", until=start.add(hours=28 * 24))
    began = [mute.window(Instant.parse_iso(f"2026-{day}T23:30:00Z")) for day in ("10-19", "10-20", "10-27", "12-30")]
    assert [w and w[0].format_iso()[5:16] for w in began] == [None, "10-20T20:00", "10-27T21:00", "11-10T21:00"]


@given(st.integers(0, 60 * 24 * 300), st.booleans())
def test_a_window_began_last_and_never_lasts_longer_than_planned(minutes: int, weekly: bool) -> None:
    mute = a_mute("maintenance", hours=5, weekly=weekly, until=NOON.add(hours=24 * 200 if weekly else 5))
    now = NOON.add(minutes=minutes)
    window = mute.window(now)
    assert window is not None
    assert window[0] <= now
    assert 0 < (window[1] - window[0]).total("hours") <= 5
    if weekly and window[0] < mute.until.subtract(hours=7 * 24 + 1):
        assert (now - window[0]).total("hours") <= 7 * 24 + 1


def test_a_life_is_the_same_from_its_events_in_any_order_and_only_the_first_end_counts() -> None:
    mute = a_mute()
    created, matched = MuteEvent(mute_id=mute.id, kind="created", at=NOON, mute=mute), judge([made(mute)], STRESSED)
    ended, broke = (MuteEvent(mute_id=mute.id, kind=k, at=NOON.add(minutes=m)) for k, m in (("ended", 9), ("broke", 8)))
    (life,) = lives([ended, *matched.events, broke, created])
    assert (life.over, life.baseline) == (broke, STRESSED)
    assert lives([ended]) == []


def test_what_fires_is_sent_again_when_a_mute_that_had_matched_stops_unless_it_is_resolved() -> None:
    matched = made(a_mute(), STRESSED)
    later, over = NOON.add(hours=3), MuteEvent(mute_id="m", kind="broke", at=NOON.add(hours=1))
    resolved = over.model_copy(update={"kind": "resolved"})
    cases = [matched, matched.model_copy(update={"over": over}), matched.model_copy(update={"over": resolved}),
             made(a_mute())]  # fmt: skip
    assert [woken_at([life], later) for life in cases] == [NOON.add(hours=2), NOON.add(hours=1), None, None]
    assert woken_at([matched], NOON.add(hours=1)) is None


def test_an_incident_lists_the_mutes_that_were_about_it_and_when_they_ended() -> None:
    begin, end = NOON, NOON.add(minutes=90)
    silence = a_mute(hours=1)
    weekly = a_mute("maintenance", hours=1, start=NOON.add(hours=-26), weekly=True, until=NOON.add(hours=24 * 30))
    other = a_mute(finding="persistence_slow")
    mutes = [made(silence, STRESSED), made(weekly, at(-26 * 60 + 5, "stressed", FULL)), made(other)]
    log = [(e.kind, (e.at - NOON).total("minutes")) for e in mute_entries(mutes, begin, end)]
    assert log == [("silenced", 0), ("mute ended", 60)]
    assert [e.kind for e in mute_entries([made(a_mute("ack"))], begin, end)] == ["acknowledged"]
