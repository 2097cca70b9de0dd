"""An observed cluster people are told of, on a webhook that a stand-in serves."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from pydantic import SecretStr
from temporalio.client import WorkflowHandle
from temporalio.worker import Worker

from copilot.loops.activities.notify import NotifyDeps
from copilot.loops.activities.observe import ObserveDeps
from copilot.loops.definitions import NotifyStatus, notify_id
from copilot.loops.notify import NotifyWorkflow
from copilot.loops.starter import NOTIFYING, OBSERVING_AND_TELLING, Started, start_loop
from copilot.loops.worker import UNVERSIONED, build_worker
from copilot.notify.channels import channel
from copilot.rules.evaluate import Context
from copilot.settings.load import WorkerSettings
from copilot.settings.notify import NotifySettings, StateName
from tests.notify.standin import Answer, StandIn, standing_in
from tests.workflows.conftest import Observed, eventually

SECRET = "wh-s3cret-that-nobody-may-see"


def a_channel(name: str, url: str, *states: StateName) -> NotifySettings:
    """A webhook."""
    chosen: tuple[StateName, ...] = states or ("stressed", "critical", "unknown")
    return NotifySettings(
        name=name, kind="webhook", url=SecretStr(f"{url}/{name}"), secret=SecretStr(SECRET), states=chosen
    )


@dataclass
class Notified(Observed):
    """An observed cluster with channels."""

    channels: list[NotifySettings] = field(default_factory=list)

    @property
    def notifier(self) -> WorkflowHandle[NotifyWorkflow, None]:
        return self.client.get_workflow_handle_for(NotifyWorkflow.run, notify_id(self.cluster.name))

    def worker(self, release: WorkerSettings = UNVERSIONED) -> AbstractAsyncContextManager[Worker]:
        name, cluster = self.cluster.name, self.cluster
        context = Context(name, cluster.interval_sec, cluster.window, self.thresholds)
        deps = ObserveDeps(sources={name: (self.source,)}, contexts={name: context}, store=self.store, rules=self.rules)
        told = NotifyDeps(
            rules=tuple(c.rules() for c in self.channels), channels={c.name: channel(c) for c in self.channels}
        )
        return build_worker(self.client, self.queue, deps, release, notify=told)

    async def start(self, ticks_per_run: int | None = None) -> Started:
        return await start_loop(self.client, self.queue, self.cluster, OBSERVING_AND_TELLING, ticks_per_run)

    async def notify(self, ticks_per_run: int | None = None) -> Started:
        """Start the loop that tells people."""
        return await start_loop(self.client, self.queue, self.cluster, NOTIFYING, ticks_per_run)

    async def sent(self, at_least: int) -> NotifyStatus:
        """Wait until so many messages have arrived."""

        async def enough() -> NotifyStatus | None:
            status = await self.notifier.query(NotifyWorkflow.status)
            return status if status.sent >= at_least else None

        return await eventually(enough)

    async def quiet(self) -> NotifyStatus:
        """Wait until the notifying loop has looked once more."""
        looks = (await self.notifier.query(NotifyWorkflow.status)).looks

        async def looked() -> NotifyStatus | None:
            status = await self.notifier.query(NotifyWorkflow.status)
            return status if status.looks > looks else None

        return await eventually(looked)

    def frontend(self, *, answers: bool) -> None:
        """Whether the watched cluster's frontend answers: stressed at once if not."""
        self.source.changed = {} if answers else {"frontend__reachable": 0.0}


@asynccontextmanager
async def hooked(observed: Observed, *answers: Answer | None) -> AsyncIterator[tuple[Notified, StandIn]]:
    """A cluster with one webhook, and who serves that."""
    async with standing_in(*answers) as it:
        yield Notified(observed.client, observed.cluster, channels=[a_channel("hook", it.url)]), it
