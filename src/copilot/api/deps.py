"""What the API depends on. It builds none of it itself."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol

from prometheus_client.registry import Collector
from whenever import Instant

from copilot.rules.model import Evaluation
from copilot.settings.models import NO_MODEL, Cap
from copilot.store.base import Store


class LiveSource(Protocol):
    """The running loop, which has the newest verdict."""

    async def revision(self, cluster: str) -> str | None:
        """Changes with every new evaluation; empty before the first. Cheap: it is queried every second. None where the
        loop runs on an older release without it. CopilotError when the loop does not answer."""

    async def evaluation(self, cluster: str) -> Evaluation | None:
        """A cluster's newest evaluation; None before the first. CopilotError as above."""

    async def cycle_sec(self, cluster: str) -> float | None:
        """Seconds from the last tick to its verdict; None before the first. CopilotError as above."""


async def no_backlog(_cluster: str) -> str | None:
    """The default of `Deps.unsaved`: no verdict waits to be stored, as far as is known."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything the API needs; ValueError if something is missing. `clusters` are the names it serves, the first is
    shown first; `now` is the wall clock, `elapsed` a monotonic one (seconds); `unsaved` says why a cluster's verdicts
    wait to be stored, None when they do not. `runbooks` is a folder of the operator's own runbooks, if any;
    `collectors` are further metrics to export; `model_cap` is the daily limit of language models (zero: no model)."""

    store: Store
    live: LiveSource
    clusters: tuple[str, ...]
    now: Callable[[], Instant]
    elapsed: Callable[[], float] = time.monotonic
    unsaved: Callable[[str], Awaitable[str | None]] = no_backlog
    runbooks: Path | None = None
    collectors: tuple[Collector, ...] = ()
    model_cap: Cap = NO_MODEL

    def __post_init__(self) -> None:
        absent = [f.name for f in fields(self) if f.name != "runbooks" and getattr(self, f.name) is None]
        if absent:
            raise ValueError(f"the API cannot run without {', '.join(absent)}")
        if not self.clusters:
            raise ValueError("the API needs at least one cluster to serve")
        if len(set(self.clusters)) != len(self.clusters):
            raise ValueError("two clusters have the same name")
