"""How reporters spell a family. One row per dialect; everything else reads names through this table.

The taxonomy spells families as the server's own endpoint (tally) and the SDK's default reporter do. A dialect adds its
suffixes and says how many of its time units make a second.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from copilot.core.expressions import Gauge, Leaf, Quantile, Rate, Role


@dataclass(frozen=True, slots=True)
class Dialect:
    """One reporter's spelling. `units_per_second` None: told by the lowest bucket bound of each timer."""

    name: str
    role: Role
    counter: str = ""
    timer: str = ""
    units_per_second: float | None = 1.0

    def scale(self, lowest_bound: float) -> float:
        """Time units in a second, for a timer whose lowest bucket bound is `lowest_bound`."""
        if self.units_per_second is not None:
            return self.units_per_second
        return 1000.0 if lowest_bound >= 1.0 else 1.0


DIALECTS = (
    Dialect("server", "server"),
    Dialect("sdk default", "worker", units_per_second=None),
    Dialect("sdk suffixed", "worker", counter="_total", timer="_seconds"),
)


@dataclass(frozen=True, slots=True)
class Spelled:
    """What a raw sample name of a page means: our name for it, in which dialect, and whether it only ever grows."""

    name: str
    dialect: Dialect
    cumulative: bool


def spellings(leaf: Leaf, dialect: Dialect) -> dict[str, Spelled]:
    """The sample names under which a page of this dialect may hold the leaf and its witness."""
    family = leaf.series.family
    names: dict[str, Spelled] = {}

    def add(raw: str, name: str, cumulative: bool) -> None:
        names[raw] = Spelled(name, dialect, cumulative)

    match leaf:
        case Quantile(timer=timer):
            add(f"{family}{dialect.timer if timer else ''}_bucket", f"{family}_bucket", True)
        case Gauge():
            add(family, family, False)
        case Rate(suffix=""):
            add(family + dialect.counter, family, True)
        case Rate(suffix=suffix):
            for stem in (family, family + dialect.timer):
                add(stem + suffix, family + suffix, suffix == "_count")
    return names


def vocabulary(role: Role, leaves: Iterable[Leaf], witnesses: Iterable[str]) -> dict[str, Spelled]:
    """Every raw sample name worth reading on a page of `role`. A name two dialects share has the first one's meaning,
    which `Dialect.scale` must tell apart by the bounds."""
    known: dict[str, Spelled] = {}
    wanted = [leaf for leaf in leaves if leaf.series.role == role]
    for dialect in DIALECTS:
        if dialect.role != role:
            continue
        for leaf in wanted:
            for raw, spelled in spellings(leaf, dialect).items():
                known.setdefault(raw, spelled)
        for witness in witnesses:
            known.setdefault(witness, Spelled(witness, dialect, False))
            known.setdefault(witness + dialect.counter, Spelled(witness, dialect, False))
    return known
