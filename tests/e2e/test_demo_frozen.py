"""A demo that `copilot doctor` looks at, and whose server freezes."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.running_demo import CRITICAL_WITHIN, HAPPY_WITHIN, PRINTED_WITHIN, Demo, running_demo
from tests.folders import passable_folder

pytestmark = [pytest.mark.servers, pytest.mark.alone]


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with passable_folder() as folder, running_demo(folder) as running:
        running.until_state("happy", within=60)
        yield running


def test_doctor_reads_every_primary_and_worker_signal_and_says_what_would_turn_the_others_on(demo: Demo) -> None:
    done = demo.copilot("doctor", "--json", "--config", str(demo.described().config))
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["clusters"]
    assert (found["coverage"]["primary"], found["coverage"]["worker"]) == (1.0, 1.0)
    assert {c["status"] for c in found["checks"]} == {"ok"}
    missing = {s["id"]: s["hint"] for s in found["signals"] if s["status"] == "missing"}
    assert list(missing) == ["connection_pool.utilization_pct"]
    assert "PostgreSQL only" in missing["connection_pool.utilization_pct"]
    assert all(s["hint"] for s in found["signals"] if s["status"] == "unmeasured")


def test_a_frozen_server_is_critical_unreachable_and_recovered_from(demo: Demo) -> None:
    demo.fault("server-frozen")
    lines = demo.until_state("critical", CRITICAL_WITHIN + PRINTED_WITHIN)
    assert lines[-1]["top_factor"] == "server_unreachable"
    assert lines[-1]["bottleneck"] == "server_limited"
    assert lines[-1]["readings"]["frontend.reachable"] == 0.0
    demo.fault("server-frozen", "--clear")
    demo.until_state("happy", HAPPY_WITHIN)
