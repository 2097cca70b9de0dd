"""For any life of a cluster and any channel, messages make sense."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from whenever import Time

from copilot.notify.decide import ChannelRules, Outcome, QuietHours
from copilot.rules.model import ReportedState
from tests.notices import DELIVERED, Channel

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
BAD = [ReportedState.CRITICAL, ReportedState.UNKNOWN, ReportedState.STRESSED]
QUIET = QuietHours(start=Time(12, 20), end=Time(14), timezone="UTC", but=frozenset({ReportedState.CRITICAL}))
RULES = st.builds(
    ChannelRules,
    name=st.just("ops"),
    states=st.sets(st.sampled_from(BAD), min_size=1).map(frozenset),
    quiet_hours=st.sampled_from([None, QUIET]),
    repeat_after_sec=st.sampled_from([0.0, 60.0, 600.0]),
    remind_every_sec=st.sampled_from([None, 300.0]),
)


def story(steps: list[tuple[int, str]]) -> list[tuple[float, str]]:
    now, told = 0.0, []
    for after, state in steps:
        now += after
        told.append((now, state))
    return told


def checked(channel: Channel) -> None:
    """No resolve of what was not said, nothing said twice, and no id twice among what arrived."""
    alerted = False
    last: object = None
    for _, say, outcome in channel.attempts:
        if say.kind == "resolved":
            assert alerted, "a resolve without an alert"
            if outcome.delivered or outcome.final:
                alerted, last = False, None
        elif outcome.delivered or outcome.doubtful:
            alerted = True
        if outcome.delivered:
            what = (say.incident, "resolved" if say.kind == "resolved" else say.state.value)
            assert what != last or say.kind == "reminder", f"{what} was said twice"
            last = what
    arrived = [say.event_id("east") for _, say, outcome in channel.attempts if outcome.delivered]
    assert len(arrived) == len(set(arrived))


@settings(max_examples=300, deadline=None)
@given(RULES, LIVES)
def test_a_channel_that_works_is_told_everything_once_and_in_order(
    rules: ChannelRules, steps: list[tuple[int, str]]
) -> None:
    life = story(steps)
    channel = Channel(rules).lives(life, until=life[-1][0] + 20_000)
    checked(channel)
    for _, say, _ in channel.attempts:
        assert (say.kind == "resolved") == (say.state not in rules.states)
    last = ReportedState(life[-1][1])
    if last in rules.states:
        assert channel.told.state is last, "in the end it knows what is so"
    if last is ReportedState.HAPPY:
        assert channel.told.state is None
        assert not channel.heard or channel.heard[-1][1] == "resolved"


@settings(max_examples=300, deadline=None)
@given(RULES, LIVES, st.data())
def test_whatever_a_channel_answers_nothing_is_said_twice_or_resolved_that_was_not_said(
    rules: ChannelRules, steps: list[tuple[int, str]], data: st.DataObject
) -> None:
    channel = Channel(rules, answer=lambda _: data.draw(OUTCOMES))
    checked(channel.lives(story(steps), until=sum(after for after, _ in steps)))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(20, 120), STATES), min_size=5, max_size=60))
def test_a_cluster_that_goes_up_and_down_is_not_told_of_at_every_turn(steps: list[tuple[int, str]]) -> None:
    rules = ChannelRules(name="ops", states=frozenset(BAD), repeat_after_sec=600)
    channel = Channel(rules).lives(story(steps), until=10_000)
    for kind in ("resolved", "stressed"):
        said = [
            when for when, what, state in channel.heard if kind in (what, state) and what not in ("opened", "worse")
        ]
        assert all(later - earlier >= 600 for earlier, later in pairwise(said))
