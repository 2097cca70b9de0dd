"""The table of scenarios: what really happens, how it begins and ends, and what the cluster is like before."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from copilot.demo.faults import FAULTS, Deed
from copilot.demo.load import Profile
from copilot.demo.watched import FORGOTTEN, WORKERS, Usual
from copilot.demo.worker import WorkerTuning
from copilot.demo.workflows import BILLING, ORDERS
from copilot.errors import CopilotError
from lab import deeds
from lab.deeds import nothing

FIRST, SECOND = WORKERS
LOAD = Profile(short_per_sec=2.0, long_per_sec=0.15)
BUILD = "1"


class ScenarioError(CopilotError):
    """There is no scenario of that name; the text names those there are."""


def usual(
    load: Profile = LOAD,
    tuning: WorkerTuning | None = None,
    *,
    workers: Mapping[str, WorkerTuning] | None = None,
    forgotten: int = 0,
) -> Usual:
    """A cluster with the stock server's settings."""
    each = workers or dict.fromkeys(WORKERS, tuning or WorkerTuning())
    return Usual(dynamic_config={}, load=load, workers=each, forgotten=forgotten)


@dataclass(frozen=True)
class Scenario:
    """One scenario. `what`: what happens, in one sentence. `begin` and `end` are done when the fault's phase begins and
    ends, `meanwhile` goes on during it. `usual`: the cluster before, from its start. `queues`: task queues watched.
    `judged_after_sec`: seconds of the fault's phase before the state can be expected to show, where that is later than
    requirements §3.3 say because the trouble itself comes later."""

    name: str
    what: str
    begin: Deed = nothing
    end: Deed = nothing
    meanwhile: Deed = nothing
    usual: Usual = field(default_factory=usual)
    queues: tuple[str, ...] = (ORDERS, BILLING)
    judged_after_sec: float | None = None


def _changed(**fields: float) -> Profile:
    return LOAD.model_copy(update=fields)


def _demos(name: str, usually: Usual | None = None) -> Scenario:
    """A fault of the demo, as the demo does it."""
    fault = FAULTS[name]
    return Scenario(name, fault.what, fault.inject, fault.clear, usual=usually or usual())


ONE_QUEUE_EACH = {FIRST: WorkerTuning(queues=(ORDERS,)), SECOND: WorkerTuning(queues=(BILLING,))}
TIGHT = WorkerTuning(slots=2, activity_sec=1.3)
FEW_TASK_SLOTS = WorkerTuning(task_slots=2)
SPECIAL = _changed(special_share=0.25)

HEALTHY = (
    Scenario("healthy", "a steady mix of short and long workflows, and nothing goes wrong"),
    _demos("idle"),
    Scenario("night", "the load falls by 90 %", deeds.load_times(0.1), deeds.load_times(1)),
    Scenario(
        "cron-spikes",
        "every minute 30 workflows start within two seconds, on top of little else, and are done at once",
        meanwhile=deeds.load_spikes(_changed(short_per_sec=15.0), lasts_sec=2.0, every_sec=60.0),
        end=deeds.load_times(1),
        usual=usual(_changed(short_per_sec=0.5)),
    ),
    Scenario(
        "long-running-only",
        "only workflows of three minutes: timers, signals, updates, and a completion every seven seconds",
        usual=usual(_changed(short_per_sec=0.0, long_periods=12)),
    ),
    Scenario(
        "rolling-restart",
        "one worker after the other is stopped and started again, every 20 s",
        meanwhile=deeds.deploy_again_and_again(every_sec=20.0),
    ),
    Scenario(
        "pollers-over-slots",
        "from the start, the workers run more pollers than they have slots; nothing waits",
        usual=usual(tuning=WorkerTuning(slots=4, task_slots=4, pollers=12)),
    ),
    Scenario("half-the-workers", "one of two workers is killed; the other keeps up",
             deeds.kill_workers(SECOND), deeds.start_workers(SECOND)),
    Scenario("burst", "five times the load, for a minute",
             meanwhile=deeds.load_times_for(5.0, seconds=60.0), end=deeds.load_times(1)),
    Scenario("metrics-flapping", "every third read of the server's metrics page fails",
             deeds.flap_metrics, deeds.steady_metrics),
    Scenario("server-restart", "the server is killed and, 3 s later, started again on the same data",
             deeds.restart_server(down_sec=3.0)),
    Scenario("client-mistakes", "clients signal workflows that are not there and start one that runs already",
             deeds.load(mistakes_per_sec=4.0), deeds.load_times(1)),
    Scenario(
        "abandoned-queue",
        "from before the run, five workflows wait on a task queue without pollers; nothing new arrives on it",
        usual=usual(forgotten=5),
        queues=(ORDERS, BILLING, FORGOTTEN),
    ),
)  # fmt: skip

