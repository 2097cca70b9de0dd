"""The scenarios: what happens to a real cluster, how it begins and ends, and what the cluster is like before."""

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from copilot.demo.faults import FAULTS, Action, nothing
from copilot.demo.load import Profile
from copilot.demo.watched import ABANDONED_QUEUE, WORKERS, Baseline, WatchedCluster
from copilot.demo.worker import WorkerTuning
from copilot.demo.workflows import BILLING, ORDERS
from copilot.errors import CopilotError

FIRST, SECOND = WORKERS
LOAD = Profile(short_per_sec=2.0, long_per_sec=0.15)
BUILD, OTHER_BUILD = "1", "2"
RAMP_STEP_SEC = 5.0


class ScenarioError(CopilotError):
    """There is no scenario of that name; the text lists the names there are."""


def baseline(
    load: Profile = LOAD,
    tuning: WorkerTuning | None = None,
    *,
    workers: Mapping[str, WorkerTuning] | None = None,
    abandoned: int = 0,
) -> Baseline:
    """A cluster with the server's stock settings."""
    each = workers or dict.fromkeys(WORKERS, tuning or WorkerTuning())
    return Baseline(dynamic_config={}, load=load, workers=each, abandoned=abandoned)


@dataclass(frozen=True)
class Scenario:
    """One scenario. `what`: what happens, in one sentence. `begin` and `end` run when the fault phase begins and ends,
    `during` runs in it. `baseline`: the cluster before. `queues`: the watched task queues. `judged_after_sec`: seconds
    of the fault phase before the state is due, where the trouble itself comes later than the fault (None: as usual)."""

    name: str
    what: str
    begin: Action = nothing
    end: Action = nothing
    during: Action = nothing
    baseline: Baseline = field(default_factory=baseline)
    queues: tuple[str, ...] = (ORDERS, BILLING)
    judged_after_sec: float | None = None


def _changed(**fields: float) -> Profile:
    return LOAD.model_copy(update=fields)


def _fault_of_demo(name: str) -> Scenario:
    fault = FAULTS[name]
    return Scenario(name, fault.what, fault.inject, fault.clear)


async def _burst(cluster: WatchedCluster, factor: float, seconds: float) -> None:
    await cluster.change_load(factor)
    await asyncio.sleep(seconds)
    await cluster.change_load()


async def _ramp(cluster: WatchedCluster, factor_per_sec: float) -> None:
    """The baseline load, growing steadily."""
    factor = 1.0
    while True:
        await asyncio.sleep(RAMP_STEP_SEC)
        factor += RAMP_STEP_SEC * factor_per_sec
        await cluster.change_load(factor)


async def _spikes(cluster: WatchedCluster, spike: Profile, lasts_sec: float, every_sec: float) -> None:
    """The baseline load with a short spike at regular intervals."""
    while True:
        await cluster.set_load(spike)
        await asyncio.sleep(lasts_sec)
        await cluster.change_load()
        await asyncio.sleep(every_sec - lasts_sec)


def _deploy(**changed: object) -> Action:
    """Restart all workers, one after the other, with these fields of their baseline tuning changed."""

    async def deploy(cluster: WatchedCluster) -> None:
        for name in WORKERS:
            tuning = WorkerTuning.model_validate({**cluster.baseline.workers[name].model_dump(), **changed})
            await cluster.deploy_workers(tuning, name)

    return deploy


