"""What cannot be done to a stack whose histories are read afterwards: a whole `copilot up` in a data folder of its own
loses its Temporal's file, meets a second one, is upgraded, and reads a Loki that refuses."""

import asyncio
import os
import shutil
import signal
import sys
import tarfile
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Literal, get_args

import httpx
import psutil
from whenever import Instant

from chaos.promises import Promise
from chaos.readers import Readers
from chaos.report import Deed
from chaos.stack import CLUSTER, INTERVAL_SEC, WATCHED, folders
from chaos.waiting import InVainError, until
from copilot.embedded.ports import LOOPBACK, free_ports
from copilot.embedded.supervisor import Supervisor
from copilot.embedded.temporal import DevServer
from tests.sources.loki_server import LokiServer

Fault = Literal["previous-release", "two-ups", "loki-refuses", "temporal-lost"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
ROOT = Path(__file__).resolve().parents[1]
PREVIOUS = "HEAD~100"
"""What stands for the previous release where no tag names one."""
BEGUN_SEC, ENDED_SEC = 240.0, 40.0
LOST_SEC, UPGRADED_SEC, SECOND_SEC = 30.0, 120.0, 60.0
VERDICTS = 5
"""How many ticks somebody saw before something is done."""
REFUSES_SEC, ASKS_AGAIN_SEC = 45.0, 20.0
MOMENT_SEC = 3 * INTERVAL_SEC
"""Before a deed: what was shown then may not have been stored yet, and lies in what is lost."""


@dataclass
class Whole:
    """One `copilot up` after the other in one data folder, and what became of it."""

    folder: Path
    port: int
    loki: LokiServer
    tell: Callable[[str], None]
    readers: Readers
    deeds: list[Deed] = field(default_factory=list)
    checks: list[Promise] = field(default_factory=list)
    not_done: list[str] = field(default_factory=list)
    excused: list[tuple[float, float]] = field(default_factory=list)

    @asynccontextmanager
    async def up(self, code: Path = ROOT) -> AsyncIterator[Process]:
        """`copilot up` of this code until the block ends, with at least VERDICTS ticks seen."""
        with (self.folder / "up.log").open("ab") as log:
            process = await self._start(code, log)
        began = time.time()
        try:
            await self.seen_since(began, BEGUN_SEC, process, times=VERDICTS)
            yield process
        finally:
            family = psutil.Process(process.pid).children(recursive=True) if process.returncode is None else []
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                try:
                    await asyncio.wait_for(process.wait(), ENDED_SEC)
                except TimeoutError:
                    process.kill()
            left = psutil.wait_procs(family, timeout=5)[1]
            for each in left:
                each.kill()
            broken = [f"{each} was left" for each in left]
            self.checks.append(Promise("`copilot up` ends within 40 s and leaves nothing", 1, broken))

    async def _start(self, code: Path, out: object) -> Process:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("COPILOT_", "TEMPORAL_"))}
        argv = (sys.executable, "-m", "copilot", "up", "--config", str(self.folder / "copilot.toml"))
        return await asyncio.create_subprocess_exec(
            *argv,
            cwd=self.folder,
            stdin=DEVNULL,
            stdout=out,  # type: ignore[arg-type]
            stderr=STDOUT,
            env={**env, "PYTHONPATH": str(code / "src"), "NO_PROXY": LOOPBACK},
        )

    async def seen_since(self, moment: float, within_sec: float, up: Process, times: int = 1) -> float:
        """Seconds until so many ticks after this moment were seen. InVainError, also when `copilot up` ended."""

        async def seen() -> bool:
            if up.returncode is not None:
                raise InVainError(f"`copilot up` ended with {up.returncode}: see its log in {self.folder}")
            return len({s.tick for s in self.readers.seen if s.tick > moment}) >= times

        await until(seen, f"{times} verdicts after a deed", within_sec)
        return min(s.at for s in self.readers.seen if s.tick > moment) - moment

    async def do(self, name: str, allowed_sec: float, up: Process, *, since: float) -> None:
        """Hold it against a promise that verdicts are fresh again within so many seconds."""
        self.tell(f"waiting for a verdict: {name}")
        try:
            took = await self.seen_since(since, BEGUN_SEC, up)
        except InVainError as error:
            self.checks.append(Promise(f"verdicts continue: {name}", 1, [str(error)]))
            return
        self.deeds.append(Deed(name, 1, took, took))
        broken = [] if took <= allowed_sec else [f"after {took:.0f} s, not {allowed_sec:.0f} s"]
        self.checks.append(Promise(f"verdicts continue: {name}", 1, broken))

    async def two_ups(self, up: Process) -> None:
        """A second one in the same folder ends with a word, and harms nothing."""
        since = time.time()
        second = await self._start(ROOT, PIPE)
        try:
            said = (await asyncio.wait_for(second.communicate(), SECOND_SEC))[0].decode(errors="replace").strip()
        except TimeoutError:
            second.kill()
            said = "nothing: it runs"
            await second.wait()
        good = second.returncode == 2 and "another `copilot up` runs in" in said and "\n" not in said
        self.checks.append(
            Promise("a second `copilot up` says who is there, and ends", 1, [] if good else [said[-300:]])
        )
        await self.do("a second `copilot up` in one data folder", 2 * MOMENT_SEC, up, since=since)

    async def loki_refuses(self, up: Process) -> None:
        """A Loki that answers 429 is asked as seldom as it says, and costs no verdict."""
        since, asked = time.time(), len(self.loki.paths)
        self.loki.status, self.loki.body = "429 Too Many Requests", b"too many requests"
        self.loki.more = (f"Retry-After: {ASKS_AGAIN_SEC:.0f}",)
        await asyncio.sleep(REFUSES_SEC)
        times = len(self.loki.paths) - asked
        most = int(REFUSES_SEC / ASKS_AGAIN_SEC) + 1
        broken = [] if 0 < times <= most else [f"{times} times in {REFUSES_SEC:.0f} s, not 1 to {most}"]
        self.checks.append(Promise("a Loki that answers 429 is asked when it says", times, broken))
        ticks = {s.tick for s in self.readers.seen if s.tick > since}
        broken = [] if len(ticks) >= REFUSES_SEC / INTERVAL_SEC / 2 else [f"{len(ticks)} in {REFUSES_SEC:.0f} s"]
        self.checks.append(Promise("verdicts continue while a Loki answers 429", len(ticks), broken))
        said = {s.degraded_because for s in self.readers.seen if s.at > since and s.degraded_because}
        telling = [why for why in said if "logs cannot be read" in why]
        broken = [] if telling else [f"nobody is told, but: {', '.join(said) or 'nothing'}"]
        self.checks.append(Promise("the API reports that Loki refuses", len(telling), broken))
        self.loki.status, self.loki.body, self.loki.more = "200 OK", None, ()
        asked = len(self.loki.asked)

        async def again() -> bool:
            return len(self.loki.asked) > asked

        await until(again, "Loki to be asked again", ASKS_AGAIN_SEC + 15)
        await self.do("a Loki that answers 429", REFUSES_SEC + 2 * ASKS_AGAIN_SEC, up, since=since)

    async def temporal_lost(self, up: Process) -> None:
        """The file of the Copilot's Temporal is deleted and its process killed: an empty one comes back."""
        since = time.time()
        for file in (self.folder / "data").glob("copilot.sqlite*"):
            file.unlink()
        server = next(
            p for p in psutil.Process(up.pid).children(recursive=True) if p.cmdline()[1:3] == ["server", "start-dev"]
        )
        server.kill()
        self.excused.append((since - MOMENT_SEC, since + LOST_SEC))
        await self.do("its Temporal's file is lost", LOST_SEC, up, since=since)

    async def previous_release(self, code: Path) -> None:
        """The previous code begins in the data folder; this one goes on with its loops and its store."""
        async with self.up(code):
            before = {s.tick for s in self.readers.seen}
        since = time.time()
        async with self.up() as up:
            await self.do("upgrade from the previous release", UPGRADED_SEC, up, since=since)
            told = await self.told()
            lost = sorted(before - told.keys())
            self.checks.append(
                Promise("an upgrade keeps what was stored", len(before), [f"tick {tick} is gone" for tick in lost])
            )

    async def told(self) -> dict[int, int]:
        """Each tick of the timeline, and how often it is there."""
        seen = sorted({s.tick for s in self.readers.seen})

        async def stored() -> bool:
            counted.update(await self._timeline(seen[0]))
            return max(counted, default=0) >= seen[-1]

        counted: dict[int, int] = {}
        await until(stored, "the timeline to have what was shown", every_sec=1.0)
        return counted

    async def _timeline(self, since: int) -> dict[int, int]:
        async with httpx.AsyncClient(base_url=self.readers.page, timeout=20, trust_env=False) as api:
            said = await api.get("/status/timeline", params={"start": since - 1, "max_points": 1000})
        self.readers.wrong += [] if said.is_success else [f"/status/timeline {said.status_code}: {said.text[:200]}"]
        found: dict[int, int] = {}
        for point in said.json()["timeline"] if said.is_success else ():
            tick = round(Instant.parse_iso(point["timestamp"]).timestamp())
            found[tick] = found.get(tick, 0) + 1
        return found

    async def all_stored(self) -> None:
        """What somebody saw is stored, once."""
        told = await self.told()
        seen = {s.tick for s in self.readers.seen}
        kept = {t for t in seen if not any(start <= t <= end for start, end in self.excused)}
        lost = [f"tick {tick} is lost" for tick in sorted(kept - told.keys())]
        twice = [f"tick {tick} is there {times} times" for tick, times in sorted(told.items()) if times > 1]
        name = "what was shown is stored once, over upgrades and losses"
        self.checks.append(Promise(name, len(kept), lost + twice, f"{len(seen) - len(kept)} ticks excused"))


