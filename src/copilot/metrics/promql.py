"""Leaves and signals as PromQL, in the spelling of a dialect. Text only; nothing here sends a query.

`leaf_promql` is what a person would write and what docs and dashboards show. The Prometheus source sends `leaf_query`,
which differs for quantiles: it gives the rates of their buckets (docs/adr/0007).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from copilot.errors import SettingsError
from copilot.metrics.continuity import ANOTHER_PROCESS, DELTAS, FEW_COUNTED, MANY_COUNTED, PODS, UNCLEAR
from copilot.metrics.dialects import DIALECTS, Dialect, dialect_by_name, raw_name
from copilot.rules.signals import expressions as ex
from copilot.rules.signals.expressions import (
    RESETS_OVER_SEC,
    START_TIME,
    Gauge,
    Leaf,
    Matcher,
    Op,
    Quantile,
    Rate,
    Role,
)
from copilot.rules.signals.spec import SignalSpec

TAG = "copilot_part"
"""The label that says which of several joined expressions a sample belongs to."""

NAME = "copilot_name"
"""The label that holds a sample name where `__name__` itself would be dropped."""

_MATCHER = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"((?:[^"\\\n]|\\.)*)"\s*(,|$)')
_ESCAPE = re.compile(r"\\(.)")
_OPS: dict[str, Op] = {"=": "=", "!=": "!=", "=~": "=~", "!~": "!~"}


def quote(text: str) -> str:
    """A PromQL string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """`cluster="prod", env!="dev"` (as inside `{…}`) → matchers. Raises ValueError with the reason."""
    found: list[Matcher] = []
    position = 0
    while text[position:].strip():
        match = _MATCHER.match(text, position)
        if match is None:
            raise ValueError(f'{text!r} is not a list of label matchers such as cluster="prod", env!="dev"')
        label, op, value, _ = match.groups()
        if label == "__name__":
            raise ValueError("a selector matches labels, not __name__")
        value = _ESCAPE.sub(lambda m: "\n" if m.group(1) == "n" else str(m.group(1)), value)
        if op in ("=~", "!~"):
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"{value!r} is not a regular expression: {error}") from error
        found.append(Matcher(label, _OPS[op], value))
        position = match.end()
    return tuple(found)


def selector(name: str, matchers: Iterable[Matcher]) -> str:
    """`name{label="value",…}`."""
    inside = ",".join(f"{m.label}{m.op}{quote(m.value)}" for m in matchers)
    return f"{name}{{{inside}}}" if inside else name


def duration(window_sec: float) -> str:
    """A window in PromQL, to the millisecond."""
    whole = round(window_sec * 1000)
    return f"{whole // 1000}s" if whole % 1000 == 0 else f"{whole}ms"


def series(leaf: Leaf, dialect: Dialect, matchers: Sequence[Matcher] = ()) -> str:
    """The series a leaf reads."""
    own = (replace(m, label=dialect.label(m.label)) for m in leaf.series.match)
    return selector(raw_name(leaf, dialect), (*own, *matchers))


def group_labels(leaf: Leaf, dialect: Dialect) -> tuple[str, ...]:
    """The labels that group the result of `leaf_query`, in the order of the leaf's `by`; quantiles have `le` first."""
    by = tuple(dialect.label(label) for label in leaf.by)
    return ("le", *by) if isinstance(leaf, Quantile) else by


def leaf_query(leaf: Leaf, dialect: Dialect, window_sec: float, matchers: Sequence[Matcher] = ()) -> str:
    """The query for a leaf: sums of rates, aggregated gauges, and for a quantile the rates of its buckets."""
    chosen = series(leaf, dialect, matchers)
    if isinstance(leaf, Gauge) and leaf.agg == "each_max":
        each = ", ".join((*group_labels(leaf, dialect), "job", "instance"))
        return f"sum{_by(leaf, dialect)} (max by ({each}) ({chosen}))"
    if isinstance(leaf, Gauge) and leaf.agg == "resets":
        return f"max{_by(leaf, dialect)} (resets({chosen}[{RESETS_OVER_SEC}s]))"
    if isinstance(leaf, Gauge):
        return f"{leaf.agg}{_by(leaf, dialect)} ({chosen})"
    return f"sum{_by(leaf, dialect)} (rate({chosen}[{duration(window_sec)}]))"


