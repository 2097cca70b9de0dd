"""Numbers and instants as people read them."""

from whenever import Instant

from copilot.core.assessment import ReportedState

NOTHING = "–"


def quantity(value: float | None, unit: str) -> str:
    """A value with its unit, short: 44 ms, 1.6 s, 99.2 %, 1,204."""
    if value is None:
        return NOTHING
    match unit:
        case "ms":
            return duration(value / 1000) if abs(value) >= 1000 else f"{number(value)} ms"
        case "s":
            return duration(value)
        case "ratio":
            return f"{number(100 * value)} %"
        case "percent":
            return f"{number(value)} %"
        case "bool":
            return "yes" if value else "no"
        case "bytes":
            return _bytes(value)
        case "count" | "":
            return number(value)
        case _:
            return f"{number(value)} {unit.removeprefix('1')}"


def number(value: float) -> str:
    """Three digits that matter, thousands apart."""
    size = abs(value)
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}".removesuffix(".0")
    if size >= 0.01:
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return f"{value:.1g}"


def duration(seconds: float) -> str:
    """A length of time in its one or two largest units."""
    if abs(seconds) < 60:
        return f"{number(seconds)} s"
    whole = round(seconds)
    for size, unit, part, below in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if abs(whole) >= size:
            rest = whole % size // part
            return f"{whole // size} {unit} {rest} {below}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"


def _bytes(value: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000:
            return f"{number(value)} {unit}"
        value /= 1000
    return f"{number(value)} TB"


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
