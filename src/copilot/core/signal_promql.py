"""Signals as PromQL a person can paste.

Arithmetic over leaves is written out as PromQL has it: a sum is empty until all its counters were born, which the
Copilot's own reading is not (it does the arithmetic after each leaf was resolved).
"""

from collections.abc import Iterable

from copilot.core.dialects import DIALECTS, Dialect, named
from copilot.core.errors import SettingsError
from copilot.core.expressions import Expression, Leaf, Plus, Ratio, Role, Scale
from copilot.core.promql import compiled
from copilot.core.taxonomy import SignalSpec

DEFAULT: dict[Role, str] = {"server": "server", "worker": "sdk default"}
SECONDS, MILLISECONDS = 0.001, 1.0
"""Lowest bucket bounds of timers in seconds and in milliseconds."""


def expressions(specs: Iterable[SignalSpec], dialects: Iterable[str], window_sec: float) -> dict[str, str]:
    """Id → PromQL of all signals metrics can give; where dialects are named, of those of their roles. SettingsError: a
    dialect is unknown, or a role has two."""
    chosen: dict[Role, Dialect] = {}
    for name in dialects:
        if name not in {d.name for d in DIALECTS}:
            raise SettingsError([f"no dialect is named {name!r}: there are {', '.join(d.name for d in DIALECTS)}"])
        dialect = named(name)
        if chosen.setdefault(dialect.role, dialect) is not dialect:
            raise SettingsError([f"{chosen[dialect.role].name!r} and {name!r} are both dialects of the {dialect.role}"])
    chosen = chosen or {role: named(name) for role, name in DEFAULT.items()}
    return {
        s.id: _text(s.expression, chosen, window_sec) for s in specs if s.expression is not None and s.role in chosen
    }


def _text(expression: Expression, dialects: dict[Role, Dialect], window_sec: float) -> str:
    match expression:
        case Plus(terms):
            return " + ".join(_inner(term, dialects, window_sec) for term in terms)
        case Ratio(part, whole):
            return f"{_inner(part, dialects, window_sec)} / {_inner(whole, dialects, window_sec)}"
        case Scale(of, factor, offset):
            inner = _inner(of, dialects, window_sec)
            if factor == -1:
                return f"{offset:g} - {inner}"
            return f"{inner} * {factor:g}" + (f" + {offset:g}" if offset else "")
        case _:
            return _leaf(expression, dialects[expression.series.role], window_sec)


def _inner(expression: Expression, dialects: dict[Role, Dialect], window_sec: float) -> str:
    text = _text(expression, dialects, window_sec)
    return f"({text})" if isinstance(expression, Plus | Ratio | Scale) or " / " in text else text


def _leaf(leaf: Leaf, dialect: Dialect, window_sec: float) -> str:
    """Where a dialect leaves the unit open, a server's own endpoint says seconds and everybody else milliseconds."""
    return compiled(leaf, dialect, window_sec, lowest_bound=SECONDS if dialect.name == "server" else MILLISECONDS)
