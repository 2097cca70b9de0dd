"""Records what a real dev server logs in trouble: `python -m tests.data.record_logs`. Its database is locked for a
while, it is killed and started again, and started once more under rate limits; with load all the time.

Kept are at most `OF_A_KIND` lines of a kind (level, message, error), in their order, once as JSON and once as text.
"""

import asyncio
import gzip
import io
import json
import re
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

from copilot.demo.watched import SERVER, WatchedCluster
from copilot.embedded.supervisor import Child, Supervisor
from copilot.embedded.temporal import DevServer, DynamicConfig
from copilot.logs.lines import parse_line

HERE = Path(__file__).parent / "logs"
OF_A_KIND = 12
LIMITS: DynamicConfig = {"frontend.rps": 5, "frontend.namespaceRPS": 5, "history.persistenceMaxQPS": 20}


class LoggingServer(DevServer):
    """A dev server that logs in the given format."""

    log_format = "json"

    def child(self, dynamic_config: DynamicConfig) -> Child:
        child = super().child(dynamic_config)
        return replace(child, argv=tuple(self.log_format if a == "json" else a for a in child.argv))


class TextServer(LoggingServer):
    log_format = "text"


async def record(kind: type[LoggingServer], name: str) -> None:
    """One recording, about a minute and a half long."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        async with Supervisor(folder / "logs", lambda event: print(event.text)) as supervisor:
            watched = WatchedCluster(supervisor, folder)
            usual = watched.server
            watched.server = kind(
                usual.name,
                usual.database,
                usual.port,
                usual.metrics_port,
                usual.http_port,
                log_level=usual.log_level,
            )
            try:
                await watched.start()
                await asyncio.sleep(20)
                await watched.lock_database()
                await asyncio.sleep(25)
                await watched.unlock_database()
                await asyncio.sleep(10)
                await watched.restart_server(down_sec=3)
                await asyncio.sleep(10)
                await watched.restart_server(LIMITS)
                await asyncio.sleep(12)
            finally:
                await watched.close()
            keep(folder / "logs" / f"{SERVER}.log", name)


def keep(log: Path, name: str) -> None:
    """Keep some lines of every kind, without the recorder's paths."""
    kept: list[str] = []
    seen: Counter[tuple[int, str]] = Counter()
    for raw in log.read_text(encoding="utf-8", errors="replace").splitlines():
        line = parse_line(raw)
        kind = (line.level, re.sub(r"\S*\d\S*", "", line.text)) if line else (0, "")
        seen[kind] += 1
        if seen[kind] <= OF_A_KIND:
            kept.append(re.sub(r"/[\w/.-]*/watched\.sqlite", "/data/watched.sqlite", raw))
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as file:
        file.write(("\n".join(kept) + "\n").encode())
    HERE.mkdir(exist_ok=True)
    (HERE / f"{name}.gz").write_bytes(packed.getvalue())
    print(json.dumps({"name": name, "lines": len(kept), "bytes": len(packed.getvalue())}))


async def main() -> None:
    """Both formats, one after the other."""
    await record(LoggingServer, "server.json.log")
    await record(TextServer, "server.text.log")


if __name__ == "__main__":
    asyncio.run(main())
