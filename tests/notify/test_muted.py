"""What a mute does to notifications: held back and counted, sent when it ends or breaks, summed up afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from whenever import Instant

from copilot.errors import StoreError
from copilot.loops import messages as m
from copilot.loops.activities.mutes import MutesRead
from copilot.loops.activities.notify import LOOK_AGAIN_SEC, NotifyActivities
from copilot.notify.decide import ChannelState, Notification, Outcome, after_attempt
from copilot.notify.messages import Message
from copilot.rules.mutes import Mute, MuteEvent, MuteLife
from copilot.settings.notify import ChannelRules, NotifySettings
from tests.core.test_mutes import a_mute
from tests.evaluations import NOON
from tests.fakes.memory_store import MemoryStore

OPS = ChannelRules(name="ops", states=("critical", "unknown", "stressed"))
PUSHED = NotifySettings.model_validate({"name": "am", "kind": "alertmanager", "urls": ["http://127.0.0.1:1"]})
PAGER = NotifySettings.model_validate({"name": "pager", "kind": "pagerduty", "key": "k", "states": ["stressed"]})


class Forgetful(MemoryStore):
    """A store whose mutes cannot be read while it is `away`."""

    away = False

    async def mutes(self, cluster: str, since: Instant) -> list[MuteLife]:
        if self.away:
            raise StoreError("the state store is away")
        return await super().mutes(cluster, since)


def words(minutes: float, state: str, *findings: str) -> m.Document:
    """What the observing loop says of an evaluation."""
    time = NOON.add(seconds=round(60 * minutes)).format_iso()
    gate = {"name": "backlog_age", "fired": True, "labels": {"namespace": "default", "task_queue": "orders"}}
    found = [{"finding": f, "subject": "orders", "title": f, "contributing_factors": ["backlog_age"]} for f in findings]
    verdict = {"health_state": state, "since": time, "last_known_state": "happy", "gates": [gate]}
    return {"evaluation_id": f"east:{minutes}", "time": time, "verdict": verdict, "findings": found}


@dataclass
class Notifying:
    """The notifying loop of the cluster east, without a loop: each plan is carried out at once."""

    rules: Sequence[ChannelRules] = (OPS,)
    store: Forgetful = field(default_factory=Forgetful)
    channels: dict[str, m.Document] = field(default_factory=dict)
    situation: m.Document | None = None
    newest: m.Document | None = None
    outcome: Outcome = Outcome(delivered=True)  # noqa: RUF009
    plan: m.NotificationPlan | None = None

    def __post_init__(self) -> None:
        self.activities = NotifyActivities(tuple(self.rules), mutes=MutesRead(self.store))

    async def mutes(self, *mutes: Mute) -> None:
        for mute in mutes:
            await self.store.save_mute_events(mute, [MuteEvent(mute_id=mute.id, kind="created", at=NOON, mute=mute)])

    async def ended(self, mute: Mute, minutes: float) -> None:
        event = MuteEvent(mute_id=mute.id, kind="ended", at=NOON.add(seconds=round(60 * minutes)), who="ada")
        await self.store.save_mute_events(mute, [event])

    async def at(self, minutes: float, *now: str) -> list[str]:
        """What is sent at a minute, with what is seen then (state and findings; nothing new if empty)."""
        seen = [words(minutes, *now)] if now else []
        self.newest = seen[-1] if seen else self.newest
        moment = NOON.add(seconds=round(60 * minutes))
        self.plan = await self.activities.plan_notices(
            m.PlanNotifications(
                cluster="east",
                now=moment.timestamp(),
                evaluations=seen,
                newest=self.newest,
                situation=self.situation,
                channels=self.channels,
                busy=[],
            )
        )
        self.situation, self.channels = self.plan.situation, self.channels | self.plan.channels
        for due in self.plan.due:
            rules = next(r for r in self.rules if r.name == due.channel)
            state = ChannelState.model_validate(self.channels.get(due.channel) or {})
            event = Notification.model_validate(due.event)
            after = after_attempt(state, event, self.outcome, moment, rules.repeat_interval_sec)
            self.channels[due.channel] = after.model_dump(mode="json")
        return [f"{due.channel} {due.event['kind']} {due.event['state']}" for due in self.plan.due]

    def message(self) -> Message:
        assert self.plan is not None
        return Message.model_validate(self.plan.due[0].message)

    async def held(self) -> list[str]:
        (life,) = await self.store.mutes("east", NOON)
        return [f"{e.held.channel} {e.held.notification} {e.held.state.value}" for e in life.held if e.held]


async def test_what_is_silenced_is_counted_once_and_sent_when_the_silence_breaks() -> None:
    it = Notifying()
    await it.mutes(a_mute())
    assert await it.at(1, "stressed", "no_pollers") == []
    assert it.plan is not None
    assert it.plan.plan_again_at == NOON.add(minutes=1).timestamp() + LOOK_AGAIN_SEC
    assert await it.at(1.5) == []
    assert await it.held() == ["ops firing stressed"]
    assert await it.at(2, "critical", "no_pollers") == ["ops firing critical"]
    assert await it.at(3, "happy") == ["ops resolved happy"]


async def test_an_acknowledged_incident_is_notified_again_by_a_new_finding_only_and_resolved_goes() -> None:
    it = Notifying()
    assert await it.at(1, "critical", "no_pollers") == ["ops firing critical"]
    await it.mutes(a_mute("ack", start=NOON.add(seconds=90)))
    assert await it.at(2) == []
    assert await it.at(3, "stressed", "no_pollers") == []
    assert await it.at(4, "critical", "no_pollers") == []
    assert await it.at(5, "critical", "no_pollers", "persistence_slow") == ["ops repeat critical"]
    assert await it.at(6) == []
    assert await it.at(7, "happy") == ["ops resolved happy"]
    assert await it.held() == ["ops improved stressed"]


@pytest.mark.parametrize("kind", ["ended", "expired"])
async def test_what_is_firing_when_a_silence_ends_is_sent(kind: str) -> None:
    it, mute = Notifying(), a_mute(breaks_when_worse=False)
    await it.mutes(mute)
    assert await it.at(1, "stressed", "no_pollers") == []
    assert await it.at(2, "critical", "no_pollers") == []
    assert await it.held() == ["ops firing stressed", "ops firing critical"]
    if kind == "ended":
        await it.ended(mute, 5)
    assert await it.at(6 if kind == "ended" else 121) == ["ops firing critical"]


async def test_maintenance_sends_nothing_and_then_lists_what_it_held_back_once_where_that_is_no_alert() -> None:
    it = Notifying(rules=(OPS, PAGER))
    await it.mutes(a_mute("maintenance", hours=1))
    for minutes, state in ((1, "stressed"), (2, "critical"), (9, "happy")):
        assert await it.at(minutes, state, "no_pollers") == []
    assert await it.at(61) == ["ops summary happy"]
    said = it.message()
    assert said.held_back == (
        "2026-11-22 12:01 UTC: firing, stressed (ops)",
        "2026-11-22 12:02 UTC: firing, critical (ops)",
    )
    assert said.headline == "[MAINTENANCE ENDED] east is HAPPY"
    assert await it.at(62) == []
    assert await it.at(63, "critical", "no_pollers") == ["ops firing critical"]
    assert await it.at(64, "happy") == ["ops resolved happy"]
    assert await it.at(65) == []


async def test_what_was_notified_before_maintenance_is_resolved_during_it() -> None:
    it = Notifying()
    assert await it.at(1, "stressed", "no_pollers") == ["ops firing stressed"]
    await it.mutes(a_mute("maintenance", start=NOON.add(seconds=90)))
    assert await it.at(2, "happy") == ["ops resolved happy"]


async def test_a_summary_that_is_not_delivered_is_tried_again_and_given_up_after_an_hour() -> None:
    it = Notifying()
    await it.mutes(a_mute("maintenance", hours=1))
    await it.at(1, "stressed", "no_pollers")
    await it.at(2, "happy")
    it.outcome = Outcome(delivered=False, why="down")
    tries = [minutes for minutes in range(60, 150) if await it.at(minutes)]
    assert tries[:3] == [60, 61, 62]
    assert tries[-1] <= 120


async def test_an_alert_that_is_open_at_alertmanager_stays_open_while_it_is_muted_and_no_other_is_opened() -> None:
    it = Notifying(rules=(PUSHED,))
    assert await it.at(1, "stressed", "no_pollers") == ["am firing stressed"]
    await it.mutes(a_mute(start=NOON.add(seconds=90), breaks_when_worse=False))
    assert await it.at(2) == ["am repeat stressed"]
    assert await it.at(2.5, "critical", "no_pollers") == []
    assert await it.at(3) == ["am repeat stressed"]
    assert await it.at(4, "happy") == ["am resolved happy"]
    assert await it.at(5, "critical", "no_pollers") == ["am firing critical"]


async def test_mutes_hold_back_while_the_store_is_down_and_none_is_made_up() -> None:
    it = Notifying()
    await it.mutes(a_mute())
    await it.at(1, "stressed", "no_pollers")
    it.store.away = True
    assert await it.at(2) == []
    fresh = Notifying(store=it.store)
    assert await fresh.at(2, "stressed", "no_pollers") == ["ops firing stressed"]


async def test_what_came_of_each_notification_is_on_record_once() -> None:
    it = Notifying()
    await it.at(0, "happy")
    await it.at(1, "stressed", "no_pollers")
    assert it.plan is not None
    (due,) = it.plan.due
    outcomes = [Outcome(delivered=False, why="answered 503"), Outcome(delivered=False, why="again"), it.outcome]

    async def ops(_: Message) -> Outcome:
        return outcomes.pop(0)

    sending = NotifyActivities(tuple(it.rules), channels={"ops": ops}, mutes=MutesRead(it.store))
    for second in (60, 70, 80):
        now = NOON.add(seconds=second).timestamp()
        await sending.send_notice(m.SendNotification(cluster="east", now=now, planned=due, channel_state={}))
    stored = await it.store.incident_entries("east", NOON, NOON.add(hours=1))
    assert [(e.kind, e.who, e.text) for e in stored] == [
        ("not delivered", "ops", "firing, stressed: answered 503"),
        ("notified", "ops", "firing, stressed"),
    ]
    assert {e.incident for e in stored} == {f"east:{NOON.add(minutes=1).timestamp()}"}
