"""A cycle of the observing loop as a span of its own trace and as a metric. Neither leaves a mark in the history, and
what is replayed is told only once."""

import contextlib
from collections.abc import Iterator

from temporalio import workflow

from copilot.telemetry.spans import ROOT, span


@contextlib.contextmanager
def cycle(cluster: str, tick: int) -> Iterator[None]:
    """One cycle, from its beginning until its verdict is published or given up."""
    began = workflow.now()
    with span("cycle", {"cluster": cluster, "tick": tick}, carrier=ROOT):
        yield
    duration = workflow.metric_meter().create_histogram_timedelta(
        "copilot_worker_cycle", "From the beginning of a cycle until its verdict is published", "duration"
    )
    duration.record(workflow.now() - began, {"cluster": cluster})


@contextlib.contextmanager
def storing(cluster: str, pending: int, batch: int) -> Iterator[None]:
    """One write of a batch; `pending` snapshots wait, it among them."""
    waiting(cluster, pending)
    with span("store", {"cluster": cluster, "snapshots": batch}, carrier=ROOT):
        yield


def waiting(cluster: str, pending: int) -> None:
    """So many snapshots wait to be stored."""
    gauge = workflow.metric_meter().create_gauge("copilot_pending_writes", "Snapshots that wait to be stored")
    gauge.set(pending, {"cluster": cluster})
