"""What is kept of one tick, so that it can be judged again to the same answer."""

from typing import Any

from copilot.core.assessment import Evaluation
from copilot.core.signals import Frozen


class Snapshot(Frozen):
    """One evaluation with all it was decided from: the machine's memory before the tick (opaque JSON here), the hash
    under which the thresholds are kept, and the versions of taxonomy and rules."""

    evaluation: Evaluation
    memory_before: dict[str, Any]
    thresholds_hash: str
    taxonomy_version: str
    rules_version: str
