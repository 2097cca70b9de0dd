"""What every test gets: no network beyond this machine, none of our settings from the environment, and real servers one
test after the other."""

import gc
import os
import shutil
import socket
from functools import cache
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import pytest
from botocore import session
from hypothesis import HealthCheck, settings

# Deadlines and the health check of slowness would judge the machine's load, not the code.
settings.register_profile("suite", max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

# Every session of botocore parses megabytes of JSON anew.
session.create_loader = cache(session.create_loader)

# Debian package → the program of it that tests drive.
PROGRAMS = {p: p for p in ("chromium", "prometheus", "prometheus-alertmanager", "victoria-metrics")}
OURS = ("COPILOT_", "TEMPORAL_", "AWS_")
ALLOWED = ("COPILOT_SCREENSHOTS",)


# Collecting makes millions of objects that live until the end: garbage is looked for afterwards, and not among them.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`-m alone` imports only files with such tests: collecting all takes longer than the shortest of them."""
    wanted = not config.getoption("markexpr").startswith("alone") or not collection_path.match("test_*.py")
    return None if wanted or "mark.alone" in collection_path.read_text(encoding="utf-8") else True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "llm" not in config.getoption("markexpr"):
        asks = [item for item in items if item.get_closest_marker("llm")]
        config.hook.pytest_deselected(items=asks)
        items[:] = [item for item in items if item not in asks]
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):  # the test runs in the loop in which the browser lives
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
        for marker in item.iter_markers("needs_debian"):
            package = str(marker.args[0])
            if shutil.which(PROGRAMS[package]) is None:
                item.add_marker(pytest.mark.skip(reason=f"needs Debian's package {package}"))
    if not config.getoption("markexpr").startswith("alone") and (
        workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0"))
    ):
        items[:] = waiting_first(items, workers)


def waiting_first(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """The files with tests that mostly wait for servers, dealt out so that they begin the workers' shares (equal runs
    of the list, as `worksteal` cuts it): what only computes goes on beside them, and is what is left for the end, when
    workers without work take it from each other."""

    def waits(item: pytest.Item) -> bool:
        return item.get_closest_marker("servers") is not None

    waiting = [list(of_file) for _, of_file in groupby(filter(waits, items), lambda item: item.path)]
    others = iter([item for item in items if not waits(item)])
    dealt: list[pytest.Item] = []
    for number in range(workers):
        first = [item for of_file in waiting[number::workers] for item in of_file]
        share = (len(items) - len(dealt)) // (workers - number)
        dealt += [*first, *islice(others, max(0, share - len(first)))]
    return [*dealt, *others]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failed run: the packages were to be installed."""
    reporter: Any = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(OURS) and name not in ALLOWED:
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _loopback_only(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connecting anywhere but to this machine fails the test that tries."""
    if request.node.get_closest_marker("llm"):
        return
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else ""
        if self.family in (socket.AF_INET, socket.AF_INET6) and host not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to connect to {host}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