@asynccontextmanager
async def previous_code(revision: str | None) -> AsyncIterator[Path | None]:
    """The code of a revision (None: the newest tag, else PREVIOUS), in a folder of its own; None without git or where
    the clone does not have it."""

    async def git(*words: str) -> bytes:
        try:
            process = await asyncio.create_subprocess_exec("git", *words, cwd=ROOT, stdout=PIPE, stderr=DEVNULL)
        except OSError:
            return b""
        said = (await process.communicate())[0]
        return said if process.returncode == 0 else b""

    found = revision or (await git("describe", "--tags", "--abbrev=0", "HEAD~1")).decode().strip() or PREVIOUS
    packed = await git("archive", found, "src", "docs/rag")
    with tempfile.TemporaryDirectory(prefix="copilot-previous-") as name:
        if packed:
            with tarfile.open(fileobj=BytesIO(packed)) as archive:
                archive.extractall(name, filter="data")
        yield Path(name) if packed else None


async def whole(
    faults: tuple[Fault, ...], tell: Callable[[str], None], previous: str | None = None
) -> tuple[list[Deed], list[Promise], list[str]]:
    """Do these faults, one after the other in one data folder: the deeds, the promises, and what was not done and
    why. InVainError when `copilot up` does not come up."""
    folder, logs = folders(tempfile.mkdtemp(prefix="copilot-chaos-up-"))
    port, *ports = free_ports(4)
    try:
        async with LokiServer().run() as loki, Supervisor(logs, lambda _: None) as supervisor:
            watched = DevServer(WATCHED, folder / "watched.sqlite", *ports)
            await supervisor.start(watched.child({}))
            _configure(folder, watched, loki, port)
            readers = Readers(f"http://{LOOPBACK}:{port}", CLUSTER)
            it = Whole(folder, port, loki, tell, readers)
            reading = asyncio.create_task(readers.run())
            try:
                await _all(it, faults, previous)
            finally:
                reading.cancel()
                await asyncio.wait([reading])
    except InVainError:
        tell((folder / "up.log").read_text(encoding="utf-8", errors="replace")[-2000:])
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    answers = Promise("every response of `copilot up` is valid", readers.answers, readers.wrong)
    return it.deeds, [*it.checks, answers], it.not_done


