"""The scenarios of a cluster of six server processes: what happens to a process, to the database, or to a limit."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from copilot.demo.faults import Action
from copilot.demo.load import Profile
from copilot.demo.watched import WatchedCluster
from copilot.embedded.temporal import DynamicConfig
from lab.database import POSTGRES
from lab.processes import PROCESSES, ServerProcesses
from lab.proxy import Mode
from lab.scenarios import SCENARIOS as OF_DEV_SERVER
from lab.scenarios import Scenario, baseline, whole

SERVICES = {
    "history": ("history-1", "one of two history processes"),
    "matching": ("matching-1", "one of two matching processes"),
    "frontend": ("frontend-1", "the only frontend process"),
    "worker-role": ("worker-role", "the only process of the server's worker role"),
}
RESTART_EVERY_SEC = 20.0
SLOW_SEC = 0.5
CONNECTIONS_LEFT = 6
LIMITED_FROM_SEC = 90.0  # As the limits of a dev server, which need a restart.
LIMITS: dict[str, tuple[str, DynamicConfig]] = {
    "namespace-limit": ("the frontend lets a namespace make 12 requests/s", {"frontend.namespaceRPS": 12}),
    "history-limit": ("each history process takes 10 requests/s", {"history.rps": 10}),
    "matching-limit": ("each matching process takes 5 requests/s", {"matching.rps": 5}),
    "persistence-limit": (
        "each process may make a few dozen database requests/s",
        {"history.persistenceMaxQPS": 30, "matching.persistenceMaxQPS": 8, "frontend.persistenceMaxQPS": 8},
    ),
}
LOAD = Profile(short_per_sec=1.0, long_per_sec=0.1)
"""Light: each workflow costs six processes, a database and a proxy several times what it costs a dev server."""


def of_processes(action: Callable[[ServerProcesses], Awaitable[None]]) -> Action:
    """An action on a cluster that is known to be one of processes."""

    async def act(cluster: WatchedCluster) -> None:
        assert isinstance(cluster, ServerProcesses), "a scenario of a cluster of processes"
        await action(cluster)

    return act


def _down(scenario: str, name: str, what: str, *, graceful: bool = False) -> Scenario:
    down = of_processes(lambda c: c.supervisor.take_down(name, graceful=graceful))
    return Scenario(scenario, what, down, of_processes(lambda c: c.supervisor.bring_up(name)))


def _frozen(scenario: str, name: str, what: str) -> Scenario:
    stop, go_on = (of_processes(partial(_send, name=name, number=n)) for n in (signal.SIGSTOP, signal.SIGCONT))
    return Scenario(scenario, what, stop, go_on)


async def _send(cluster: ServerProcesses, name: str, number: signal.Signals) -> None:
    cluster.supervisor.send_signal(name, number)


def _limited(name: str) -> Scenario:
    what, limits = LIMITS[name]
    return Scenario(name, f"from one moment to the next, {what}", of_processes(lambda c: c.set_limits(limits)),
                    of_processes(lambda c: c.set_limits({})), judged_after_sec=LIMITED_FROM_SEC)  # fmt: skip


async def _restart(cluster: ServerProcesses, name: str) -> None:
    await cluster.supervisor.take_down(name, graceful=True)
    await cluster.supervisor.bring_up(name)


async def _restart_in_order(cluster: ServerProcesses) -> None:
    for name in PROCESSES:
        await whole(_restart(cluster, name))
        await asyncio.sleep(RESTART_EVERY_SEC)


def _disturbed(name: str, what: str, mode: Mode) -> Scenario:
    begin = of_processes(lambda c: c.database.disturb(mode))
    return Scenario(name, what, begin, of_processes(lambda c: c.database.disturb(Mode())))


SCENARIOS: dict[str, Scenario] = {
    each.name: replace(each, baseline=baseline(LOAD))
    for each in (
        Scenario("cluster-healthy", "a steady load on six processes, without a fault"),
        Scenario("server-rolling-restart", "a release: the six processes are restarted gracefully, one after the other",
                 during=of_processes(_restart_in_order)),
        *(_down(f"kill-{each}", name, f"{which} is killed and stays down") for each, (name, which) in SERVICES.items()),
        *(_frozen(f"freeze-{each}", name, f"{which} is stopped with SIGSTOP")
          for each, (name, which) in SERVICES.items()),
        _down("database-stopped", POSTGRES, "PostgreSQL is stopped", graceful=True),
        _disturbed("database-cut", "the network between server and database is gone: connections are refused",
                   Mode(cut=True)),
        _disturbed("database-slow", f"each message to and from the database takes {SLOW_SEC:g} s longer",
                   Mode(delay_sec=SLOW_SEC)),
        _disturbed("database-hangs", "the database answers nothing; its connections stay open", Mode(hang_every=1)),
        _disturbed("database-half-hangs", "every second connection to the database answers nothing",
                   Mode(hang_every=2)),
        Scenario("database-out-of-connections", f"PostgreSQL allows {CONNECTIONS_LEFT} connections in all",
                 of_processes(lambda c: c.database.limit_connections(CONNECTIONS_LEFT)),
                 of_processes(lambda c: c.database.limit_connections())),
        *(_limited(name) for name in LIMITS),
    )
}  # fmt: skip


def scenarios(*, cluster: bool) -> dict[str, Scenario]:
    """Those of a cluster of processes, or of a dev server."""
    return SCENARIOS if cluster else OF_DEV_SERVER
