"""Record consecutive metrics pages of real servers: `python -m tests.data.record_pages start restart freeze …`.

Starts the watched half of the demo with stock settings, reads the server's and both workers' pages every five seconds
through something that happens to them, and writes tests/data/pages/NAME/TARGET.pages.gz, thinned to the families the
taxonomy reads. The Copilot's Temporal API source reads the same cluster meanwhile, as it would in life. About twelve
minutes for all of them. `tests/recorded_pages.py` reads what is written here.
"""

import argparse
import asyncio
import gzip
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from temporalio.client import Client
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError
from whenever import Instant

from copilot.demo.load import Profile
from copilot.demo.watched import Baseline, WatchedCluster
from copilot.embedded.supervisor import Supervisor
from copilot.errors import SourceError
from copilot.metrics.dialects import ANCHORS, dialect_by_name, raw_name
from copilot.metrics.promql import new_series_name
from copilot.metrics.resolve import PRESENCE_METRIC, leaves_of
from copilot.rules.signals.expressions import Gauge, Role
from copilot.rules.signals.taxonomy import SPECS
from copilot.settings.clusters import ClusterSettings, WatchedTemporal
from copilot.sources.scrape.pages import MAX_PAGE_BYTES, fetch_page
from copilot.sources.scrape.source import SCRAPE_TIMEOUT_SEC
from copilot.sources.temporal.source import TemporalApiSource

HERE = Path(__file__).parent / "pages"
EVERY_SEC, API_EVERY_SEC = 5.0, 10.0
WARM_SEC = 60.0
ABSENT = "-"
PROOF = "service_error_with_type"
"""Not read by us: shows that clients made mistakes."""
SPOKEN: dict[Role, str] = {"server": "server", "worker": "sdk default"}


def families(role: Role) -> frozenset[str]:
    """The sample names of a role's pages that are kept: what the taxonomy reads, and what tells the dialect."""
    dialect = dialect_by_name(SPOKEN[role])
    wanted = [leaf for leaf in leaves_of(SPECS.values()) if leaf.series.role == role]
    read = {raw_name(leaf, dialect) for leaf in wanted}
    read |= {new_series_name(leaf, dialect) for leaf in wanted if not isinstance(leaf, Gauge)}
    counter, timer = ANCHORS[role]
    return frozenset(read | {PRESENCE_METRIC[role], counter, f"{timer}_count", PROOF})


@dataclass
class Roll:
    """The pages of one target. A read is a page (its series) or the code and detail of what failed."""

    role: Role
    url: str
    reads: list[dict[str, str | float]] = field(default_factory=list)
    pages: list[dict[str, str]] = field(default_factory=list)
    types: dict[str, str] = field(default_factory=dict)

    async def read(self, client: httpx.AsyncClient, at: float) -> None:
        """One read, at `at` seconds."""
        entry: dict[str, str | float] = {"at": round(at, 3)}
        self.reads.append(entry)
        url = httpx.URL(self.url)
        try:
            body = await fetch_page(client, url, timeout_sec=SCRAPE_TIMEOUT_SEC, max_bytes=MAX_PAGE_BYTES)
        except SourceError as error:
            entry.update(code=error.code.value, detail=error.detail)
            return
        kept = families(self.role)
        page: dict[str, str] = {}
        for line in body.decode().splitlines():
            if line.startswith("# TYPE "):
                _, _, family, kind = line.split(" ", 3)
                if kept & {family, f"{family}_bucket", f"{family}_count", f"{family}_sum"}:
                    self.types[family] = kind
            elif line.split("{")[0].split(" ")[0] in kept:
                series, _, value = line.rpartition(" ")
                page[series] = value
        self.pages.append(page)

    def write(self, file: Path, marks: dict[str, float]) -> None:
        """One line about the reads, then a line a series: its text, and its value on each page (`-`: not there)."""
        head = {"role": self.role, "reads": self.reads, "marks": marks, "types": self.types}
        series = sorted({s for page in self.pages for s in page})
        rows = [f"{s}\t{' '.join(page.get(s, ABSENT) for page in self.pages)}" for s in series]
        file.parent.mkdir(parents=True, exist_ok=True)
        text = "\n".join([json.dumps(head), *rows, ""])
        file.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


class Recorder:
    """Reads all pages of a cluster on a beat."""

    def __init__(self, cluster: WatchedCluster) -> None:
        self.cluster = cluster
        self.marks: dict[str, float] = {}
        workers = cluster.worker_urls
        self.rolls = {"server": Roll("server", cluster.server.metrics_url)}
        self.rolls |= {name: Roll("worker", url) for name, url in workers.items()}
        self._client = httpx.AsyncClient(trust_env=False, timeout=None)
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._beats = 0

    @property
    def now(self) -> float:
        """Seconds since the first beat."""
        return self._loop.time() - self._began if self._beats else 0.0

    def mark(self, what: str) -> None:
        """Note when something was done."""
        self.marks[what] = round(self.now, 3)
        print(f"  {self.now:6.1f} s {what}", flush=True)

    async def beats(self, count: int) -> None:
        """Read all pages so many times, five seconds apart. A read that hangs does not delay the next beat."""
        for _ in range(count):
            if self._beats == 0:
                self._began = self._loop.time()
            due = self._began + self._beats * EVERY_SEC
            await asyncio.sleep(max(0.0, due - self._loop.time()))
            self._beats += 1
            await asyncio.gather(*(roll.read(self._client, self.now) for roll in self.rolls.values()))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


