"""What is printed in the end."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from chaos.promises import Promise

EXAMPLES = 3
BEGIN, END = "<!-- chaos -->\n", "\n<!-- end of chaos -->"


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

    def as_markdown(self, today: str) -> str:
        """The tables of docs/reliability.md."""
        lines = [
            f'Measured on {today} (`make chaos ARGS="--seed {self.seed}"`, {self.took_sec:,.0f} s,',
            f"{self.answers:,} responses read, {self.unanswered:,} missing because the API was down).",
            "",
            "| fault | times | away, median | longest |",
            "|---|---|---|---|",
            *(f"| {d.name} | {d.times} | {d.median_sec:.1f} s | {d.longest_sec:.1f} s |" for d in self.deeds),
            "",
            *(f"Not done: {what}.\n" for what in self.not_done),
            "| promise | checked | broken | |",
            "|---|---|---|---|",
            *(f"| {p.name} | {p.checked} | {len(p.broken)} | {p.note} |" for p in self.promises),
        ]
        return "\n".join(lines)

    def write(self, file: Path, today: str) -> None:
        """Put the tables into a document, between its two marks. ValueError where it has none."""
        before, begin, rest = file.read_text(encoding="utf-8").partition(BEGIN)
        _, end, after = rest.partition(END)
        if not end:
            raise ValueError(f"{file} has no place for the tables: write {BEGIN.strip()} and {END.strip()} into it")
        file.write_text(f"{before}{begin}{self.as_markdown(today)}{end}{after}", encoding="utf-8")

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


def has_place(file: Path) -> bool:
    """Whether a document has the two marks."""
    text = file.read_text(encoding="utf-8")
    return 0 <= text.find(BEGIN) < text.find(END)
