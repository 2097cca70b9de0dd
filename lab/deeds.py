"""What is done to the watched cluster in a scenario: small acts of copilot.demo, put together."""

import asyncio

from copilot.demo.faults import Deed
from copilot.demo.load import Profile
from copilot.demo.watched import WORKERS, WatchedCluster
from copilot.demo.worker import WorkerTuning
from copilot.embedded.temporal import DynamicConfig

STEP_SEC = 5.0
OTHER_BUILD = "2"


async def nothing(_cluster: WatchedCluster) -> None:
    """Leave it as it is."""


def both(first: Deed, second: Deed) -> Deed:
    """One after the other."""

    async def deed(cluster: WatchedCluster) -> None:
        await first(cluster)
        await second(cluster)

    return deed


def load(**changed: float) -> Deed:
    """From now on the usual load, with these fields of the profile changed."""

    async def deed(cluster: WatchedCluster) -> None:
        cluster.set_load(cluster.usual.load.model_copy(update=changed))

    return deed


def load_times(factor: float) -> Deed:
    """From now on so many times the usual load."""

    async def deed(cluster: WatchedCluster) -> None:
        cluster.set_load(cluster.usual.load.times(factor))

    return deed


def load_times_for(factor: float, seconds: float) -> Deed:
    """So many times the usual load for so long."""

    async def deed(cluster: WatchedCluster) -> None:
        cluster.set_load(cluster.usual.load.times(factor))
        await asyncio.sleep(seconds)
        cluster.set_load(cluster.usual.load)

    return deed


def load_growing(factor_per_sec: float) -> Deed:
    """The usual load, and each second so much of it more."""

    async def deed(cluster: WatchedCluster) -> None:
        factor = 1.0
        while True:
            await asyncio.sleep(STEP_SEC)
            factor += STEP_SEC * factor_per_sec
            cluster.set_load(cluster.usual.load.times(factor))

    return deed


def load_spikes(spike: Profile, lasts_sec: float, every_sec: float) -> Deed:
    """The usual load, and every so often for a moment a spike."""

    async def deed(cluster: WatchedCluster) -> None:
        while True:
            cluster.set_load(spike)
            await asyncio.sleep(lasts_sec)
            cluster.set_load(cluster.usual.load)
            await asyncio.sleep(every_sec - lasts_sec)

    return deed


def kill_workers(*names: str) -> Deed:
    """Kill these workers, or all."""

    async def deed(cluster: WatchedCluster) -> None:
        await cluster.kill_workers(*names)

    return deed


def start_workers(*names: str) -> Deed:
    """Start these workers, or all, as they usually are."""

    async def deed(cluster: WatchedCluster) -> None:
        await cluster.release_workers(None, *names)

    return deed


def deploy(**changed: object) -> Deed:
    """Restart all workers, one after the other, as they usually are but for these fields of their tuning."""

    async def deed(cluster: WatchedCluster) -> None:
        for name in WORKERS:
            usual = cluster.usual.workers[name].model_dump()
            await cluster.deploy_workers(WorkerTuning.model_validate({**usual, **changed}), name)

    return deed


def deploy_again_and_again(every_sec: float) -> Deed:
    """Restart one worker after the other, as they are, for ever; ended, it leaves no worker stopped."""

    async def deed(cluster: WatchedCluster) -> None:
        while True:
            for name in WORKERS:
                deployed = asyncio.ensure_future(cluster.deploy_workers(None, name))
                try:
                    await asyncio.shield(deployed)
                except asyncio.CancelledError:
                    await deployed
                    raise
                await asyncio.sleep(every_sec)

    return deed


def restart_server(limits: DynamicConfig | None = None, *, down_sec: float = 0.0) -> Deed:
    """Kill the server and start it again on the same data, with these limits."""

    async def deed(cluster: WatchedCluster) -> None:
        await cluster.restart_server(limits, down_sec=down_sec)

    return deed


async def kill_server(cluster: WatchedCluster) -> None:
    """Kill the server and keep it down."""
    await cluster.kill_server()


async def start_server(cluster: WatchedCluster) -> None:
    """Start the killed server."""
    await cluster.release_server()


async def flap_metrics(cluster: WatchedCluster) -> None:
    """From now on every third read of the server's metrics page fails."""
    cluster.relay.fail_every = 3


async def steady_metrics(cluster: WatchedCluster) -> None:
    """The page answers each time again."""
    cluster.relay.fail_every = None


async def break_third_party(cluster: WatchedCluster) -> None:
    """What the special workflows' activities depend on goes down."""
    cluster.break_third_party()


async def mend_third_party(cluster: WatchedCluster) -> None:
    """It comes back."""
    cluster.mend_third_party()


async def make_other_build_current(cluster: WatchedCluster) -> None:
    """A build that nobody runs becomes the current one."""
    await cluster.set_current_build(OTHER_BUILD)


async def make_own_build_current(cluster: WatchedCluster) -> None:
    """The build that the workers run becomes the current one again."""
    (build,) = {tuning.build for tuning in cluster.usual.workers.values()}
    if build is not None:
        await cluster.set_current_build(build)
