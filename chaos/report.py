"""What is printed in the end."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from chaos.promises import Promise

EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Deed:
    """A line of the table of deeds: how often, and how long what it hit was away (seconds)."""

    name: str
    times: int
    median_sec: float
    longest_sec: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All that is printed. `not_done`: deeds left out, with the reason; `unanswered`: requests to no API."""

    seed: int
    took_sec: float
    deeds: Sequence[Deed]
    not_done: Sequence[str]
    promises: Sequence[Promise]
    answers: int
    unanswered: int

    @property
    def broken(self) -> bool:
        """Whether a promise was broken."""
        return any(p.broken for p in self.promises)

    def as_json(self) -> str:
        """All of it."""
        return json.dumps({**asdict(self), "broken": self.broken}, indent=2)

    def as_text(self) -> str:
        """Two tables."""
        lines = [
            f"chaos, seed {self.seed}: {self.took_sec:.0f} s, {self.answers} answers read, {self.unanswered} not given"
        ]
        lines.append(f"\n  {'fault':<34} {'times':>6} {'away, median':>13} {'longest':>9}")
        for deed in self.deeds:
            away = f"{deed.median_sec:.1f} s"
            lines.append(
                f"  {deed.name:<34} {deed.times:>6} {away:>13} {f'{deed.longest_sec:.1f} s':>9}  {deed.note}".rstrip()
            )
        lines += [f"  not done: {what}" for what in self.not_done]
        lines.append(f"\n  {'promise':<52} {'checked':>8} {'broken':>7}")
        for promise in self.promises:
            lines.append(f"  {promise.name:<52} {promise.checked:>8} {len(promise.broken):>7}  {promise.note}".rstrip())
            lines += [f"    broken: {what}" for what in promise.broken[:EXAMPLES]]
        return "\n".join(lines)