async def whole(work: Coroutine[Any, Any, None]) -> None:
    """Do all of it; a cancellation waits for its end, and so leaves nothing half done."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def _keep_deploying(cluster: WatchedCluster, every_sec: float) -> None:
    """Restart one worker after the other until cancelled; a cancellation leaves no worker stopped."""
    while True:
        for name in WORKERS:
            await whole(cluster.deploy_workers(None, name))
            await asyncio.sleep(every_sec)


async def _end_ramp(cluster: WatchedCluster) -> None:
    await cluster.change_load()
    await _deploy(slots=50)(cluster)


ONE_QUEUE_EACH = {FIRST: WorkerTuning(queues=(ORDERS,)), SECOND: WorkerTuning(queues=(BILLING,))}
TIGHT = WorkerTuning(slots=2, activity_sec=1.3)
FEW_TASK_SLOTS = WorkerTuning(task_slots=2)
SPECIAL = _changed(special_share=0.25)

HEALTHY = (
    Scenario("healthy", "a steady mix of short and long workflows, without a fault"),
    _fault_of_demo("idle"),
    Scenario("night", "the load falls by 90 %", lambda c: c.change_load(0.1), WatchedCluster.change_load),
    Scenario(
        "cron-spikes",
        "every minute 30 workflows start within two seconds, with little other load, and complete at once",
        during=lambda c: _spikes(c, _changed(short_per_sec=15.0), lasts_sec=2.0, every_sec=60.0),
        end=WatchedCluster.change_load,
        baseline=baseline(_changed(short_per_sec=0.5)),
    ),
    Scenario(
        "long-running-only",
        "only workflows of three minutes: timers, signals, updates, and a completion every seven seconds",
        baseline=baseline(_changed(short_per_sec=0.0, long_periods=12)),
    ),
    Scenario(
        "rolling-restart",
        "one worker after the other is stopped and started again, every 20 s",
        during=lambda c: _keep_deploying(c, every_sec=20.0),
    ),
    Scenario(
        "pollers-over-slots",
        "from the start, the workers run more pollers than they have slots; there is no backlog",
        baseline=baseline(tuning=WorkerTuning(slots=4, task_slots=4, pollers=12)),
    ),
    Scenario("half-the-workers", "one of two workers is killed; the other keeps up",
             lambda c: c.kill_workers(SECOND), lambda c: c.start_workers(None, SECOND)),
    Scenario("burst", "five times the load, for a minute",
             during=lambda c: _burst(c, 5.0, seconds=60.0), end=WatchedCluster.change_load),
    Scenario("metrics-flapping", "every third read of the server's metrics page fails",
             lambda c: c.fail_reads(3), lambda c: c.fail_reads(None)),
    Scenario("server-restart", "the server is killed and, 3 s later, started again on the same data",
             lambda c: c.restart_server(down_sec=3.0)),
    Scenario("client-mistakes", "clients signal workflows that do not exist and start one that already runs",
             lambda c: c.change_load(mistakes_per_sec=4.0), WatchedCluster.change_load),
    Scenario(
        "abandoned-queue",
        "from before the run, five workflows wait on a task queue without pollers; no new ones are started on it",
        baseline=baseline(abandoned=5),
        queues=(ORDERS, BILLING, ABANDONED_QUEUE),
    ),
)  # fmt: skip

WORKERS_AND_CODE = (
    _fault_of_demo("workers-down"),
    _fault_of_demo("slots-exhausted"),
    Scenario("tiny-sticky-cache", "the workers are restarted with room for two workflows in their cache",
             _deploy(cache=2), _deploy(),
             baseline=baseline(_changed(long_per_sec=0.3), tuning=WorkerTuning(activity_sec=1.5))),
    Scenario(
        "slow-ramp",
        "the load grows to 4.5 times in five minutes, from about 75 s on more than the workers can handle; "
        "at the end they get more slots",
        during=lambda c: _ramp(c, 0.012),
        end=_end_ramp,
        baseline=baseline(_changed(short_per_sec=1.0), tuning=TIGHT),
        judged_after_sec=150.0,
    ),
    Scenario(
        "slow-workflow-tasks",
        "a deploy's workflow code blocks for 1.6 s in each workflow task, and the load is nearly three times what "
        "the workers can handle",
        _deploy(task_sec=1.6),
        _deploy(),
        baseline=baseline(_changed(short_per_sec=2.8), tuning=FEW_TASK_SLOTS),
    ),
    Scenario("workflow-task-failures", "a deploy's workflow code raises in a quarter of the orders",
             _deploy(bug=True), _deploy(), baseline=baseline(SPECIAL)),
    _fault_of_demo("workflows-failing"),
    Scenario("activities-retrying", "what a quarter of the workflows' activities depend on is down; they are retried",
             WatchedCluster.break_third_party, WatchedCluster.restore_third_party, baseline=baseline(SPECIAL)),
    Scenario(
        "one-of-two-queues",
        "the only worker of the queue that carries 40 % of the work is killed",
        lambda c: c.kill_workers(SECOND),
        lambda c: c.start_workers(None, SECOND),
        baseline=baseline(_changed(billing_share=0.4), workers=ONE_QUEUE_EACH),
    ),
    Scenario(
        "small-queue-without-workers",
        "the only worker of the queue that carries 5 % of the work is killed",
        lambda c: c.kill_workers(SECOND),
        lambda c: c.start_workers(None, SECOND),
        baseline=baseline(_changed(billing_share=0.05), workers=ONE_QUEUE_EACH),
    ),
    Scenario(
        "version-without-pollers",
        "a worker version without workers becomes the current one; the workers poll as another version",
        lambda c: c.set_current_build(OTHER_BUILD),
        lambda c: c.set_current_build(BUILD),
        baseline=baseline(tuning=WorkerTuning(build=BUILD)),
    ),
)  # fmt: skip

SERVER = (
    _fault_of_demo("frontend-rate-limit"),
    _fault_of_demo("persistence-rate-limit"),
    _fault_of_demo("database-locked"),
    _fault_of_demo("server-frozen"),
    Scenario(
        "server-down", "the server is killed and stays down", WatchedCluster.kill_server, WatchedCluster.start_server
    ),
    _fault_of_demo("metrics-cut"),
)

SCENARIOS: dict[str, Scenario] = {each.name: each for each in (*HEALTHY, *WORKERS_AND_CODE, *SERVER)}


def scenario_named(name: str, among: Mapping[str, Scenario] = SCENARIOS) -> Scenario:
    """The scenario of that name; ScenarioError lists the names there are."""
    try:
        return among[name]
    except KeyError:
        raise ScenarioError(f"there is no scenario {name!r}; choose one of {', '.join(among)}") from None
