"""How a demo worker runs; handed to its process as JSON."""

from pydantic import BaseModel, ConfigDict, Field

from copilot.local.demo_workflows import BILLING, ORDERS


class WorkerTuning(BaseModel):
    """Per task queue: `slots` for activities, `task_slots` for workflow tasks, `pollers` of each kind (None: enough for
    four partitions), `cache`: workflows kept in memory. `activity_sec`, `task_sec`: how long an activity and an order's
    workflow task take (None: a few dozen milliseconds, and no time of their own). `bug`: the code of special orders
    raises. `build`: the worker version, None for unversioned workers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    queues: tuple[str, ...] = (ORDERS, BILLING)
    slots: int = Field(default=50, gt=0)
    task_slots: int = Field(default=50, gt=0)
    pollers: int | None = Field(default=None, gt=0)
    activity_sec: float | None = None
    task_sec: float | None = None
    cache: int = Field(default=1000, ge=0)
    bug: bool = False
    build: str | None = None
