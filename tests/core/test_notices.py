"""What a channel is told of a cluster whose state changes."""

from collections.abc import Iterator

import pytest
from whenever import Time

from copilot.notify.decide import ChannelRules, Outcome, QuietHours, Say, Seen, decide
from copilot.rules.model import ReportedState
from tests.notices import DELIVERED, NOON, Channel

CRITICAL, UNKNOWN, STRESSED = ReportedState.CRITICAL, ReportedState.UNKNOWN, ReportedState.STRESSED
USUAL = ChannelRules(name="ops", repeat_after_sec=600)
ALL = ChannelRules(name="all", states=frozenset({CRITICAL, UNKNOWN, STRESSED}), repeat_after_sec=600)
NIGHT = QuietHours(start=Time(11), end=Time(13), timezone="UTC", but=frozenset({CRITICAL}))

Story = list[tuple[float, str]]
Heard = list[tuple[float, str, str]]


@pytest.mark.parametrize(
    ("rules", "story", "heard"),
    [
        pytest.param(USUAL, [(0, "happy"), (60, "stressed"), (300, "happy")], [], id="stress alone is not heard of"),
        pytest.param(
            USUAL,
            [(0, "happy"), (60, "stressed"), (90, "critical"), (300, "stressed"), (400, "happy")],
            [(90, "opened", "critical"), (400, "resolved", "happy")],
            id="critical and over",
        ),
        pytest.param(
            ALL,
            [(0, "happy"), (60, "stressed"), (90, "critical"), (800, "stressed"), (900, "happy")],
            [(60, "opened", "stressed"), (90, "worse", "critical"), (800, "eased", "stressed"),
             (900, "resolved", "happy")],
            id="every step, to those who want every step",
        ),
        pytest.param(
            USUAL,
            [(0, "critical"), (100, "stressed")],
            [(0, "opened", "critical"), (700, "resolved", "stressed")],
            id="no longer critical for long enough",
        ),
        pytest.param(
            USUAL,
            [(0, "critical"), (100, "stressed"), (200, "critical"), (300, "stressed"), (400, "critical")],
            [(0, "opened", "critical")],
            id="up and down between critical and stressed is one message",
        ),
        pytest.param(
            USUAL,
            [(0, "critical"), (100, "happy"), (200, "critical"), (300, "happy"), (400, "critical"), (500, "happy")],
            [(0, "opened", "critical"), (100, "resolved", "happy"), (200, "opened", "critical"),
             (700, "resolved", "happy")],
            id="up and down to happy: the second resolve waits until it is meant",
        ),
        pytest.param(
            USUAL,
            [(0, "unknown"), (100, "critical"), (200, "unknown"), (300, "happy")],
            [(0, "opened", "unknown"), (100, "worse", "critical"), (300, "resolved", "happy")],
            id="blind, seen to be critical, and blind again so soon after that nobody is told",
        ),
        pytest.param(
            ChannelRules(name="pager", states=frozenset({CRITICAL})),
            [(0, "critical"), (100, "unknown"), (9000, "happy")],
            [(0, "opened", "critical"), (9000, "resolved", "happy")],
            id="blindness resolves nothing",
        ),
        pytest.param(
            ALL.model_copy(update={"quiet_hours": NIGHT}),
            [(0, "stressed"), (60, "critical"), (600, "stressed"), (1200, "happy")],
            [(60, "opened", "critical"), (1200, "resolved", "happy")],
            id="quiet hours: what may wait and is over before their end is not told, a resolve is",
        ),
        pytest.param(
            ALL.model_copy(update={"quiet_hours": NIGHT}),
            [(0, "stressed")],
            [(3600, "opened", "stressed")],
            id="quiet hours: what lasts is told at their end",
        ),
        pytest.param(
            USUAL.model_copy(update={"remind_every_sec": 1000.0}),
            [(0, "critical"), (2500, "stressed"), (2600, "happy")],
            [(0, "opened", "critical"), (1000, "reminder", "critical"), (2000, "reminder", "critical"),
             (2600, "resolved", "happy")],
            id="reminders while it is critical",
        ),
    ],
)  # fmt: skip
def test_what_a_channel_hears(rules: ChannelRules, story: Story, heard: Heard) -> None:
    assert Channel(rules).lives(story, until=20_000).heard == heard


def test_messages_of_an_incident_bear_one_incident_and_ids_of_their_own() -> None:
    channel = Channel(ALL).lives([(0, "stressed"), (60, "critical"), (1000, "happy"), (2000, "critical")], until=5000)
    incidents = [say.incident for _, say, _ in channel.attempts]
    assert incidents == [NOON, NOON, NOON, NOON.add(seconds=2000)]
    assert len({say.event_id("east") for _, say, _ in channel.attempts}) == 4
    assert channel.attempts[1][1].event_id("east") == f"east:{NOON.timestamp()}:2:critical"


def failing(times: int, outcome: Outcome) -> Iterator[Outcome]:
    for _ in range(times):
        yield outcome
    while True:
        yield DELIVERED


def told_of_critical(outcomes: Iterator[Outcome], over: float) -> Channel:
    story = [(0.0, "critical"), (over, "happy")]
    return Channel(USUAL, answer=lambda _: next(outcomes)).lives(story, until=30_000)


def test_what_does_not_arrive_is_tried_again_with_the_same_id_at_growing_pauses() -> None:
    channel = told_of_critical(failing(4, Outcome(delivered=False, why="down")), over=9000)
    alerts = [(when, say.event_id("east")) for when, say, _ in channel.attempts if say.kind == "opened"]
    assert [when for when, _ in alerts] == [0, 5, 15, 35, 75]
    assert len({event for _, event in alerts}) == 1


def test_the_other_side_says_when_to_try_again() -> None:
    channel = told_of_critical(failing(1, Outcome(delivered=False, retry_after_sec=42)), over=9000)
    assert [when for when, say, _ in channel.attempts if say.kind == "opened"] == [0, 42]


def test_what_is_over_before_it_arrived_is_not_told() -> None:
    channel = told_of_critical(failing(99, Outcome(delivered=False, why="down")), over=60)
    assert {say.kind for _, say, _ in channel.attempts} == {"opened"}


def test_what_may_have_arrived_is_resolved() -> None:
    channel = told_of_critical(failing(4, Outcome(delivered=False, doubtful=True)), over=60)
    assert channel.heard == [(60, "resolved", "happy")]
    assert len({say.incident for _, say, _ in channel.attempts}) == 1


def test_after_an_hour_nobody_tries_any_more() -> None:
    channel = told_of_critical(failing(999, Outcome(delivered=False, why="down")), over=9000)
    assert 3000 < max(when for when, _, _ in channel.attempts) <= 3600
    assert channel.told.state is None


def test_what_is_refused_is_not_tried_again_and_not_resolved() -> None:
    channel = told_of_critical(failing(1, Outcome(delivered=False, final=True, why="404")), over=9000)
    assert len(channel.attempts) == 1


def test_a_cluster_nobody_has_looked_at_yet_is_not_called_blind_at_once() -> None:
    seen = Seen(state=UNKNOWN, since=NOON, time=NOON, incident=NOON, first_look=True)
    channel = Channel(USUAL, seen=seen)
    assert channel.looks(0) == 300
    assert channel.attempts == []
    later = decide(USUAL, channel.told, seen, NOON.add(seconds=300))
    assert later.say == Say(kind="opened", state=UNKNOWN, number=1, incident=NOON)


def test_a_channel_hears_of_its_clusters_only() -> None:
    assert USUAL.hears_of("anything")
    assert not ChannelRules(name="ops", clusters=("east",)).hears_of("west")
