"""Fills the templates of gates and findings from their evidence.

`{key}` stands for a value, `{key:format}` for a formatted value: `count THING`, `per_sec THING`, `rate`, `span` (from
seconds), `took` (from milliseconds), `percent`, `brief`, `attempts`, `code` (names in backticks), `shell` (a name as a
word of a shell command) and `flag` (no text: the value is only a condition). A part in square brackets is left out when
one of its values is missing. The numbers that `at_least` names are lower bounds: "over 10 s".
"""

import re
import shlex
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import TypeAlias

from copilot.explain import numbers

Values: TypeAlias = Mapping[str, str | float | tuple[str, ...] | None]

_OF_THINGS = {"count": numbers.count, "per_sec": numbers.per_sec}
_FORMS: dict[str, Callable[[float], str]] = {
    "rate": numbers.rate, "span": numbers.span, "took": numbers.took, "percent": numbers.percent,
    "attempts": partial(numbers.measure, unit="attempts"),
}  # fmt: skip
_PART = re.compile(r"\[([^\[\]]*)\]")
_PLACE = re.compile(r"\{([^{}:]+)(?::([^{}]*))?\}")


def fill(template: str, values: Values) -> str:
    """The template's text. A value that is missing outside brackets becomes a dash."""

    def keep(part: re.Match[str]) -> str:
        return part[1] if all(values.get(key) is not None for key in _keys(part[1])) else ""

    over = values.get("at_least")

    def place(found: re.Match[str]) -> str:
        text = _text(values.get(found[1]), found[2] or "")
        return numbers.bounded(text, at_least=isinstance(over, tuple) and found[1] in over)

    return _PLACE.sub(place, _PART.sub(keep, template))


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
        return shlex.quote(value) if how == "shell" else value
    if isinstance(value, tuple):
        return numbers.listed(list(value))
    if how in _OF_THINGS:
        return _OF_THINGS[how](value, thing)
    return _FORMS.get(how, numbers.brief)(value)
