"""The API of the load test, a process of its own: the real app and store; its loop is a stand-in that has a new verdict
every few seconds and gives it as the running loop does, as a document. `python -m benchmarks._api_server STORE_URL`
prints the port and runs until it is ended."""

import asyncio
import json
import sys

from whenever import Instant

from benchmarks._api_past import CLUSTER, INTERVAL_SEC, tick
from copilot.api.app import create_app
from copilot.api.deps import Deps
from copilot.api.serve import listening_socket, serve_on
from copilot.core.assessment import Evaluation
from copilot.store.postgres import PostgresStore

NEW_EVERY_SEC = 5


class Loop:
    """Says of each five seconds the same."""

    async def evaluation(self, cluster: str) -> Evaluation | None:  # noqa: ARG002
        """The newest evaluation, read from JSON."""
        second = Instant.now().timestamp() // NEW_EVERY_SEC * NEW_EVERY_SEC
        document = json.loads(tick(second // NEW_EVERY_SEC, Instant.from_timestamp(second)).model_dump_json())
        return Evaluation.model_validate(document)

    async def cycle_sec(self, cluster: str) -> float | None:  # noqa: ARG002
        """How long that took."""
        return INTERVAL_SEC / 60


async def run(store_url: str) -> None:
    """Serve until cancelled."""
    store = PostgresStore(store_url)
    app = create_app(Deps(store=store, live=Loop(), clusters=(CLUSTER,), now=Instant.now))
    listening = listening_socket("127.0.0.1", 0)
    print(listening.getsockname()[1], flush=True)
    await serve_on(app, listening)


if __name__ == "__main__":
    asyncio.run(run(*sys.argv[1:]))
