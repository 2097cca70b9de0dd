"""Fills the templates of gates and findings from their evidence.

`{key}` stands for a value, `{key:format}` for a formatted value: `count THING`, `per_sec THING`, `rate`, `span` (from
seconds), `took` (from milliseconds), `percent`, `brief`, `attempts`, `code` (names in backticks) and `flag` (no text:
the value is only a condition). A part in square brackets is left out when one of its values is missing.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TypeAlias

from copilot.explain import numbers

Values: TypeAlias = Mapping[str, str | float | tuple[str, ...] | None]

_PART = re.compile(r"\[([^\[\]]*)\]")
_PLACE = re.compile(r"\{([^{}:]+)(?::([^{}]*))?\}")


def fill(template: str, values: Values) -> str:
    """The template's text. A value that is missing outside brackets becomes a dash."""
    return _PLACE.sub(lambda place: _text(values.get(place[1]), place[2] or ""), _PART.sub(_keep(values), template))


def _keep(values: Values) -> Callable[["re.Match[str]"], str]:
    return lambda part: part[1] if all(values.get(key) is not None for key in _keys(part[1])) else ""


@lru_cache(maxsize=512)
def _keys(part: str) -> tuple[str, ...]:
    return tuple(place[1] for place in _PLACE.finditer(part))


def _text(value: str | float | tuple[str, ...] | None, form: str) -> str:
    if value is None:
        return numbers.NOTHING
    how, _, thing = form.partition(" ")
    if how == "flag":
        return ""
    if how == "code":
        names = (value,) if isinstance(value, str) else value
        return numbers.listed([f"`{name}`" for name in names]) if isinstance(names, tuple) else str(value)
    if isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return numbers.listed(list(value))
    match how:
        case "count":
            return numbers.count(value, thing)
        case "per_sec":
            return numbers.per_sec(value, thing)
        case "rate":
            return numbers.rate(value)
        case "span":
            return numbers.span(value)
        case "took":
            return numbers.took(value)
        case "percent":
            return numbers.percent(value)
        case "attempts":
            return numbers.measure(value, "attempts")
        case _:
            return numbers.brief(value)
