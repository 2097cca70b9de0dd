"""The activities of the notifying loop: plan the notifications that are due, and send one."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from temporalio import activity
from whenever import Instant

from copilot.errors import CopilotError
from copilot.loops import messages as m
from copilot.loops.activities.mutes import MutesRead
from copilot.loops.activities.observe import read_document
from copilot.notify.channels import Channel
from copilot.notify.decide import (
    RESOLVED,
    ChannelState,
    ClusterState,
    Notification,
    Outcome,
    after_attempt,
    decide,
    decide_summary,
    decide_while_muted,
    incident_id,
    next_cluster_state,
)
from copilot.notify.messages import EvaluationExcerpt, Message, compose, compose_summary
from copilot.rules.incident_log import MAX_NOTE, IncidentEntry
from copilot.rules.model import ReportedState
from copilot.rules.mutes import MAX_NAME, Judged, seen, woken_at
from copilot.settings.notify import ChannelRules

log = logging.getLogger(__name__)
INCOMPATIBLE = "notify.state_incompatible"
EVALUATION_INCOMPATIBLE = "notify.evaluation_incompatible"
LOOK_AGAIN_SEC = 30.0
"""While a cluster is not happy: whether a mute began, ended or broke by a new finding."""


@dataclass(frozen=True)
class NotifyActivities:
    """Plans and sends, by the settings of this worker: the channels by name, when each is notified of what, the base
    URL of links in messages (None: no links), and the mutes that hold back notifications."""

    rules: tuple[ChannelRules, ...] = ()
    channels: Mapping[str, Channel] = field(default_factory=dict)
    public_url: str | None = None
    mutes: MutesRead | None = None
    look_again_sec: float = LOOK_AGAIN_SEC

    @activity.defn
    async def plan_notices(self, ask: m.PlanNotifications) -> m.NotificationPlan:
        """What is due on each channel, and when to plan again."""
        now, situation = Instant.from_timestamp(ask.now), read_document(ClusterState, ask.situation, INCOMPATIBLE)
        for evaluation in ask.evaluations:
            situation = _situation(situation, evaluation)
        if situation is None:
            return m.NotificationPlan(situation=None, channels={}, due=[], plan_again_at=None)
        newest = read_document(EvaluationExcerpt, ask.newest, EVALUATION_INCOMPATIBLE)
        judged = await self._judged(ask.cluster, situation, newest, now)
        woken = woken_at(judged.lives, now)
        channels: dict[str, m.Document] = {}
        due: list[m.PlannedNotification] = []
        again = [window[1] for life in judged.lives if life.active(now) and (window := life.last_window(now))]
        if self.mutes is not None and situation.state is not ReportedState.HAPPY:
            again.append(now.add(seconds=self.look_again_sec))
        for rules in self.rules:
            if not rules.matches(ask.cluster) or rules.name in ask.busy:
                continue
            state = read_document(ChannelState, ask.channels.get(rules.name), INCOMPATIBLE) or ChannelState()
            decision = decide(rules, state, situation, now, woken)
            if decision.new_state is not None:
                state = decision.new_state
                channels[rules.name] = state.model_dump(mode="json")
                decision = decide(rules, state, situation, now, woken)
            if self.mutes and judged.by and (event := decision.notification) and event.kind != RESOLVED:
                await self.mutes.hold(ask.cluster, judged.by, rules.name, event, now)
                decision = decide_while_muted(rules, state, now)
            over = None
            if decision.notification is None:
                over, summary = decide_summary(rules, state, situation.state, judged.lives, now)
                again += [d.next_check_at for d in (decision, summary) if d.next_check_at is not None]
                decision = summary
            if (event := decision.notification) is not None:
                message = (
                    compose(ask.cluster, event, situation, state.state, newest, self.public_url)
                    if over is None
                    else compose_summary(ask.cluster, event, situation, over, rules.name, self.public_url)
                )
                documents = {"event": event.model_dump(mode="json"), "message": message.model_dump(mode="json")}
                due.append(m.PlannedNotification(channel=rules.name, **documents))
        return m.NotificationPlan(
            situation=situation.model_dump(mode="json"),
            channels=channels,
            due=due,
            plan_again_at=min(again).timestamp(unit="millisecond") / 1000 if again else None,
        )

    async def _judged(
        self, cluster: str, situation: ClusterState, newest: EvaluationExcerpt | None, now: Instant
    ) -> Judged:
        if self.mutes is None:
            return Judged(by=None, until=None, lives=(), events=())
        findings, gates = (newest.findings, newest.verdict.gates) if newest else ((), ())
        return await self.mutes.judged(cluster, seen(now, situation.state, findings, gates))

    @activity.defn
    async def send_notice(self, ask: m.SendNotification) -> m.NotificationSent:
        """Try once. The result is the channel's state after it, whether the notification was delivered or not."""
        loop = asyncio.get_running_loop()
        began, channel = loop.time(), ask.planned.channel
        event = Notification.model_validate(ask.planned.event)
        state = read_document(ChannelState, ask.channel_state, INCOMPATIBLE) or ChannelState()
        outcome = Outcome(delivered=False, final=True, why="is no longer configured")
        if (to := self.channels.get(channel)) is not None:
            try:
                message = Message.model_validate(ask.planned.message)
                outcome = await to(message.model_copy(update={"thread": state.thread}))
            except CopilotError as error:
                outcome = Outcome(delivered=False, why=str(error))
        now = Instant.from_timestamp(ask.now + loop.time() - began)
        if self.mutes is not None and outcome.silences is not None:
            await self.mutes.silenced_there(ask.cluster, outcome.silences, now)
        if self.mutes is not None:
            said = f"{event.kind}, {event.state.value}{'' if outcome.delivered else f': {outcome.why}'}"
            entry = IncidentEntry(
                at=now, kind="notified" if outcome.delivered else "not delivered", who=channel[:MAX_NAME],
                text=said[:MAX_NOTE], incident=incident_id(ask.cluster, event.incident),
                event_id=event.event_id(ask.cluster),
            )  # fmt: skip
            await self.mutes.record(ask.cluster, entry)
        problem = "" if outcome.delivered else f"channel {channel}: {outcome.why}"
        if outcome.why:
            ids = {"channel": channel, "event_id": event.event_id(ask.cluster)}
            log.warning(
                "%s: channel %s: %s", ask.cluster, channel, outcome.why, extra={"event": "notify.failed", **ids}
            )
        repeat_sec = next((rules.repeat_interval_sec for rules in self.rules if rules.name == channel), None)
        after = after_attempt(state, event, outcome, now, repeat_sec)
        return m.NotificationSent(channel_state=after.model_dump(mode="json"), problem=problem)


def _situation(before: ClusterState | None, document: m.Document) -> ClusterState | None:
    """The cluster's state after an evaluation; one of another release or an older one changes nothing."""
    evaluation = read_document(EvaluationExcerpt, document, EVALUATION_INCOMPATIBLE)
    if evaluation is None or (before is not None and evaluation.time <= before.time):
        return before
    verdict = evaluation.verdict
    never_judged = verdict.last_known_state is None
    return next_cluster_state(before, verdict.health_state, verdict.since, evaluation.time, never_judged=never_judged)
