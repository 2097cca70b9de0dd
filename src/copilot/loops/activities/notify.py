"""The activities of the notifying loop: plan the notifications that are due, and send one."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from temporalio import activity
from whenever import Instant

from copilot.errors import CopilotError
from copilot.loops.messages import (
    Document,
    EvaluationDocument,
    NotificationPlan,
    NotificationSent,
    PlannedNotification,
    PlanNotifications,
    SendNotification,
)
from copilot.notify.channels import Channel
from copilot.notify.decide import (
    ChannelState,
    ClusterState,
    Notification,
    Outcome,
    after_attempt,
    decide,
    next_cluster_state,
)
from copilot.notify.messages import Message, compose, read_evaluation
from copilot.rules.model import ReportedState
from copilot.settings.notify import ChannelRules

log = logging.getLogger(__name__)
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class NotifyDeps:
    """The channels by name, when each is notified of what, and the base URL of links in messages (None: no links)."""

    rules: tuple[ChannelRules, ...] = ()
    channels: Mapping[str, Channel] = field(default_factory=dict)
    public_url: str | None = None


class NotifyActivities:
    """Plans and sends, by the settings of this worker."""

    def __init__(self, deps: NotifyDeps) -> None:
        self._deps = deps

    @activity.defn
    async def plan_notices(self, ask: PlanNotifications) -> NotificationPlan:
        """What is due on each channel, and when to plan again."""
        now, situation = Instant.from_timestamp(ask.now), _read(ClusterState, ask.situation)
        for evaluation in ask.evaluations:
            situation = _situation(situation, evaluation)
        if situation is None:
            return NotificationPlan(situation=None, channels={}, due=[], plan_again_at=None)
        channels: dict[str, Document] = {}
        due: list[PlannedNotification] = []
        again: list[Instant] = []
        for rules in self._deps.rules:
            if not rules.matches(ask.cluster) or rules.name in ask.busy:
                continue
            state = _read(ChannelState, ask.channels.get(rules.name)) or ChannelState()
            decision = decide(rules, state, situation, now)
            if decision.new_state is not None:
                state = decision.new_state
                channels[rules.name] = state.model_dump(mode="json")
                decision = decide(rules, state, situation, now)
            if decision.next_check_at is not None:
                again.append(decision.next_check_at)
            if decision.notification is not None:
                due.append(self._planned(ask, rules.name, decision.notification, situation, state.state))
        return NotificationPlan(
            situation=situation.model_dump(mode="json"),
            channels=channels,
            due=due,
            plan_again_at=min(again).timestamp(unit="millisecond") / 1000 if again else None,
        )

    @activity.defn
    async def send_notice(self, ask: SendNotification) -> NotificationSent:
        """Try once. The result is the channel's state after it, whether the notification was delivered or not."""
        loop = asyncio.get_running_loop()
        began, channel = loop.time(), ask.planned.channel
        event, state = (
            Notification.model_validate(ask.planned.event),
            _read(ChannelState, ask.channel_state) or ChannelState(),
        )
        outcome = await self._sent(channel, Message.model_validate(ask.planned.message))
        now = Instant.from_timestamp(ask.now + loop.time() - began)
        problem = "" if outcome.delivered else f"channel {channel}: {outcome.why}"
        if problem:
            log.warning(
                "%s: %s",
                *(ask.cluster, problem),
                extra={"event": "notify.failed", "channel": channel, "event_id": event.event_id(ask.cluster)},
            )
        return NotificationSent(
            channel_state=after_attempt(state, event, outcome, now).model_dump(mode="json"), problem=problem
        )

    def _planned(
        self,
        ask: PlanNotifications,
        channel: str,
        event: Notification,
        situation: ClusterState,
        before: ReportedState | None,
    ) -> PlannedNotification:
        newest = read_evaluation(dict(ask.newest)) if ask.newest else None
        message = compose(ask.cluster, event, situation, before, newest, self._deps.public_url)
        return PlannedNotification(
            channel=channel, event=event.model_dump(mode="json"), message=message.model_dump(mode="json")
        )

    async def _sent(self, name: str, message: Message) -> Outcome:
        channel = self._deps.channels.get(name)
        if channel is None:
            return Outcome(delivered=False, final=True, why="is no longer configured")
        try:
            return await channel.send(message)
        except CopilotError as error:
            return Outcome(delivered=False, why=str(error))


def _situation(before: ClusterState | None, document: EvaluationDocument) -> ClusterState | None:
    """The cluster's state after an evaluation; one of another release or an older one changes nothing."""
    evaluation = read_evaluation(dict(document))
    if evaluation is None:
        log.warning(
            "an evaluation of another release leads to no notification",
            extra={"event": "notify.evaluation_incompatible"},
        )
        return before
    if before is not None and evaluation.time <= before.time:
        return before
    verdict = evaluation.verdict
    never_judged = verdict.last_known_state is None
    return next_cluster_state(before, verdict.health_state, verdict.since, evaluation.time, never_judged=never_judged)


def _read(model: type[M], document: Document | None) -> M | None:
    """The document; None, with a log line, where another release wrote it and this one cannot read it."""
    try:
        return model.model_validate(document) if document else None
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        log.warning(
            "%s of another release is ignored: %s", model.__name__, reason, extra={"event": "notify.state_incompatible"}
        )
        return None
