"""A loop that says what the test tells it to say."""

from dataclasses import dataclass, field

from whenever import Instant

from copilot.api.deps import Deps
from copilot.errors import CopilotError
from copilot.rules.model import Evaluation
from copilot.store.base import Store
from copilot.store.postgres import PostgresStore
from tests.evaluations import NOON
from tests.fakes.memory_store import MemoryStore


@dataclass
class ToldLoop:
    """A LiveSource: what it was told per cluster, or the error it was told to raise."""

    told: dict[str, Evaluation] = field(default_factory=dict)
    away: CopilotError | None = None
    took: float | None = None

    def tell(self, evaluation: Evaluation) -> None:
        """From now on this is the newest of its cluster."""
        self.told[evaluation.cluster] = evaluation

    async def evaluation(self, cluster: str) -> Evaluation | None:
        """What was told."""
        if self.away is not None:
            raise self.away
        return self.told.get(cluster)

    async def cycle_sec(self, cluster: str) -> float | None:  # noqa: ARG002
        """How long the last tick took."""
        return self.took


def away_store() -> Store:
    """A store whose database nobody runs."""
    return PostgresStore("postgresql://copilot:secret@127.0.0.1:1/copilot")


@dataclass
class Clock:
    """A wall clock the test sets, and one of which it says how long it has run (seconds)."""

    now: Instant = NOON
    ran: float = 0.0

    def __call__(self) -> Instant:
        return self.now


def deps(
    loop: ToldLoop | None = None,
    store: Store | None = None,
    clock: Clock | None = None,
    clusters: tuple[str, ...] = ("default",),
) -> Deps:
    """Deps of stand-ins."""
    clock = clock or Clock()
    return Deps(
        store=store or MemoryStore(),
        live=loop or ToldLoop(),
        clusters=clusters,
        now=clock,
        elapsed=lambda: clock.ran,
    )