async def _all(it: Whole, faults: tuple[Fault, ...], previous: str | None) -> None:
    if "previous-release" in faults:
        async with previous_code(previous) as code:
            if code is None:
                it.not_done.append("an upgrade: git has no previous code here")
            else:
                it.tell("upgrade from the previous release")
                await it.previous_release(code)
    deeds = {"two-ups": it.two_ups, "loki-refuses": it.loki_refuses, "temporal-lost": it.temporal_lost}
    async with it.up() as up:
        for name in (name for name in FAULTS if name in faults and name in deeds):
            it.tell(name)
            await deeds[name](up)
        await it.all_stored()


def _configure(folder: Path, watched: DevServer, loki: LokiServer, port: int) -> None:
    file = folder / "copilot.toml"
    file.touch(mode=0o600)
    file.write_text(
        f"""\
data_dir = "{folder / "data"}"
[api]
port = {port}
[[clusters]]
name = "{CLUSTER}"
interval_sec = {INTERVAL_SEC}
window_sec = 10
metrics = [{{ url = "{watched.metrics_url}", role = "server" }}]
[clusters.temporal]
address = "{watched.address}"
[clusters.logs.loki]
url = "{loki.url}"
query = '{{app="temporal"}}'
""",
        encoding="utf-8",
    )
