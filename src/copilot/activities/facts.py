"""Where a line of the worker's log was written: in which activity, of which loop, for which cluster."""

from collections.abc import Iterable, Mapping

from temporalio import activity

from copilot.telemetry.process_log import Facts


def worker_facts(clusters: Iterable[str]) -> Facts:
    """The facts of a worker that watches these clusters."""
    longest_first = sorted(clusters, key=len, reverse=True)

    def facts(workflow_id: str | None) -> Mapping[str, str]:
        found: dict[str, str] = {}
        if activity.in_activity():
            info = activity.info()
            workflow_id = info.workflow_id or workflow_id
            found = {"activity_type": info.activity_type, "activity_id": info.activity_id}
        if workflow_id is not None:
            found["workflow_id"] = workflow_id
            of = workflow_id.partition("-")[2]
            cluster = next((c for c in longest_first if of == c or of.startswith((f"{c}-", f"{c}:"))), None)
            found |= {} if cluster is None else {"cluster": cluster}
        return found

    return facts
