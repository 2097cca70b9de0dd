"""A recorded run as a cluster of Temporal Cloud would have shown it: Cloud's families, Temporal's API, no server page.

Judged at the samples' own times, as the live rules judge them; the two minutes by which they come late are in
docs/connect.md, not in the score."""

from dataclasses import replace

from copilot.rules.signals.cloud import CLOUD
from copilot.rules.signals.readings import BreakdownRow, Signals
from copilot.sources.temporal.source import TemporalApiSource
from lab.recorded_run import RecordedRun

OF_API = frozenset(TemporalApiSource.expected)
KEPT = OF_API | CLOUD.keys()
THROTTLED, REJECTED, POLLS = "frontend.throttled_per_sec", "demand.rejected_per_sec", "poller.pending_polls"
FAILED = ("frontend.error_rate_per_sec", "clients.mistakes_per_sec")
ALL_ERRORS = "clients.all_errors_per_sec"


def of_cloud(run: RecordedRun, *, sdk: bool = False) -> RecordedRun:
    """The run with what Temporal Cloud and its API have. `sdk`: with the workers' own metrics too."""
    return replace(run, ticks=tuple(_of_cloud(tick, sdk) for tick in run.ticks))


def _of_cloud(tick: Signals, sdk: bool) -> Signals:
    def kept(signal_id: str) -> bool:
        return signal_id in KEPT or (sdk and signal_id.startswith(("worker", "version")))

    readings = {i: v for i, v in tick.readings.items() if kept(i)}
    missing = {i: m for i, m in tick.missing.items() if kept(i)}
    if (rejected := tick.value(REJECTED)) is not None and (refused := tick.value(THROTTLED)) is not None:
        readings[REJECTED] = min(rejected, refused)  # Cloud's errors have the clients' own mistakes in them.
    failed = [tick.value(i) for i in FAILED]
    if all(v is not None for v in failed):
        readings[ALL_ERRORS] = sum(v or 0.0 for v in failed)
    rows = {i: r for i, r in tick.breakdowns.items() if kept(i)}
    rows[POLLS] = _by_namespace(rows.get(POLLS, ()))
    return tick.model_copy(
        update={
            "readings": readings,
            "no_traffic": tuple(i for i in tick.no_traffic if kept(i)),
            "at_least": tuple(i for i in tick.at_least if kept(i)),
            "missing": missing,
            "targets": {role: n for role, n in tick.targets.items() if sdk and role != "server"},
            "unread": {role: names for role, names in tick.unread.items() if sdk and role != "server"},
            "processes": tuple(p for p in tick.processes if sdk and p.role != "server"),
            "breakdowns": {i: r for i, r in rows.items() if r},
        }
    )


def _by_namespace(rows: tuple[BreakdownRow, ...]) -> tuple[BreakdownRow, ...]:
    sums: dict[str, float] = {}
    for row in rows:
        sums[row.label("namespace")] = sums.get(row.label("namespace"), 0.0) + row.value
    return tuple(BreakdownRow(labels={"namespace": n}, value=v) for n, v in sums.items())