async def meanwhile(recorder: Recorder, what: str, doing: Awaitable[None]) -> None:
    """Do something to the cluster while the beat goes on."""
    recorder.mark(what)
    await doing
    recorder.mark(f"{what}: done")


async def start(recorder: Recorder) -> None:
    """From before the server is there until the minute after which it shows its backlog gauges."""
    async with asyncio.TaskGroup() as group:
        group.create_task(meanwhile(recorder, "start", recorder.cluster.start()))
        group.create_task(recorder.beats(22))


async def restart(recorder: Recorder) -> None:
    """The server is killed and comes back three seconds later."""
    await recorder.beats(4)
    async with asyncio.TaskGroup() as group:
        group.create_task(meanwhile(recorder, "restart", recorder.cluster.restart_server(down_sec=3.0)))
        group.create_task(recorder.beats(20))


async def freeze(recorder: Recorder) -> None:
    """The server is stopped for half a minute: it accepts connections and answers none."""
    await recorder.beats(7)
    await recorder.cluster.freeze_server()
    recorder.mark("freeze")
    await recorder.beats(6)
    await recorder.cluster.thaw_server()
    recorder.mark("thaw")
    await recorder.beats(9)


async def idle(recorder: Recorder) -> None:
    """The load stopped; the last minute and a half of five."""
    await recorder.cluster.set_load(Profile(short_per_sec=0, long_per_sec=0))
    await asyncio.sleep(210)
    await recorder.beats(18)


async def workers_down(recorder: Recorder) -> None:
    """Both workers are killed while the load goes on, and come back two minutes later."""
    await recorder.beats(4)
    recorder.mark("workers killed")
    await recorder.cluster.kill_workers()
    await recorder.beats(22)
    async with asyncio.TaskGroup() as group:
        group.create_task(meanwhile(recorder, "workers started", recorder.cluster.start_workers()))
        group.create_task(recorder.beats(10))


async def mistakes(recorder: Recorder) -> None:
    """A client asks for what is not there, starts what runs already, and names no task queue."""
    await recorder.beats(3)
    recorder.mark("mistakes")
    client = await Client.connect(recorder.cluster.server.address)
    await client.start_workflow("Nobody", id="twice", task_queue="nobody-home")

    async def erring() -> None:
        while True:
            for mistake in (
                client.get_workflow_handle("not-there").describe(),
                client.get_workflow_handle("not-there").signal("hello"),
                client.start_workflow("Nobody", id="twice", task_queue="nobody-home"),
                client.start_workflow("Nobody", id="no-queue", task_queue=""),
            ):
                with suppress(RPCError, WorkflowAlreadyStartedError):
                    await mistake
            await asyncio.sleep(0.5)

    going_on = asyncio.create_task(erring())
    await recorder.beats(9)
    going_on.cancel()


SCENES: dict[str, Callable[[Recorder], Awaitable[None]]] = {
    "start": start,
    "restart": restart,
    "freeze": freeze,
    "workers-down": workers_down,
    "idle": idle,
    "mistakes": mistakes,
}


@asynccontextmanager
async def watched(*, running: bool) -> AsyncIterator[Recorder]:
    """A watched cluster, warm (or, not `running`, not yet started), with the Copilot's own traffic on it."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="copilot-pages-")))
        logs = folder / "logs"
        logs.mkdir()
        supervisor = await stack.enter_async_context(Supervisor(logs, lambda event: print(f"  {event.text}")))
        cluster = WatchedCluster(supervisor, folder, Baseline(dynamic_config={}))
        stack.push_async_callback(cluster.close)
        recorder = Recorder(cluster)
        stack.push_async_callback(recorder.aclose)
        api = TemporalApiSource(ClusterSettings(temporal=WatchedTemporal(address=cluster.server.address)))
        stack.push_async_callback(api.aclose)

        async def ask() -> None:
            while True:
                await api.read(Instant.now())
                await asyncio.sleep(API_EVERY_SEC)

        if running:
            await cluster.start()
        asking = asyncio.create_task(ask())
        try:
            if running:
                await asyncio.sleep(WARM_SEC)
            yield recorder
        finally:
            asking.cancel()


async def record(name: str, out: Path) -> None:
    """One scene."""
    print(name, flush=True)
    async with watched(running=name != "start") as recorder:
        await SCENES[name](recorder)
        for target, roll in recorder.rolls.items():
            file = out / name / f"{target}.pages.gz"
            roll.write(file, recorder.marks)
            failed = sum("code" in r for r in roll.reads)
            print(f"  {file.name}: {len(roll.pages)} pages, {failed} failed reads, {file.stat().st_size} bytes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*SCENES, []], default=list(SCENES))
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    for scene in options.names:
        asyncio.run(record(scene, options.out))