def _by(leaf: Leaf, dialect: Dialect) -> str:
    labels = ", ".join(group_labels(leaf, dialect))
    return f" by ({labels})" if labels else ""


def leaf_promql(
    leaf: Leaf, dialect: Dialect, window_sec: float, matchers: Sequence[Matcher] = (), *, lowest_bound: float = 0.0
) -> str:
    """The leaf as one PromQL expression; timers in seconds. `lowest_bound` (the timer's lowest `le`) tells the unit
    where the dialect does not fix it."""
    query = leaf_query(leaf, dialect, window_sec, matchers)
    if not isinstance(leaf, Quantile):
        return query
    units = dialect.scale(lowest_bound) if leaf.timer else 1.0
    quantile = f"histogram_quantile({leaf.q:g}, {query})"
    return quantile if units == 1.0 else f"{quantile} / {units:g}"


def new_series_name(leaf: Rate | Quantile, dialect: Dialect) -> str:
    """The sample name whose new series show that the leaf has new series."""
    name = raw_name(leaf, dialect)
    return f"{name.removesuffix('_bucket')}_count" if isinstance(leaf, Quantile) else name


def new_series_rate(
    leaf: Rate | Quantile, dialect: Dialect, window_sec: float, presence_before: str, matchers: Sequence[Matcher] = ()
) -> str:
    """What `rate()` leaves out: the first values of series that are new in the window, in 1/s.

    A series that was not there a window ago, on a target whose presence metric was, started at zero, so its first
    sample (the least, unless it was reset) counts events of the window too. `presence_before` selects the presence
    metric a window ago."""
    chosen, window = series(leaf, dialect, matchers), duration(window_sec)
    new = f"(min_over_time({chosen}[{window}]) unless {chosen} offset {window})"
    return f"sum{_by(leaf, dialect)} ({new} and on (job, instance) {presence_before}) / {window_sec:g}"


def new_series_names(
    names: Iterable[str], window_sec: float, presence_before: str, matchers: Sequence[Matcher] = ()
) -> str:
    """How many series of each of these sample names are new in the window, by `copilot_name`."""
    chosen = selector("", (Matcher("__name__", "=~", "|".join(names)), *matchers))
    before = f"{chosen} offset {duration(window_sec)}"
    now, then = (f'label_replace({s}, "{NAME}", "$1", "__name__", "(.+)")' for s in (chosen, before))
    return f"count by ({NAME}) ({now} unless {then} and on (job, instance) {presence_before})"


def falling(counter: str, window_sec: float, matchers: Sequence[Matcher] = ()) -> tuple[tuple[str, str], ...]:
    """The targets whose counter fell in the window, as `continuity` tells of pages, each group with its reason: of
    several processes, as most that fell do not begin at zero, or the start went back; deltas, as the start stayed; and
    without a reason those whose start is unknown (see `mixing`)."""
    chosen = f"{selector(counter, matchers)}[{duration(window_sec)}]"
    started = f"{selector(START_TIME, matchers)}[{duration(window_sec)}]"
    fell = f"(resets({chosen}) > 0 and max_over_time({chosen}) > {MANY_COUNTED:g})"
    far = f"({fell} and 2 * min_over_time({chosen}) > max_over_time({chosen}))"
    any_fell, changes = f"count by (job, instance) (resets({chosen}) > 0)", f"changes({started})"
    return (
        (ANOTHER_PROCESS, f"count by (job, instance) {far} >= count by (job, instance) {fell} / 2"),
        (ANOTHER_PROCESS, f"{any_fell} and on (job, instance) (resets({started}) > 0)"),
        (DELTAS, f"{any_fell} and on (job, instance) ({changes} == 0)"),
        ("", f"{any_fell} unless on (job, instance) {changes}"),
    )


