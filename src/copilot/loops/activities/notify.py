"""The activities of the notifying loop: what is to be told now, and telling it."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from temporalio import activity
from whenever import Instant

from copilot.errors import CopilotError
from copilot.loops.messages import Document, NoticeSent, NoticesPlanned, Planned, PlanNotices, SendNotice
from copilot.notify import Channel
from copilot.notify.decide import ChannelRules, Outcome, Say, Seen, Told, after, decide, seen_after
from copilot.notify.messages import Notice, notice, read_evaluation
from copilot.rules.model import ReportedState

log = logging.getLogger(__name__)
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class NotifyDeps:
    """The channels by name, when each hears of what, and where the page is that messages link to."""

    rules: tuple[ChannelRules, ...] = ()
    channels: Mapping[str, Channel] = field(default_factory=dict)
    public_url: str | None = None


class NotifyActivities:
    """Decides and tells, by the settings of this worker."""

    def __init__(self, deps: NotifyDeps) -> None:
        self._deps = deps

    @activity.defn
    async def plan_notices(self, ask: PlanNotices) -> NoticesPlanned:
        """What every channel is to be told now, and when to look again."""
        now, seen = Instant.from_timestamp(ask.now), _read(Seen, ask.seen)
        for document in ask.unseen:
            seen = _seen(seen, document)
        if seen is None:
            return NoticesPlanned(seen=None, told={}, sends=[], look_at=None)
        told: dict[str, Document] = {}
        sends: list[Planned] = []
        looks: list[Instant] = []
        for rules in self._deps.rules:
            if not rules.hears_of(ask.cluster) or rules.name in ask.busy:
                continue
            knows = _read(Told, ask.told.get(rules.name)) or Told()
            decision = decide(rules, knows, seen, now)
            if decision.becomes is not None:
                knows = decision.becomes
                told[rules.name] = knows.model_dump(mode="json")
                decision = decide(rules, knows, seen, now)
            if decision.look_at is not None:
                looks.append(decision.look_at)
            if decision.say is not None:
                sends.append(self._planned(ask, rules.name, decision.say, seen, knows.state))
        return NoticesPlanned(
            seen=seen.model_dump(mode="json"),
            told=told,
            sends=sends,
            look_at=min(looks).timestamp(unit="millisecond") / 1000 if looks else None,
        )

    @activity.defn
    async def send_notice(self, ask: SendNotice) -> NoticeSent:
        """Try once. Whatever the other side does, the answer is what the channel knows after it."""
        loop = asyncio.get_running_loop()
        began, name = loop.time(), ask.send.channel
        say, knows = Say.model_validate(ask.send.say), _read(Told, ask.told) or Told()
        outcome = await self._sent(name, Notice.model_validate(ask.send.notice))
        now = Instant.from_timestamp(ask.now + loop.time() - began)
        problem = "" if outcome.delivered else f"channel {name}: {outcome.why}"
        if problem:
            log.warning("%s: %s (%s)", ask.cluster, problem, say.event_id(ask.cluster))
        return NoticeSent(told=after(knows, say, outcome, now).model_dump(mode="json"), problem=problem)

    def _planned(self, ask: PlanNotices, channel: str, say: Say, seen: Seen, before: ReportedState | None) -> Planned:
        said = read_evaluation(ask.newest) if ask.newest else None
        message = notice(ask.cluster, say, seen, before, said, self._deps.public_url)
        return Planned(channel=channel, say=say.model_dump(mode="json"), notice=message.model_dump(mode="json"))

    async def _sent(self, name: str, message: Notice) -> Outcome:
        channel = self._deps.channels.get(name)
        if channel is None:
            return Outcome(delivered=False, final=True, why="is no longer configured")
        try:
            return await channel.send(message)
        except CopilotError as error:
            return Outcome(delivered=False, why=str(error))


def _seen(before: Seen | None, document: Document) -> Seen | None:
    said = read_evaluation(document)
    if said is None:
        log.warning("an evaluation of another release does not fit: nobody is told of it")
        return before
    if before is not None and said.time <= before.time:
        return before
    verdict = said.verdict
    return seen_after(
        before, verdict.health_state, verdict.since, said.time, first_look=verdict.last_known_state is None
    )


def _read(model: type[M], document: Document | None) -> M | None:
    try:
        return model.model_validate(document) if document else None
    except ValidationError as error:
        log.warning("what another release kept does not fit and is forgotten: %s", error.errors()[0]["msg"])
        return None
