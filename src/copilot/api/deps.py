"""What the API stands on. It builds none of it itself."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol

from prometheus_client.registry import Collector
from whenever import Instant

from copilot.explain.model.usage import NO_MODEL, Cap
from copilot.rules.model import Evaluation
from copilot.store.base import Store


class LiveSource(Protocol):
    """Whoever holds the newest verdict: the running loop."""

    async def evaluation(self, cluster: str) -> Evaluation | None:
        """The newest evaluation of a cluster; None before the first. CopilotError when the loop cannot be asked."""

    async def cycle_sec(self, cluster: str) -> float | None:
        """Seconds from the last tick until its verdict stood; None before the first. CopilotError as above."""


async def nothing_waits(_cluster: str) -> str | None:
    """For where nobody can say whether verdicts wait to be stored."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything the API needs; ValueError if something is left out. `clusters` are the names it answers for, the first
    being shown first; `now` is the clock, `elapsed` one that nobody sets (seconds); `unsaved` says why a cluster's
    verdicts wait to be stored, None when they do not. `runbooks` is a folder of the operator's own, None: there is
    none; `collectors` are metrics of others to be told beside the verdict's; `model_cap` is what models may
    take a day (zero without a model)."""

    store: Store
    live: LiveSource
    clusters: tuple[str, ...]
    now: Callable[[], Instant]
    elapsed: Callable[[], float] = time.monotonic
    unsaved: Callable[[str], Awaitable[str | None]] = nothing_waits
    runbooks: Path | None = None
    collectors: tuple[Collector, ...] = ()
    model_cap: Cap = NO_MODEL

    def __post_init__(self) -> None:
        absent = [f.name for f in fields(self) if f.name != "runbooks" and getattr(self, f.name) is None]
        if absent:
            raise ValueError(f"the API cannot do without {', '.join(absent)}")
        if not self.clusters:
            raise ValueError("the API needs at least one cluster to answer for")
        if len(set(self.clusters)) != len(self.clusters):
            raise ValueError("two clusters have the same name")
