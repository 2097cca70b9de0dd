"""The supervisor, on real little processes."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from copilot.embedded.supervisor import Backoff, Child, Event, Probe, Supervisor
from copilot.errors import StartError

SLEEPER = "import time; time.sleep(60)"
QUICK = Backoff(first_sec=0.05, max_sec=0.2, steady_sec=30)


class Diary:
    """Collects events and waits for them."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._changed = asyncio.Event()

    def note(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()

    def kinds(self, name: str) -> list[str]:
        return [event.kind for event in self.events if event.name == name]

    async def until(self, seen: Callable[[], bool], every_sec: float | None = None) -> None:
        """Wait until it is seen: asked after each event, and `every_sec` for what is no event."""
        async with asyncio.timeout(60):
            while not seen():
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), every_sec)


@pytest.fixture
def diary() -> Diary:
    return Diary()


@pytest.fixture
async def supervisor(tmp_path: Path, diary: Diary) -> AsyncIterator[Supervisor]:
    async with Supervisor(tmp_path, diary.note, QUICK) as made:
        yield made


def python(name: str, code: str, **more: Any) -> Child:
    return Child(name, (sys.executable, "-c", textwrap.dedent(code)), **more)


def file_exists(file: Path) -> Probe:
    async def ask() -> bool:
        return await asyncio.to_thread(file.exists)

    return ask


async def test_a_child_is_ready_when_its_probe_says_so(supervisor: Supervisor, tmp_path: Path, diary: Diary) -> None:
    mark = tmp_path / "ready"
    code = f"import time, pathlib; time.sleep(0.3); pathlib.Path({str(mark)!r}).touch(); time.sleep(60)"
    await supervisor.start(python("slow", code, ready=file_exists(mark)))
    assert mark.exists()
    assert diary.kinds("slow") == ["started"]


async def test_a_child_that_dies_is_restarted_and_reported_with_or_without_its_log(
    supervisor: Supervisor, tmp_path: Path, diary: Diary
) -> None:
    await supervisor.start(python("worker", SLEEPER))
    before = supervisor.pids()["worker"]
    for times in (1, 2):
        os.kill(supervisor.pids()["worker"], signal.SIGKILL)
        await diary.until(lambda times=times: diary.kinds("worker").count("back") == times)  # type: ignore[misc]
        (tmp_path / "worker.log").unlink()
    assert supervisor.pids()["worker"] != before
    died = [event.text for event in diary.events if event.kind == "died"]
    assert "worker died, restarting in 0.05 s: killed by SIGKILL" in died[0]
    assert "its log cannot be read" in died[1]


async def test_a_child_that_keeps_dying_waits_longer_each_time(supervisor: Supervisor, diary: Diary) -> None:
    await supervisor.start(python("hasty", "raise SystemExit('no luck')"))
    await diary.until(lambda: diary.kinds("hasty").count("died") >= 4)
    told = [event.text.split(": ")[0].split()[-2] for event in diary.events if event.kind == "died"]
    assert told[:4] == ["0.05", "0.1", "0.2", "0.2"]


async def test_a_child_is_restarted_although_events_cannot_be_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    diary = Diary()

    def breaks_off(event: Event) -> None:
        diary.note(event)
        if event.kind == "died":
            raise BrokenPipeError("the pipe is closed")

    async with Supervisor(tmp_path, breaks_off, QUICK) as supervisor:
        await supervisor.start(python("worker", SLEEPER))
        for times in (1, 2):
            os.kill(supervisor.pids()["worker"], signal.SIGKILL)
            await diary.until(lambda times=times: diary.kinds("worker").count("back") == times)  # type: ignore[misc]
    assert "could not report: worker died, restarting" in caplog.text
    assert "the pipe is closed" in caplog.text


async def test_a_child_is_restarted_after_an_unexpected_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    diary, logs, away = Diary(), tmp_path / "logs", tmp_path / "away"
    logs.mkdir()
    async with Supervisor(logs, diary.note, QUICK) as supervisor:
        await supervisor.start(python("worker", SLEEPER))
        logs.rename(away)
        os.kill(supervisor.pids()["worker"], signal.SIGKILL)
        await diary.until(lambda: "could not restart" in caplog.text, every_sec=0.05)
        away.rename(logs)
        await diary.until(lambda: "back" in diary.kinds("worker"))
        assert list(supervisor.pids()) == ["worker"]
    assert "could not restart worker; retrying" in caplog.text


