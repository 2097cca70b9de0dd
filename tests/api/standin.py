"""Stand-ins for what the API depends on: a loop, a store that is down, a clock."""

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
    """A LiveSource with the given newest evaluation of each cluster, or the error to raise. `fetched` counts how often
    an evaluation was fetched."""

    newest: dict[str, Evaluation] = field(default_factory=dict)
    away: CopilotError | None = None
    took: float | None = None
    fetched: int = 0
    wrong: dict[str, str] = field(default_factory=lambda: {"observe-default": ""})

    def tell(self, evaluation: Evaluation) -> None:
        """From now on this is the newest of its cluster."""
        self.newest[evaluation.cluster] = evaluation

    async def revision(self, cluster: str) -> str:
        """Changes with every evaluation that is set."""
        if self.away is not None:
            raise self.away
        return str(id(self.newest[cluster])) if cluster in self.newest else ""

    async def evaluation(self, cluster: str) -> Evaluation | None:
        """The newest."""
        if self.away is not None:
            raise self.away
        self.fetched += 1
        return self.newest.get(cluster)

    async def unsaved(self, cluster: str) -> str | None:  # noqa: ARG002
        """No verdict waits."""
        return None

    async def problems(self, cluster: str) -> dict[str, str]:
        """What is wrong with the loops."""
        return self.wrong if cluster in self.newest else {}

    async def cycle_sec(self, cluster: str) -> float | None:  # noqa: ARG002
        """How long the last tick took."""
        return self.took


def away_store() -> Store:
    """A store whose database does not run."""
    return PostgresStore("postgresql://copilot:secret@127.0.0.1:1/copilot")


@dataclass
class Clock:
    """A wall clock that the test sets, and a monotonic one (`ran`, in seconds)."""

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
        store=store or MemoryStore(), live=loop or ToldLoop(), clusters=clusters, now=clock, elapsed=lambda: clock.ran
    )
