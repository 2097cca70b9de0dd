"""One run: the stack, the readers, the deeds one after the other, and the promises held against what happened."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from chaos import promises
from chaos.clock import possible
from chaos.deeds import Deeds
from chaos.evidence import Evidence, gathered
from chaos.promises import Promise
from chaos.readers import Readers
from chaos.report import Deed, Report
from chaos.stack import API, CLUSTER, EVALUATING, INTERVAL_SEC, VICTIMS, Stack, stack
from chaos.waiting import at_most, until
from chaos.whole import FAULTS, Fault, whole
from copilot.embedded.supervisor import Backoff
from copilot.loops.starter import LOOPS

FIRST_VERDICT_SEC = 90.0
CLOCK_OFFSETS = (120, 0, -45, 0)
STEPPED_SEC = 20.0
"""How long each offset lasts, besides the time until a verdict is heard."""
PATIENCE_SEC = 240.0
ENDING_SEC = 30.0
CONNECT_SEC = 30.0
LIVE_SHARE = 0.3
"""The share of ticks that must be evaluated while the store is away: the machine may have other things to do."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is done. `backoff` None: the supervisor's own; 0 s leaves a deed out."""

    kills_each: int
    spacing_sec: float
    database_sec: float
    disk_sec: float
    clock: bool
    backoff: Backoff | None = None
    whole: tuple[Fault, ...] = ()
    """What is done to a whole `copilot up` afterwards."""


SHORT = Plan(kills_each=5, spacing_sec=3, database_sec=10, disk_sec=0, clock=False, backoff=Backoff(max_sec=2))
LONG = Plan(kills_each=20, spacing_sec=5, database_sec=60, disk_sec=30, clock=True, whole=FAULTS)


