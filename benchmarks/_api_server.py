"""The API of the load test, a process of its own: the real app over the real store. Its loop is a stand-in that has a
new verdict every few seconds and gives it as the running loop does, as a document. `python -m benchmarks._api_server
STORE_URL` prints the port and runs until it is ended."""

import asyncio
import sys

from whenever import Instant

from benchmarks._api_past import CLUSTER, newest
from copilot.api.app import create_app
from copilot.api.deps import Deps
from copilot.api.serve import freeze_heap, listening_socket, serve_on
from copilot.rules.model import Evaluation
from copilot.store.postgres import PostgresStore

NEW_EVERY_SEC = 5


class Loop:
    """Says the same thing anew every five seconds."""

    def __init__(self) -> None:
        self._document = newest(Instant.now()).model_dump(mode="json")

    async def evaluation(self, cluster: str) -> Evaluation | None:
        """The newest evaluation, as it is read from the loop's answer."""
        time = Instant.from_timestamp(Instant.now().timestamp() // NEW_EVERY_SEC * NEW_EVERY_SEC)
        said = Evaluation.model_validate(self._document)
        return said.model_copy(update={"time": time, "evaluation_id": f"{cluster}@{time.format_iso()}"})

    async def revision(self, cluster: str) -> str:  # noqa: ARG002
        """Changes every five seconds."""
        return str(Instant.now().timestamp() // NEW_EVERY_SEC)

    async def unsaved(self, cluster: str) -> str | None:  # noqa: ARG002
        """No verdict waits."""
        return None

    async def problems(self, cluster: str) -> dict[str, str]:  # noqa: ARG002
        """Every loop runs."""
        return {}

    async def cycle_sec(self, cluster: str) -> float | None:  # noqa: ARG002
        """Not known: nothing is read."""
        return None


async def run(store_url: str) -> None:
    """Serve until cancelled."""
    app = create_app(Deps(store=PostgresStore(store_url), live=Loop(), clusters=(CLUSTER,), now=Instant.now))
    listening = listening_socket("127.0.0.1", 0)
    freeze_heap()
    print(listening.getsockname()[1], flush=True)
    await serve_on(app, listening)


if __name__ == "__main__":
    asyncio.run(run(*sys.argv[1:]))
