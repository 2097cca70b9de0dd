"""What is asked of a Prometheus about the taxonomy's leaves, alike for one moment and for a range: all leaves in every
dialect spoken, joined into a few queries (docs/adr/0007)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from copilot.core import promql
from copilot.core.asked import asked_as
from copilot.core.dialects import Dialect, raw_name
from copilot.core.expressions import Gauge, Leaf, Matcher, Quantile, Role, leaves
from copilot.core.resolve import ZERO_TELLS, wanted_leaves
from copilot.core.signals import MAX_BREAKDOWN_ROWS
from copilot.core.taxonomy import SignalSpec

QUERIES = 4
MOST_ROWS = 5 * MAX_BREAKDOWN_ROWS


@dataclass(frozen=True, slots=True)
class Spoken:
    """How a role is asked at some moment: in which dialects, of which series, and which names have newly born ones.
    `witness` is the witness's series a window before."""

    dialects: tuple[Dialect, ...]
    matchers: tuple[Matcher, ...]
    witness: str
    born: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Question:
    """One leaf in one dialect as PromQL. `births` asks for what births add, where `sign` has newly born series."""

    leaf: Leaf
    dialect: Dialect
    text: str
    sign: str = ""
    births: str = ""


class LeafQuestions:
    """The questions about all leaves of some signals, over a rate window."""

    def __init__(self, specs: Sequence[SignalSpec], window_sec: float) -> None:
        self.leaves = tuple(dict.fromkeys(asked_as(leaf) for leaf in wanted_leaves(specs)))
        self._window = window_sec
        self._whole = {asked_as(leaf) for s in specs if s.expression for leaf in leaves(s.expression)}

    def about(self, roles: Mapping[Role, Spoken]) -> list[Question]:
        """The questions to these roles, in the order of the taxonomy."""
        return [
            self._question(leaf, dialect, spoken)
            for leaf in self.leaves
            if (spoken := roles.get(leaf.series.role)) is not None
            for dialect in {raw_name(leaf, d): d for d in reversed(spoken.dialects)}.values()
        ]

    def _question(self, leaf: Leaf, dialect: Dialect, spoken: Spoken) -> Question:
        text = promql.question(leaf, dialect, self._window, spoken.matchers)
        if leaf not in self._whole and not isinstance(leaf, Quantile):
            ends = "bottomk" if leaf.series.family in ZERO_TELLS else "topk"
            text = f"{ends}({MOST_ROWS}, {text})"
        if isinstance(leaf, Gauge):
            return Question(leaf, dialect, text)
        sign = promql.birth_sign(leaf, dialect)
        born = sign in spoken.born
        births = promql.births(leaf, dialect, self._window, spoken.witness, spoken.matchers) if born else ""
        return Question(leaf, dialect, text, sign, births)


def in_few_queries(questions: Iterable[Question]) -> list[list[tuple[str, str]]]:
    """Tag and expression of every question, in as many lists as there are to be queries: neighbours, needed together,
    in one. A question's tag is its number; that of its births has a plus behind it."""
    asked: list[tuple[str, str]] = []
    for number, question in enumerate(questions):
        asked.append((f"{number}", question.text))
        if question.births:
            asked.append((f"{number}+", question.births))
    size = max(1, -(-len(asked) // QUERIES))
    return [asked[n : n + size] for n in range(0, len(asked), size)]