WORKERS_AND_CODE = (
    _demos("workers-down"),
    _demos("slots-exhausted"),
    Scenario("tiny-sticky-cache", "the workers are restarted with room for two workflows in their cache",
             deeds.deploy(cache=2), deeds.deploy(),
             usual=usual(_changed(long_per_sec=0.3), tuning=WorkerTuning(activity_sec=1.5))),
    Scenario(
        "slow-ramp",
        "the load grows to four and a half times in five minutes, from about 75 s on more than the workers can take; "
        "in the end they get more slots",
        meanwhile=deeds.load_growing(0.012),
        end=deeds.both(deeds.load_times(1), deeds.deploy(slots=50)),
        usual=usual(_changed(short_per_sec=1.0), tuning=TIGHT),
        judged_after_sec=150.0,
    ),
    Scenario(
        "slow-workflow-tasks",
        "a deploy's workflow code computes for 1.6 s in each workflow task, and nearly three times what the workers "
        "can take comes",
        deeds.deploy(task_sec=1.6),
        deeds.deploy(),
        usual=usual(_changed(short_per_sec=2.8), tuning=FEW_TASK_SLOTS),
    ),
    Scenario("workflow-task-failures", "a deploy's workflow code raises in a quarter of the orders",
             deeds.deploy(bug=True), deeds.deploy(), usual=usual(SPECIAL)),
    _demos("workflows-failing"),
    Scenario("activities-retrying", "what a quarter of the workflows' activities depend on is down; they are retried",
             deeds.break_third_party, deeds.mend_third_party, usual=usual(SPECIAL)),
    Scenario(
        "one-of-two-queues",
        "the only worker of the queue that carries 40 % of the work is killed",
        deeds.kill_workers(SECOND),
        deeds.start_workers(SECOND),
        usual=usual(_changed(billing_share=0.4), workers=ONE_QUEUE_EACH),
    ),
    Scenario(
        "small-queue-without-workers",
        "the only worker of the queue that carries 5 % of the work is killed",
        deeds.kill_workers(SECOND),
        deeds.start_workers(SECOND),
        usual=usual(_changed(billing_share=0.05), workers=ONE_QUEUE_EACH),
    ),
    Scenario(
        "version-without-pollers",
        "a worker version that nobody runs is made the current one; the workers poll as another",
        deeds.make_other_build_current,
        deeds.make_own_build_current,
        usual=usual(tuning=WorkerTuning(build=BUILD)),
    ),
)  # fmt: skip

SERVER = (
    _demos("frontend-rate-limit"),
    _demos("persistence-rate-limit"),
    _demos("database-locked"),
    _demos("server-frozen"),
    Scenario("server-down", "the server is killed and kept down", deeds.kill_server, deeds.start_server),
    _demos("metrics-cut"),
)

SCENARIOS: dict[str, Scenario] = {each.name: each for each in (*HEALTHY, *WORKERS_AND_CODE, *SERVER)}


def scenario_named(name: str) -> Scenario:
    """The scenario of that name; ScenarioError names those there are."""
    try:
        return SCENARIOS[name]
    except KeyError:
        raise ScenarioError(f"no scenario is called {name!r}; there are {', '.join(SCENARIOS)}") from None
