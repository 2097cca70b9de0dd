"""What is done to the Copilot, and when it was away because of it."""

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chaos.clock import SteppedClock
from chaos.stack import API, SERVER, STORE, VICTIMS, WATCHED, WORKER, Stack
from chaos.waiting import until


@dataclass(frozen=True, slots=True)
class Outage:
    """One process away, in seconds of the true clock: from the deed until it was back at its work."""

    victim: str
    start: float
    end: float


@dataclass
class Deeds:
    """Does them, one after the other or several at once, and keeps what was away when. `tell` gets a line for each."""

    stack: Stack
    tell: Callable[[str], None]
    outages: list[Outage] = field(default_factory=list)
    shifted: list[tuple[float, float]] = field(default_factory=list)
    """When a stepped clock ran in our processes, by the true clock."""

    async def kills(self, times_each: int, spacing_sec: float, dice: random.Random) -> None:
        """Kill every victim so often, in random order, `spacing_sec` apart on average; one that is still away is waited
        for. Returns when all are back."""
        order = [victim for victim in VICTIMS for _ in range(times_each)]
        dice.shuffle(order)
        away: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            for number, victim in enumerate(order, start=1):
                await asyncio.sleep(spacing_sec * dice.uniform(0.5, 1.5))
                if victim in away:
                    await away[victim]
                self.tell(f"kill {number}/{len(order)}: {victim}")
                away[victim] = group.create_task(self._kill(victim))

    async def _kill(self, victim: str) -> None:
        async def runs() -> bool:
            return victim in self.stack.supervisor.pids()

        await until(runs, f"{victim} to be started again")
        back = self.stack.will_be_up(victim)
        start = time.time()
        os.kill(self.stack.supervisor.pids()[victim], signal.SIGKILL)
        await until(back, f"{victim} to be back at its work")
        self.outages.append(Outage(victim, start, time.time()))

    async def trouble_the_watched_cluster(self, dice: random.Random) -> None:
        """Take the watched cluster away for some seconds, again and again until cancelled, so that verdicts change."""
        while True:
            await asyncio.sleep(dice.uniform(10, 20))
            await self.stack.supervisor.take_down(WATCHED)
            await asyncio.sleep(dice.uniform(4, 8))
            await self.stack.supervisor.bring_up(WATCHED)

    async def stop_database(self, for_sec: float) -> None:
        """The database stops as an administrator stops it, and is started again."""
        self.tell(f"the database is stopped for {for_sec:g} s")
        start = time.time()
        await self.stack.supervisor.take_down(STORE, graceful=True)
        await asyncio.sleep(for_sec)
        await self.stack.supervisor.bring_up(STORE)
        self.outages.append(Outage(STORE, start, time.time()))

    async def fill_disk(self, disk: Path, for_sec: float) -> None:
        """The disk the store lives on is full, and then is not."""
        self.tell(f"the disk of the database is full for {for_sec:g} s")
        start, filler = time.time(), disk / "filler"
        try:
            await asyncio.to_thread(_fill, filler)
            await asyncio.sleep(for_sec)
        finally:
            filler.unlink()
        await until(self.stack.will_be_up(STORE), f"{STORE} to be back at its work")
        self.outages.append(Outage(STORE, start, time.time()))

    def refused_for_want_of_room(self) -> int:
        """How often PostgreSQL has said that its disk is full."""
        log = self.stack.logs / f"{STORE}.log"
        return log.read_text(encoding="utf-8", errors="replace").count("No space left on device")

    @asynccontextmanager
    async def stepped_clocks(self) -> AsyncIterator[Callable[[int], None]]:
        """Gives what steps the wall clocks of worker, API and the Copilot's Temporal to an offset in seconds; they are
        right again on leaving. OSError where that cannot be done."""
        pids = self.stack.supervisor.pids()
        clocks = [SteppedClock(pids[name]) for name in (WORKER, API, SERVER)]

        def step(offset_sec: int) -> None:
            self.tell(f"the wall clock of worker, API and Temporal steps to {offset_sec:+d} s")
            for clock in clocks:
                clock.set(offset_sec)

        start = time.time()
        try:
            yield step
        finally:
            step(0)
            self.shifted.append((start, time.time()))


def _fill(file: Path) -> None:
    block = bytes(1 << 20)
    with file.open("wb", buffering=0) as filler:
        while block:
            try:
                filler.write(block)
            except OSError:
                block = block[: len(block) // 2]


def away_between(outages: Sequence[Outage], start: float, end: float) -> float:
    """Seconds between two moments in which at least one of the outages was going on."""
    covered, reached = 0.0, start
    for outage in sorted(outages, key=lambda o: o.start):
        begin, finish = max(outage.start, reached), min(outage.end, end)
        if finish > begin:
            covered += finish - begin
            reached = finish
    return covered
