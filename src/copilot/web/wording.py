"""Numbers and instants as people read them."""

from whenever import Instant

from copilot.core.assessment import ReportedState
from copilot.core.figures import duration


def ago(time: Instant, now: Instant) -> str:
    """How long ago, in words."""
    seconds = (now - time).total("seconds")
    return "just now" if seconds < 1 else f"{duration(round(seconds))} ago"


def clock(time: Instant, now: Instant) -> str:
    """The time of day in UTC, with the date if it is another day."""
    text = time.round("second", mode="floor").format_iso().removesuffix("Z")
    day, _, hour = text.partition("T")
    return f"{hour} UTC" if now.format_iso().startswith(day) else f"{day} {hour} UTC"


def words(name: str) -> str:
    """A name of ours (work_stalled) as words."""
    text = name.replace("_", " ").replace(".", " · ")
    return text[:1].upper() + text[1:]


UNJUDGED = {
    None: "could not be judged",
    "missing": "not judged: readings are missing",
    "no_traffic": "not judged: no traffic",
    "not_expected": "not judged: nothing here measures it",
    "recovering": "not judged: just recovered",
}

MEANS = {
    ReportedState.HAPPY: "making progress",
    ReportedState.STRESSED: "progress, but with pain",
    ReportedState.CRITICAL: "no forward progress",
    ReportedState.UNKNOWN: "this cluster cannot be seen",
}
