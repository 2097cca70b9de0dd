"""The scenarios of a cluster of six server processes: what happens to a process, to the database, or to a limit."""

import asyncio
from collections.abc import Awaitable, Callable

from copilot.demo.faults import Action
from copilot.demo.watched import WatchedCluster
from copilot.embedded.temporal import DynamicConfig
from lab.processes import PROCESSES, ServerProcesses
from lab.scenarios import Scenario, whole

OF_PROCESSES = {
    "history": ("history-1", "one of two history processes"),
    "matching": ("matching-1", "one of two matching processes"),
    "frontend": ("frontend-1", "the only frontend process"),
    "worker-role": ("worker-role", "the only process of the server's worker role"),
}
RESTART_EVERY_SEC = 20.0
SLOW_SEC = 0.5
CONNECTIONS_LEFT = 6
LIMITED_FROM_SEC = 90.0
"""The limits need no restart here, but are due when those of the lab's dev server are."""
LIMITS: dict[str, tuple[str, DynamicConfig]] = {
    "namespace-limit": ("the frontend lets a namespace make 12 requests/s", {"frontend.namespaceRPS": 12}),
    "history-limit": ("each history process takes 10 requests/s", {"history.rps": 10}),
    "matching-limit": ("each matching process takes 5 requests/s", {"matching.rps": 5}),
    "persistence-limit": (
        "each process may make a few dozen database requests/s",
        {"history.persistenceMaxQPS": 30, "matching.persistenceMaxQPS": 8, "frontend.persistenceMaxQPS": 8},
    ),
}


def of_processes(action: Callable[[ServerProcesses], Awaitable[None]]) -> Action:
    """An action on a cluster that is known to be one of processes."""

    async def act(cluster: WatchedCluster) -> None:
        assert isinstance(cluster, ServerProcesses), "a scenario of a cluster of processes"
        await action(cluster)

    return act


def _killed(service: str) -> Scenario:
    name, which = OF_PROCESSES[service]
    down, up = of_processes(lambda c: c.kill(name)), of_processes(lambda c: c.bring_up(name))
    return Scenario(f"kill-{service}", f"{which} is killed and stays down", down, up)


def _frozen(service: str) -> Scenario:
    name, which = OF_PROCESSES[service]
    stop, go_on = of_processes(lambda c: c.freeze(name)), of_processes(lambda c: c.thaw(name))
    return Scenario(f"freeze-{service}", f"{which} is stopped with SIGSTOP", stop, go_on)


def _limited(name: str) -> Scenario:
    what, limits = LIMITS[name]
    return Scenario(name, f"from one moment to the next, {what}", of_processes(lambda c: c.set_limits(limits)),
                    of_processes(lambda c: c.set_limits({})), judged_after_sec=LIMITED_FROM_SEC)  # fmt: skip


async def _restart_in_order(cluster: ServerProcesses) -> None:
    for name in PROCESSES:
        await whole(cluster.restart(name))
        await asyncio.sleep(RESTART_EVERY_SEC)


async def _slow(cluster: ServerProcesses) -> None:
    cluster.database.proxy.delay_sec = SLOW_SEC


async def _hang(cluster: ServerProcesses, every: int) -> None:
    cluster.database.proxy.hang(every)


async def _release(cluster: ServerProcesses) -> None:
    cluster.database.proxy.release()


SCENARIOS: dict[str, Scenario] = {
    each.name: each
    for each in (
        Scenario("cluster-healthy", "a steady load on six processes, without a fault"),
        Scenario("server-rolling-restart", "a release: the six processes are restarted gracefully, one after the other",
                 during=of_processes(_restart_in_order)),
        *(_killed(service) for service in OF_PROCESSES),
        *(_frozen(service) for service in OF_PROCESSES),
        Scenario("database-stopped", "PostgreSQL is stopped",
                 of_processes(lambda c: c.database.stop()), of_processes(lambda c: c.database.bring_up())),
        Scenario("database-cut", "the network between server and database is gone: connections are refused",
                 of_processes(lambda c: c.database.proxy.cut()), of_processes(lambda c: c.database.proxy.restore())),
        Scenario("database-slow", f"each message to and from the database takes {SLOW_SEC:g} s longer",
                 of_processes(_slow), of_processes(_release)),
        Scenario("database-hangs", "the database answers nothing; its connections stay open",
                 of_processes(lambda c: _hang(c, 1)), of_processes(_release)),
        Scenario("database-half-hangs", "every second connection to the database answers nothing",
                 of_processes(lambda c: _hang(c, 2)), of_processes(_release)),
        Scenario("database-out-of-connections", f"PostgreSQL allows {CONNECTIONS_LEFT} connections in all",
                 of_processes(lambda c: c.database.limit_connections(CONNECTIONS_LEFT)),
                 of_processes(lambda c: c.database.limit_connections())),
        *(_limited(name) for name in LIMITS),
    )
}  # fmt: skip