@pytest.mark.parametrize(
    ("code", "within", "why"),
    [
        ("raise SystemExit('full')", 30.0, r"child ended \(exit 1\) before it was ready; last output: full"),
        (SLEEPER, 0.3, r"child was not ready after 0\.3 s"),
    ],
    ids=["ends", "hangs"],
)
async def test_a_child_that_ends_or_hangs_before_it_is_ready_is_an_error_and_gone(
    supervisor: Supervisor, tmp_path: Path, code: str, within: float, why: str
) -> None:
    with pytest.raises(StartError, match=why):
        await supervisor.start(python("child", code, ready=file_exists(tmp_path / "never"), ready_within=within))
    assert supervisor.pids() == {}


async def test_a_missing_program_or_a_command_that_fails_is_named(supervisor: Supervisor) -> None:
    with pytest.raises(StartError, match="ghost cannot be started: /no/such/program"):
        await supervisor.start(Child("ghost", ("/no/such/program",)))
    await supervisor.run(python("fine", "pass"))
    with pytest.raises(StartError, match=r"setup failed \(exit 1\); last output: no such table"):
        await supervisor.run(python("setup", "raise SystemExit('no such table')"))


async def test_one_that_cannot_start_ends_the_start_of_the_others(supervisor: Supervisor, tmp_path: Path) -> None:
    waits = python("waits", SLEEPER, ready=file_exists(tmp_path / "never"), ready_within=90)
    async with asyncio.timeout(40):
        with pytest.raises(StartError, match="broken"):
            await supervisor.start(
                waits, python("broken", "raise SystemExit(3)", ready=file_exists(tmp_path / "never"))
            )


async def test_a_child_that_is_taken_down_stays_down(supervisor: Supervisor, diary: Diary) -> None:
    await supervisor.start(python("worker", SLEEPER), python("other", SLEEPER))
    await supervisor.take_down("worker")
    assert list(supervisor.pids()) == ["other"]
    await supervisor.bring_up("worker")
    assert sorted(supervisor.pids()) == ["other", "worker"]
    assert diary.kinds("worker") == ["started", "down", "started"]


async def test_stopping_goes_by_stages_from_the_highest_and_insists(tmp_path: Path, diary: Diary) -> None:
    ready = tmp_path / "ready"
    deaf = f"""
        import pathlib, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        pathlib.Path({str(ready)!r}).touch()
        time.sleep(60)
    """
    async with Supervisor(tmp_path, diary.note) as supervisor:
        await supervisor.start(
            python("server", SLEEPER, stage=0), python("deaf", deaf, stage=1, stop_within=0.3, ready=file_exists(ready))
        )
        pids = list(supervisor.pids().values())
    assert [event.name for event in diary.events if event.kind == "stopped"] == ["deaf", "server"]
    assert not any(psutil.pid_exists(pid) for pid in pids)


async def test_a_frozen_child_can_be_stopped(tmp_path: Path, diary: Diary) -> None:
    async with Supervisor(tmp_path, diary.note) as supervisor:
        await supervisor.start(python("frozen", SLEEPER, stop_within=60))
        supervisor.send_signal("frozen", signal.SIGSTOP)
        async with asyncio.timeout(30):
            await supervisor.stop()


async def test_what_a_child_started_is_ended_with_it(supervisor: Supervisor, tmp_path: Path) -> None:
    note = tmp_path / "grandchild"
    code = f"""
        import pathlib, subprocess, sys, time
        grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        draft = pathlib.Path({str(note)!r} + ".draft")
        draft.write_text(str(grandchild.pid))
        draft.rename({str(note)!r})
        time.sleep(60)
    """

    await supervisor.start(python("parent", code, ready=file_exists(note)))
    await supervisor.stop()
    assert gone_soon(int(note.read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
def test_killing_us_outright_leaves_no_child(tmp_path: Path) -> None:
    code = f"""
        import asyncio, sys
        from pathlib import Path
        from copilot.embedded.supervisor import Child, Supervisor

        async def main():
            async with Supervisor(Path({str(tmp_path)!r}), lambda event: None) as supervisor:
                await supervisor.start(Child("one", (sys.executable, "-c", "import time; time.sleep(60)")))
                print(supervisor.pids()["one"], flush=True)
                await asyncio.sleep(60)

        asyncio.run(main())
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert alive(child)
        parent.kill()
    assert gone_soon(child)


def gone_soon(pid: int) -> bool:
    deadline = time.monotonic() + 30
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
