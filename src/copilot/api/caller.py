"""Who asks: a name, a role and clusters. Whatever a route shows of clusters, `allowed` decides."""

from contextvars import ContextVar
from dataclasses import dataclass

from copilot.api.errors import CALLER
from copilot.settings.access import Role

READING = frozenset({"GET", "HEAD", "OPTIONS"})
ASSISTANTS = "/mcp"
"""Each of its requests is a POST; its tools only read."""
REPORTS_CHANGES = ("POST", "/changes")
ONLY_REPORTS = "this token can only report changes: POST /changes"
ONLY_READS = (
    "{} is a viewer and can only read: create a token with `copilot token new NAME --role operator`, or with --changes "
    "to report changes"
)


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller who was let in. `clusters`: those that may be read, None: all. `only_reports`: a change token, which can
    report changes and nothing else."""

    name: str
    role: Role = Role.VIEWER
    clusters: frozenset[str] | None = None
    only_reports: bool = False

    def refusal(self, method: str, path: str) -> str | None:
        """Why such a request is refused, with what to do; None if it is not."""
        if self.only_reports:
            return None if (method, path) == REPORTS_CHANGES else ONLY_REPORTS
        if self.role.acts or method in READING or path == ASSISTANTS:
            return None
        return ONLY_READS.format(self.name)


PRESENT: ContextVar[Caller | None] = ContextVar("present caller", default=None)
"""Who sent the current request; None where no access is required, and outside of requests."""


def enter(caller: Caller | None) -> None:
    """From here on the request is the caller's; None: it is not known yet whose."""
    PRESENT.set(caller)
    CALLER.set(None if caller is None else caller.name)


def allowed(clusters: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the clusters that the caller may read, in their order. All others do not exist for them."""
    caller = PRESENT.get()
    if caller is None or (limit := caller.clusters) is None:
        return clusters
    return tuple(cluster for cluster in clusters if cluster in limit)


def may_act() -> bool:
    """Whether the caller may do more than read."""
    caller = PRESENT.get()
    return caller is None or caller.role.acts
