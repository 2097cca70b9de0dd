"""What the API depends on. It builds none of it itself."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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

    async def unsaved(self, cluster: str) -> str | None:
        """Why the cluster's verdicts wait to be stored; None when they do not."""

    async def problems(self, cluster: str) -> Mapping[str, str]:
        """What is wrong with each of the cluster's loops, by workflow id; empty where nothing is, left out where not
        known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything the API needs. `clusters` are the names it serves, at least one, each once; the first is shown first.
    `now` is the wall clock, `elapsed` a monotonic one (seconds). `runbooks` is a folder of the operator's own runbooks,
    if any; `model_cap` is the daily limit of language models (zero: no model)."""

    store: Store
    live: LiveSource
    clusters: tuple[str, ...]
    now: Callable[[], Instant]
    elapsed: Callable[[], float] = time.monotonic
    runbooks: Path | None = None
    model_cap: Cap = NO_MODEL
