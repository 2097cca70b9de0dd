"""Sentences about mutes: what each is about, until when and by whom, what it held back, and why it ended."""

from collections.abc import Sequence

from whenever import Instant

from copilot.rules.mutes import Matcher, MuteEvent, MuteLife

NAMES = {"ack": "acknowledged", "silence": "silenced", "maintenance": "maintenance"}


def moment(time: Instant) -> str:
    """A time in UTC, to the minute."""
    return f"{time.format_iso()[:16].replace('T', ' ')} UTC"


def about(matcher: Matcher) -> str:
    """What a mute is about."""
    parts = ((matcher.finding, "{}"), (matcher.task_queue, "on {}"), (matcher.namespace, "in namespace {}"))
    named = [text.format(f"`{name}`") for name, text in parts if name]
    return " ".join(named) if named else "everything"


def muted_words(life: MuteLife, until: Instant) -> str:
    """The line beside a verdict whose notifications are held back."""
    mute = life.mute
    how = f" ({NAMES[mute.kind]})"
    return f"Muted until {moment(until)}{how}, by {mute.owner}, because: {mute.reason}"


def ended_words(life: MuteLife, now: Instant) -> str:
    """Why a mute is over; empty while it is not."""
    if not life.is_over(now):
        return ""
    over = life.over
    if over is None or over.at >= life.mute.until:
        return "reached its end"
    if over.kind == "resolved":
        return "resolved: the cluster is happy"
    return f"it got worse: {over.why}" if over.kind == "broke" else f"ended by {over.who}"


def held_words(held: Sequence[MuteEvent]) -> list[str]:
    """What was held back, one line an incident, kind and state, with the channels it would have gone to."""
    lines: dict[tuple[str, str, str], list[str]] = {}
    for event in held:
        if event.held is not None:
            key = (moment(event.at), event.held.notification, event.held.state.value)
            lines.setdefault(key, []).append(event.held.channel)
    return [
        f"{at}: {kind if kind == state else f'{kind}, {state}'} ({', '.join(channels)})"
        for (at, kind, state), channels in lines.items()
    ]
