"""What the worker counts of its own work, on the meter of its Temporal runtime."""

from collections.abc import Mapping

from temporalio.common import MetricMeter

from copilot.core.signals import Signals


class Measures:
    """Counters of evaluations and of fetches. Without a meter nothing is counted."""

    def __init__(self, meter: MetricMeter = MetricMeter.noop) -> None:
        self._evaluations = meter.create_counter("copilot_evaluations", "Evaluations, by the state they came to")
        self._fetches = meter.create_counter("copilot_fetches", "Reads of a source")
        self._failed = meter.create_counter("copilot_failed_fetches", "Reads of a source that gave not one reading")

    def evaluated(self, cluster: str, state: str) -> None:
        """One evaluation more."""
        self._evaluations.add(1, {"cluster": cluster, "state": state})

    def fetched(self, cluster: str, parts: Mapping[str, Signals]) -> None:
        """What each source gave, by its name."""
        for source, signals in parts.items():
            where = {"cluster": cluster, "source": source}
            self._fetches.add(1, where)
            self._failed.add(int(_empty(signals)), where)


def _empty(signals: Signals) -> bool:
    return bool(signals.readings) and not any(
        signals.value(i) is not None or signals.quiet(i) for i in signals.readings
    )
