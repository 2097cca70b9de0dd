"""Which notifications a channel gets of a cluster whose state changes."""

from collections.abc import Iterator

import pytest

from copilot.notify.decide import ClusterState, Notification, Outcome, decide
from copilot.rules.model import ReportedState
from copilot.settings.notify import ChannelRules, MuteTimeInterval
from tests.notify.lifetime import DELIVERED, NOON, Channel

USUAL = ChannelRules(name="ops")
ALL = ChannelRules(name="all", states=("critical", "unknown", "stressed"))
NOONTIME = MuteTimeInterval(start_time="11:00", end_time="13:00")

Story = list[tuple[float, str]]
Delivered = list[tuple[float, str, str]]


@pytest.mark.parametrize(
    ("rules", "story", "delivered"),
    [
        pytest.param(USUAL, [(0, "happy"), (60, "stressed"), (300, "happy")], [], id="stressed is not selected"),
        pytest.param(
            USUAL,
            [(0, "happy"), (60, "stressed"), (90, "critical"), (300, "stressed"), (400, "happy")],
            [(90, "firing", "critical"), (400, "resolved", "happy")],
            id="critical and over",
        ),
        pytest.param(
            ALL,
            [(0, "happy"), (60, "stressed"), (90, "critical"), (800, "stressed"), (900, "happy")],
            [(60, "firing", "stressed"), (90, "worse", "critical"), (800, "improved", "stressed"),
             (900, "resolved", "happy")],
            id="all states",
        ),
        pytest.param(
            USUAL,
            [(0, "critical"), (100, "stressed")],
            [(0, "firing", "critical"), (700, "resolved", "stressed")],
            id="no longer critical for long enough",
        ),
        pytest.param(
            USUAL,
            [(0, "critical"), (100, "stressed"), (200, "critical"), (300, "stressed"), (400, "critical")],
            [(0, "firing", "critical")],
            id="up and down between critical and stressed is one notification",
        ),
        pytest.param(
            USUAL,
            [(0, "critical"), (100, "happy"), (200, "critical"), (300, "happy"), (400, "critical"), (500, "happy")],
            [(0, "firing", "critical"), (100, "resolved", "happy"), (200, "firing", "critical"),
             (700, "resolved", "happy")],
            id="up and down to happy: the second resolve keeps the gap",
        ),
        pytest.param(
            USUAL,
            [(0, "unknown"), (100, "critical"), (200, "unknown"), (300, "happy")],
            [(0, "firing", "unknown"), (100, "worse", "critical"), (300, "resolved", "happy")],
            id="an improvement within the gap is not notified",
        ),
        pytest.param(
            ChannelRules(name="pager", states=("critical",)),
            [(0, "critical"), (100, "unknown"), (9000, "happy")],
            [(0, "firing", "critical"), (9000, "resolved", "happy")],
            id="unknown resolves nothing",
        ),
        pytest.param(
            ALL.model_copy(update={"mute_time_intervals": (NOONTIME,)}),
            [(0, "stressed"), (60, "critical"), (600, "stressed"), (1200, "happy")],
            [(60, "firing", "critical"), (1200, "resolved", "happy")],
            id="muted: what is over before the end is not notified, a resolve is",
        ),
        pytest.param(
            ALL.model_copy(update={"mute_time_intervals": (NOONTIME,)}),
            [(0, "stressed")],
            [(3600, "firing", "stressed")],
            id="muted: what lasts is notified at the end",
        ),
        pytest.param(
            USUAL.model_copy(update={"repeat_interval_sec": 1000.0}),
            [(0, "critical"), (2500, "stressed"), (2600, "happy")],
            [(0, "firing", "critical"), (1000, "repeat", "critical"), (2000, "repeat", "critical"),
             (2600, "resolved", "happy")],
            id="repeated while it is unresolved",
        ),
    ],
)  # fmt: skip
def test_what_a_channel_gets(rules: ChannelRules, story: Story, delivered: Delivered) -> None:
    assert Channel(rules).run(story, until=20_000).delivered == delivered


