"""What a reader asked to see, as it stands in the page's address."""

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from whenever import Instant

from copilot.core.assessment import ReportedState

LOG_COLUMNS = ("count", "service", "level", "pattern", "first", "last")


@dataclass(frozen=True, slots=True)
class View:
    """`cluster` None: the overview. `at`: a moment of the past, None: now. `show`: only what was in this state.
    `sort`: the column log patterns are sorted by, one of LOG_COLUMNS."""

    cluster: str | None = None
    at: Instant | None = None
    show: ReportedState | None = None
    sort: str = "count"

    def href(self, **changed: Any) -> str:
        """The address of this view with some of it changed."""
        to = replace(self, **changed)
        asked = {
            "cluster": to.cluster,
            "at": to.at.round("second", mode="ceil").format_iso() if to.at else None,
            "show": to.show.value if to.show else None,
            "sort": to.sort if to.sort != "count" else None,
        }
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        return f"/?{query}" if query else "/"