@dataclass
class Run:
    """A run in the making."""

    plan: Plan
    seed: int
    it: Stack
    deeds: Deeds
    readers: Readers
    table: list[Deed] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    checks: list[Promise] = field(default_factory=list)
    clock_from: float = float("inf")

    async def all_deeds(self) -> None:
        """One after the other; verdicts change meanwhile."""
        async with _beside(self.deeds.trouble_the_watched_cluster(random.Random(self.seed + 1))):
            await self.deeds.kills(self.plan.kills_each, self.plan.spacing_sec, random.Random(self.seed))
            for victim in VICTIMS:
                away = [o.end - o.start for o in self.deeds.outages if o.victim == victim]
                self.table.append(Deed(f"kill -9 {victim}", len(away), median(away), max(away)))
            await self._without_the_store()
        await self._with_wrong_clocks()
        await asyncio.sleep(3 * INTERVAL_SEC)

    async def _without_the_store(self) -> None:
        plan, disk = self.plan, self.it.disk
        if plan.database_sec:
            stopped = self.deeds.stop_database(plan.database_sec)
            await self._verdicts_go_on("the database is stopped", stopped, said="state store")
        if not plan.disk_sec:
            self.left_out.append("a full disk: in the long form only")
        elif disk is None:
            self.left_out.append("a full disk: we may not mount a small one here")
        else:
            full = self.deeds.fill_disk(disk, plan.disk_sec)
            await self._verdicts_go_on("the database's disk is full", full, said="disk is full")
            refused = self.deeds.refused_for_want_of_room()
            self.checks.append(
                Promise("the full disk made writes fail", refused, [] if refused else ["no write failed"])
            )

    async def _verdicts_go_on(self, what: str, deed: Coroutine[Any, Any, None], *, said: str) -> None:
        """Verdicts change while the store is away, and some answer gives the reason, in which `said` stands."""
        await deed
        away = self.deeds.outages[-1]
        length = away.end - away.start
        self.table.append(Deed(what, 1, length, length))
        shown = [s for s in self.readers.seen if away.start < s.at < away.end]
        ticks = {s.tick for s in shown if s.tick > away.start}
        wanted = int(LIVE_SHARE * length / INTERVAL_SEC)
        broken = [] if len(ticks) >= wanted else [f"{len(ticks)} verdicts in {length:.0f} s"]
        self.checks.append(Promise(f"verdicts continue while {what}", len(ticks), broken))
        reasons = Counter(s.degraded_because for s in shown if s.degraded_because)
        telling = [s.at - away.start for s in shown if said in (s.degraded_because or "")]
        broken = [] if telling else [f"nobody is told, but: {', '.join(reasons) or 'nothing'}"]
        note = f"first after {min(telling):.1f} s" if telling else ""
        self.checks.append(Promise(f"the API reports that {what}", len(telling), broken, note))

    async def _with_wrong_clocks(self) -> None:
        if not self.plan.clock or not possible():
            why = "in the long form only" if possible() else "not on this kind of machine"
            self.left_out.append(f"a step of the wall clock: {why}")
            return
        self.clock_from = time.time()
        try:
            async with self.deeds.stepped_clocks() as step:
                before = 0
                for offset in CLOCK_OFFSETS:
                    step(offset)
                    await self._heard_after(offset, offset - before)
                    before = offset
        except OSError as error:
            self.left_out.append(f"a step of the wall clock: {error}")

    async def _heard_after(self, offset: int, by: int) -> None:
        stepped = time.time()

        def heard() -> float | None:
            for s in reversed(self.readers.seen):
                if s.at <= stepped:
                    return None
                if stepped + offset - INTERVAL_SEC <= s.tick <= s.at + offset + INTERVAL_SEC:
                    return s.at - stepped
            return None

        while (after := heard()) is None and time.time() - stepped < PATIENCE_SEC:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        waited = time.time() - stepped if after is None else after
        # Temporal's timers are instants of the wall clock: one set before a step back waits it out.
        allowed = promises.NOTICE_SEC + max(0, -by)
        broken = [] if after is not None and after <= allowed else [f"{waited:.0f} s, not {allowed:.0f} s"]
        name = f"wall clock steps by {by:+d} s"
        self.table.append(Deed(name, 1, waited, waited, "until a verdict of the time the clocks then show"))
        self.checks.append(Promise(f"verdicts continue after the {name}", 1, broken))
        await asyncio.sleep(STEPPED_SEC)

    def judged(self, evidence: Evidence) -> Sequence[Promise]:
        """All promises."""
        restarts = [o.start for o in self.deeds.outages if o.victim == API]
        evaluating = [o for o in self.deeds.outages if o.victim in EVALUATING]
        right = sorted(v.tick for v in evidence.stored if v.tick < self.clock_from)
        seen, shifted = self.readers.seen, self.deeds.shifted
        return [
            *promises.kept_once(evidence),
            promises.no_long_hole(right, evaluating, INTERVAL_SEC),
            *promises.one_loop(evidence),
            *promises.one_verdict_a_moment(seen, self.readers.told, evidence, shifted),
            promises.never_backwards(seen, restarts, shifted),
            promises.never_old_as_fresh(seen, INTERVAL_SEC),
            Promise("every API response is valid", self.readers.answers, self.readers.wrong),
            *self.checks,
        ]


async def run(plan: Plan, seed: int, tell: Callable[[str], None], previous: str | None = None) -> Report:
    """Do it all. StartError if the stack does not start; `previous` is the revision to upgrade from."""
    began = time.monotonic()
    async with stack(lambda event: tell(event.text[:120]), plan.backoff) as it:
        this = Run(plan, seed, it, Deeds(it, tell), Readers(it.page, CLUSTER))
        async with _beside(this.readers.run()):
            await until(this.readers.have_seen, "the first verdict", FIRST_VERDICT_SEC)
            await this.all_deeds()
        tell("reading histories and store")
        async with at_most(CONNECT_SEC, "the Copilot's Temporal to be connected"):
            client = await it.client()
        found = await gathered(client, it.postgres.url, [loop.workflow_id(CLUSTER) for loop in LOOPS])
    if plan.whole:
        deeds, checks, not_done = await whole(plan.whole, tell, previous)
    else:
        deeds, checks, not_done = [], [], ["what is done to a whole `copilot up`: in the long form only"]
    return Report(
        seed=seed,
        took_sec=time.monotonic() - began,
        deeds=[*this.table, *deeds],
        not_done=[*this.left_out, *not_done],
        promises=[*this.judged(found), *checks],
        answers=this.readers.answers,
        unanswered=this.readers.failures,
    )


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Something that goes on beside the block and is ended with it."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        async with at_most(ENDING_SEC, "what goes on beside to end"):
            await asyncio.wait([task])
    if not task.cancelled():
        task.result()
