"""A whole Copilot beside a scenario's cluster, and somebody who looks at its page all the time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from whenever import Instant

from copilot.demo.run import verdicts_client
from copilot.demo.stack import Watching, write_config
from copilot.demo.watched import WatchedCluster
from copilot.embedded.ports import LOOPBACK, free_ports
from copilot.embedded.processes import CopilotProcesses, start_own_servers
from copilot.embedded.supervisor import Supervisor
from lab.page_seen import Look, read_page

LOOK_EVERY_SEC = 2.0


@asynccontextmanager
async def copilot_beside(
    supervisor: Supervisor, folder: Path, watched: WatchedCluster, watching: Watching
) -> AsyncIterator[httpx.AsyncClient]:
    """The Copilot's own servers, worker, API and loops, watching; the supervisor ends them. StartError."""
    own = _own_folder(folder)
    *ports, api_port = free_ports(5)
    page, config = f"http://{LOOPBACK}:{api_port}", own / "copilot.toml"
    servers = await start_own_servers(supervisor, own, ports, throwaway=True)
    write_config(config, watched, watching, *servers, api_port)
    processes = CopilotProcesses(supervisor, config, page)
    await processes.set_up_store()
    await processes.start()
    async with verdicts_client(page) as client:
        yield client


def _own_folder(folder: Path) -> Path:
    folder.chmod(0o711)  # PostgreSQL, which runs as another user under root, passes through.
    own = folder / "copilot"
    own.mkdir()
    return own


async def keep_looking(client: httpx.AsyncClient, looks: list[Look]) -> None:
    """Look at the page until cancelled; what does not answer is not a look."""
    while True:
        try:
            answer = await client.get("/")
        except httpx.HTTPError:
            pass
        else:
            if answer.status_code == httpx.codes.OK:
                looks.append(read_page(answer.text, Instant.now()))
        await asyncio.sleep(LOOK_EVERY_SEC)
