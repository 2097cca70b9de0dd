"""What speed and memory are: `python -m benchmarks` prints a table. Every module here but this one and `__main__` has a
`rows()` that measures and gives `Row`s."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement, and the limit it must stay under where there is one."""

    name: str
    measured: float
    unit: str
    limit: float | None = None
    note: str = ""

    @property
    def share(self) -> float | None:
        """Measured over limit: above 1 is over the limit."""
        return None if self.limit is None else self.measured / self.limit
