"""Thresholds that note, while the rules use them, which other thresholds would have made a difference.

A number carries what it would be under each changed set of thresholds; sums and products carry that on, and a
comparison that would end otherwise is noted. Under a set that changed no comparison of a replay, the rules say the same
to the end, so that replay can be spared.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from copilot.rules.thresholds import Thresholds, Tolerance

Operation = Callable[[Any, Any], Any]


class Watched(float):
    """A number, what it would be under the sets that change it, and where the sets that matter are noted."""

    others: Mapping[str, float]
    noted: set[str]

    def __new__(cls, value: float, others: Mapping[str, float], noted: set[str]) -> "Watched":
        made = super().__new__(cls, value)
        made.others, made.noted = others, noted
        return made

    def done(self, do: Operation, other: Any) -> tuple[Any, dict[str, Any]]:
        """What comes of an operation, and what would come of it."""
        theirs = other.others if isinstance(other, Watched) else {}
        mine, its = plain(self), plain(other)
        would = {what: do(self.others.get(what, mine), theirs.get(what, its)) for what in {*self.others, *theirs}}
        return do(mine, its), would

    def calculated(self, do: Operation, other: Any) -> "Watched":
        """The result, which carries on what it would be."""
        return Watched(*self.done(do, other), self.noted)

    def compared(self, do: Operation, other: Any) -> bool:
        """The result; the sets under which it would be another are noted."""
        result, would = self.done(do, other)
        self.noted.update(what for what, other_result in would.items() if other_result is not result)
        return bool(result)

    def __hash__(self) -> int:
        return hash(plain(self))

    def __bool__(self) -> bool:
        return self.compared(operator.ne, 0.0)

    def __float__(self) -> float:
        self.noted.update(self.others)
        return float(plain(self))


def plain(number: Any) -> Any:
    """The number alone."""
    return float.__pos__(number) if isinstance(number, float) else number


def _calculating(do: Operation) -> Operation:
    return lambda self, other: self.calculated(do, other)


def _reflected(do: Operation) -> Operation:
    return lambda self, other: self.calculated(lambda mine, its: do(its, mine), other)


def _comparing(do: Operation) -> Operation:
    return lambda self, other: self.compared(do, other)


for _name in ("add", "sub", "mul", "truediv"):
    setattr(Watched, f"__{_name}__", _calculating(getattr(operator, _name)))
    setattr(Watched, f"__r{_name}__", _reflected(getattr(operator, _name)))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Watched, f"__{_name}__", _comparing(getattr(operator, _name)))


def watched(changed: Mapping[str, Thresholds]) -> tuple[Thresholds, set[str]]:
    """The usual thresholds, and the set that comes to hold which of the changed ones mattered."""
    usual, noted = Thresholds(), set[str]()

    def number(value: float, others: Mapping[str, float]) -> Watched:
        return Watched(value, {what: other for what, other in others.items() if other != value}, noted)

    fields: dict[str, Any] = {}
    for field, value in usual:
        others = {what: getattr(thresholds, field) for what, thresholds in changed.items()}
        if isinstance(value, Tolerance):
            parts = {part: {what: getattr(other, part) for what, other in others.items()} for part, _ in value}
            worth = {part: number(getattr(value, part), would) for part, would in parts.items()}
            fields[field] = Tolerance.model_construct(None, **worth)
        else:
            fields[field] = number(value, others) if isinstance(value, float) else value
    return Thresholds.model_construct(None, **fields), noted
