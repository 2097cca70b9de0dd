"""docs/signals.md, written from the signal table: `python -m tools.docs.signals > docs/signals.md`."""

from collections import Counter
from collections.abc import Iterator

from copilot.cli.signals import KINDS, WORSE, families_of
from copilot.rules.signals.spec import SignalSpec
from copilot.rules.signals.taxonomy import SPECS
from copilot.rules.signals.versions import SINCE

INTRODUCTION = """\
# Signals

Made from the code by `make docs`. `copilot signals` prints the same table; `copilot doctor` shows which signals your
cluster has.

- *Worse*: the direction that is worse.
- *Source*: `metrics` (a /metrics page; the metric families follow), `api` (Temporal's API), both (the first one is
  preferred; `copilot doctor` shows which was used), `logs`, or `none`: nothing in server 1.32 measures it, and the
  coverage does not count it. *Since* is the first server version that has the family; where an earlier one runs, the
  signal is missing or comes from its *substitute*. *Emitted by* is the only server service whose pages have these
  families.
- *If missing*: what turns the signal on. Numbers refer to [Setups and notes](#setups-and-notes).

Rates are per second over one rate window.
"""


def markdown() -> str:
    """docs/signals.md."""
    numbers = _numbered()
    notes = [f"{number}. {text[0].upper()}{text[1:]}." for text, number in numbers.items()]
    return "\n".join([INTRODUCTION, *_tables(numbers), "## Setups and notes\n", *notes, ""])


def _source(spec: SignalSpec) -> str:
    """Where it comes from: its sources, its families with the version each is new in, and what is read without them."""
    families = ", ".join(f"`{f}`{_since(f)}" for f in families_of(spec))
    source = f"{spec.source}: {families}" if families else spec.source
    return f"{source}; substitute: {spec.substitute.name}" if spec.substitute else source


def _since(family: str) -> str:
    return " (since {}.{})".format(*SINCE[family]) if family in SINCE else ""


def _texts(spec: SignalSpec) -> tuple[str, ...]:
    return tuple(filter(None, (spec.setup, spec.hint)))


def _numbered() -> dict[str, int]:
    """The texts that several signals share, numbered in the table's order."""
    count = Counter(text for spec in SPECS.values() for text in _texts(spec))
    return {text: number for number, text in enumerate((t for t, signals in count.items() if signals > 1), 1)}


def _tables(numbers: dict[str, int]) -> Iterator[str]:
    for kind, title in KINDS.items():
        yield f"## {title}\n"
        yield "| signal | unit | worse | meaning | source | emitted by | if missing |"
        yield "|---|---|---|---|---|---|---|"
        for spec in SPECS.values():
            if spec.kind == kind:
                hint = "; ".join(f"({numbers[text]})" if text in numbers else text for text in _texts(spec))
                cells = (
                    f"`{spec.id}`",
                    spec.unit,
                    WORSE[spec.worse],
                    spec.meaning,
                    _source(spec),
                    spec.emitted_by,
                    hint,
                )
                yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
        yield ""


if __name__ == "__main__":
    print(markdown(), end="")
