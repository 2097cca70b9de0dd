"""For any life of a cluster and any channel, its notifications make sense."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from copilot.notify.decide import Outcome
from copilot.rules.model import ReportedState
from copilot.settings.notify import ChannelRules, MuteTimeInterval, StateName
from tests.notify.lifetime import DELIVERED, Channel

STATES = st.sampled_from(["happy", "stressed", "critical", "unknown"])
LIVES = st.lists(st.tuples(st.integers(1, 3000), STATES), min_size=1, max_size=25)
OUTCOMES = st.sampled_from(
    [
        DELIVERED,
        DELIVERED,
        Outcome(delivered=False, why="down"),
        Outcome(delivered=False, why="hung", doubtful=True),
        Outcome(delivered=False, why="slow down", retry_after_sec=700),
        Outcome(delivered=False, why="refused", final=True),
    ]
)
BAD: tuple[StateName, ...] = ("critical", "unknown", "stressed")
MUTED = MuteTimeInterval(start_time="12:20", end_time="14:00")
RULES = st.builds(
    ChannelRules,
    name=st.just("ops"),
    states=st.sets(st.sampled_from(BAD), min_size=1).map(tuple),
    mute_time_intervals=st.sampled_from([(), (MUTED,)]),
    min_gap_sec=st.sampled_from([0.0, 60.0, 600.0]),
    repeat_interval_sec=st.sampled_from([None, 300.0]),
)


def story(steps: list[tuple[int, str]]) -> list[tuple[float, str]]:
    now, states = 0.0, []
    for after, state in steps:
        now += after
        states.append((now, state))
    return states


def checked(channel: Channel) -> None:
    """No resolve of what was not sent, nothing sent twice, and no id twice among what was delivered."""
    alerted = False
    last: object = None
    for _, sent, outcome in channel.attempts:
        if sent.kind == "resolved":
            assert alerted, "a resolve without an alert"
            if outcome.delivered or outcome.final:
                alerted, last = False, None
        elif outcome.delivered or outcome.doubtful:
            alerted = True
        if outcome.delivered:
            what = (sent.incident, "resolved" if sent.kind == "resolved" else sent.state.value)
            assert what != last or sent.kind == "repeat", f"{what} was sent twice"
            last = what
    arrived = [sent.event_id("east") for _, sent, outcome in channel.attempts if outcome.delivered]
    assert len(arrived) == len(set(arrived))


@given(RULES, LIVES)
def test_a_channel_that_works_gets_everything_once_and_in_order(
    rules: ChannelRules, steps: list[tuple[int, str]]
) -> None:
    life = story(steps)
    channel = Channel(rules).run(life, until=life[-1][0] + 20_000)
    checked(channel)
    for _, sent, _ in channel.attempts:
        assert (sent.kind == "resolved") == (sent.state.value not in rules.states)
    last = ReportedState(life[-1][1])
    if last.value in rules.states:
        assert channel.state.state is last, "in the end it knows the state"
    if last is ReportedState.HAPPY:
        assert channel.state.state is None
        assert not channel.delivered or channel.delivered[-1][1] == "resolved"


@given(RULES, LIVES, st.data())
def test_whatever_the_outcomes_nothing_is_sent_twice_or_resolved_that_was_not_sent(
    rules: ChannelRules, steps: list[tuple[int, str]], data: st.DataObject
) -> None:
    channel = Channel(rules, respond=lambda _: data.draw(OUTCOMES))
    checked(channel.run(story(steps), until=sum(after for after, _ in steps)))


@given(st.lists(st.tuples(st.integers(20, 120), STATES), min_size=5, max_size=60))
def test_a_flapping_cluster_does_not_flood_the_channel(steps: list[tuple[int, str]]) -> None:
    rules = ChannelRules(name="ops", states=BAD, min_gap_sec=600)
    channel = Channel(rules).run(story(steps), until=10_000)
    for kind in ("resolved", "stressed"):
        sent = [
            when for when, what, state in channel.delivered if kind in (what, state) and what not in ("firing", "worse")
        ]
        assert all(later - earlier >= 600 for earlier, later in pairwise(sent))
