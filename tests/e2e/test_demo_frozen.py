"""A demo in a folder of its own, as a person starts it: second terminals find it, `copilot doctor` looks at it, its
server freezes, and Ctrl-C leaves nothing."""

import json
from pathlib import Path

import pytest

from copilot.embedded.data_folder import find_demo
from tests.cli.forked import forked
from tests.e2e.running_demo import CRITICAL_WITHIN, HAPPY_WITHIN, PRINTED_WITHIN, running_demo

pytestmark = [pytest.mark.servers, pytest.mark.alone]


@pytest.mark.timeout(900)
def test_a_demo_takes_faults_from_second_terminals_and_freezes_and_ctrl_c_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with running_demo(tmp_path, own_folder=True) as demo:
        assert set(demo.next(within=240)) == {
            *("time", "health_state", "stale", "coverage", "bottleneck", "fired_gates", "top_factor", "readings")
        }
        found = find_demo(None)
        assert found.pid == demo.process.pid

        assert forked("fault", "idle").stdout == "idle: no new workflows are started\n"
        again = forked("fault", "idle")
        assert (again.returncode, again.stderr) == (2, "copilot: idle is already active: clear idle first\n")
        assert forked("fault", "--clear").stdout == "idle is cleared\n"

        demo.until_state("happy", within=120)
        done = demo.copilot("doctor", "--json", "--config", str(found.config))
        assert done.returncode == 0, done.stderr
        (seen,) = json.loads(done.stdout)["clusters"]
        assert seen["coverage"]["primary"] == 1.0
        assert seen["coverage"]["worker"] > 0.9
        assert {c["status"] for c in seen["checks"]} == {"ok"}
        # Two heartbeats of a worker, a minute apart, give rates by version.
        by_then = ("version.tasks_per_sec", "version.task_failure_ratio")
        unread = (s for s in seen["signals"] if s["status"] == "missing" and s["id"] not in by_then)
        missing = {s["id"]: s["hint"] for s in unread}
        assert list(missing) == ["connection_pool.utilization_pct"]
        assert "PostgreSQL only" in missing["connection_pool.utilization_pct"]
        assert all(s["hint"] for s in seen["signals"] if s["status"] == "unmeasured")

        assert forked("fault", "server-frozen").returncode == 0
        last = demo.until_state("critical", CRITICAL_WITHIN + PRINTED_WITHIN)[-1]
        assert (last["top_factor"], last["bottleneck"]) == ("server_unreachable", "server_limited")
        assert last["readings"]["frontend.reachable"] == 0.0
        assert forked("fault", "server-frozen", "--clear").returncode == 0
        demo.until_state("happy", HAPPY_WITHIN)

        demo.ends_on_ctrl_c()
    assert not found.data_dir.exists()