def mixing(counter: str, window_sec: float, matchers: Sequence[Matcher] = ()) -> tuple[tuple[str, str], ...]:
    """Of the targets with these matchers those that have counters that fall while others rise, each group with its
    reason: deltas, if each of the last reads, a quarter of the window apart, continues none of those before it."""
    now = selector(counter, matchers)
    reads = [now, *(f"{now} offset {duration(n * window_sec / (PODS + 1))}" for n in range(1, PODS + 1))]

    def fell(read: str, before: str, op: str = "<") -> str:
        return f"count by (job, instance) ({read} {op} ({before}))"

    def mixed(n: int, least: float = 0.0) -> str:
        before = f"{reads[n + 1]} > {least:g}"
        return f"({fell(reads[n], before)} / {fell(reads[n], before, '>')} > 0.1 < 10)"

    none = [fell(reads[n], reads[m]) for n in range(PODS) for m in range(n + 2, PODS + 1)]
    return (
        (DELTAS, " and ".join((*map(mixed, range(PODS)), *none))),
        *((UNCLEAR, mixed(n, FEW_COUNTED)) for n in range(2)),
    )


def join_expressions(expressions: Iterable[tuple[str, str]]) -> str:
    """Several (tag, expression) pairs as one query, whose samples have the label TAG: a request costs more than an
    expression."""
    return " or ".join(f'label_replace({text}, "{TAG}", {quote(tag)}, "", "")' for tag, text in expressions)


DEFAULT_DIALECTS: dict[Role, str] = {"server": "server", "worker": "sdk default"}
SECONDS, MILLISECONDS = 0.001, 1.0
"""Lowest bucket bounds of timers in seconds and in milliseconds."""


def signal_promql(
    specs: Iterable[SignalSpec], dialects: Iterable[str], window_sec: float, matchers: Sequence[Matcher] = ()
) -> dict[str, str]:
    """Id → PromQL of the signals that metrics have; with dialects named, of their roles only. Raises SettingsError for
    an unknown dialect, or two of one role."""
    chosen: dict[Role, Dialect] = {}
    for name in dialects:
        dialect = next((d for d in DIALECTS if d.name == name), None)
        if dialect is None:
            raise SettingsError([f"no dialect is named {name!r}: there are {', '.join(d.name for d in DIALECTS)}"])
        if chosen.setdefault(dialect.role, dialect) is not dialect:
            raise SettingsError([f"{chosen[dialect.role].name!r} and {name!r} are both dialects of the {dialect.role}"])
    chosen = chosen or {role: dialect_by_name(name) for role, name in DEFAULT_DIALECTS.items()}

    def text(expression: ex.Expression) -> str:
        match expression:
            case ex.Plus(terms):
                return " + ".join(map(inner, terms))
            case ex.Ratio(part, whole):
                return f"{inner(part)} / ({inner(whole)} > 0)"
            case ex.Scale(of, factor, offset) if factor == -1:
                return f"{offset:g} - {inner(of)}"
            case ex.Scale(of, factor, offset):
                return f"{inner(of)} * {factor:g}" + (f" + {offset:g}" if offset else "")
            case ex.Shares(used, limit):
                return f"max({text(used)} / ({text(limit)} > 0))"
            case ex.Beyond(of=gauge, base=base):
                return f"sum(clamp_min({text(gauge)} - {base:g}, 0))"
            case _:
                # Where a dialect leaves the unit open, the server's own endpoint uses seconds, all others milliseconds.
                dialect = chosen[expression.series.role]
                lowest = SECONDS if dialect.name == "server" else MILLISECONDS
                read = leaf_promql(expression, dialect, window_sec, matchers, lowest_bound=lowest)
                return read + _or_zero(expression, dialect, matchers)

    def inner(expression: ex.Expression) -> str:
        part = text(expression)
        compound = isinstance(expression, ex.Plus | ex.Ratio | ex.Scale) or " / " in part or " or " in part
        return f"({part})" if compound else part

    return {s.id: text(s.expression) for s in specs if s.expression is not None and s.role in chosen}


def _or_zero(leaf: Leaf, dialect: Dialect, matchers: Sequence[Matcher]) -> str:
    """What makes an absent counter zero, as long as its role's presence metric is there: a counter that never counted
    is on no page."""
    if isinstance(leaf, Quantile) or not leaf.presence_metric or leaf.by:
        return ""
    counter = dialect.counter if dialect.role == "server" else ""
    return f" or 0 * sum ({selector(dialect.prefix + leaf.presence_metric + counter, matchers)})"