def test_notifications_of_an_incident_have_one_incident_and_ids_of_their_own() -> None:
    channel = Channel(ALL).run([(0, "stressed"), (60, "critical"), (1000, "happy"), (2000, "critical")], until=5000)
    incidents = [n.incident for _, n, _ in channel.attempts]
    assert incidents == [NOON, NOON, NOON, NOON.add(seconds=2000)]
    assert len({n.event_id("east") for _, n, _ in channel.attempts}) == 4
    assert channel.attempts[1][1].event_id("east") == f"east:{NOON.timestamp()}:2:critical"


def test_what_comes_back_within_ten_minutes_is_the_same_incident() -> None:
    storms = [(start + at, state) for start in (0, 400, 1600) for at, state in ((0, "critical"), (100, "happy"))]
    channel = Channel(ALL).run(storms, until=5000)
    assert {n.incident for when, n, _ in channel.attempts if when < 1500} == {NOON}
    assert channel.attempts[-1][1].incident == NOON.add(seconds=1600)


def failing(times: int, outcome: Outcome) -> Iterator[Outcome]:
    for _ in range(times):
        yield outcome
    while True:
        yield DELIVERED


def critical_then_happy(outcomes: Iterator[Outcome], over: float) -> Channel:
    story = [(0.0, "critical"), (over, "happy")]
    return Channel(USUAL, respond=lambda _: next(outcomes)).run(story, until=30_000)


def test_a_failed_attempt_is_retried_with_the_same_id_at_growing_pauses() -> None:
    channel = critical_then_happy(failing(4, Outcome(delivered=False, why="down")), over=9000)
    alerts = [(when, n.event_id("east")) for when, n, _ in channel.attempts if n.kind == "firing"]
    assert [when for when, _ in alerts] == [0, 5, 15, 35, 75]
    assert len({event for _, event in alerts}) == 1


def test_the_receiver_sets_the_pause_before_a_retry() -> None:
    channel = critical_then_happy(failing(1, Outcome(delivered=False, retry_after_sec=42)), over=9000)
    assert [when for when, n, _ in channel.attempts if n.kind == "firing"] == [0, 42]


def test_what_is_over_before_it_is_delivered_is_given_up() -> None:
    channel = critical_then_happy(failing(99, Outcome(delivered=False, why="down")), over=60)
    assert {n.kind for _, n, _ in channel.attempts} == {"firing"}


def test_what_may_have_been_delivered_is_resolved() -> None:
    channel = critical_then_happy(failing(4, Outcome(delivered=False, doubtful=True)), over=60)
    assert channel.delivered == [(60, "resolved", "happy")]
    assert len({n.incident for _, n, _ in channel.attempts}) == 1


def test_after_an_hour_it_is_given_up() -> None:
    channel = critical_then_happy(failing(999, Outcome(delivered=False, why="down")), over=9000)
    assert 3000 < max(when for when, _, _ in channel.attempts) <= 3600
    assert channel.state.state is None


def test_what_is_refused_is_neither_retried_nor_resolved() -> None:
    channel = critical_then_happy(failing(1, Outcome(delivered=False, final=True, why="404")), over=9000)
    assert len(channel.attempts) == 1


def test_a_cluster_that_was_never_judged_is_not_notified_as_unknown_at_once() -> None:
    new = ClusterState(state=ReportedState.UNKNOWN, since=NOON, time=NOON, incident=NOON, never_judged=True)
    channel = Channel(USUAL, cluster=new)
    assert channel.check(0) == 300
    assert channel.attempts == []
    later = decide(USUAL, channel.state, new, NOON.add(seconds=300))
    assert later.notification == Notification(kind="firing", state=ReportedState.UNKNOWN, number=1, incident=NOON)


def test_a_channel_matches_its_clusters_only() -> None:
    assert USUAL.matches("anything")
    assert not ChannelRules(name="ops", clusters=("east",)).matches("west")
