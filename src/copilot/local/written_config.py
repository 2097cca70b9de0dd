"""The copilot.toml of an embedded Copilot that watches an embedded cluster."""

import json
from dataclasses import dataclass
from pathlib import Path

from copilot.local.ports import LOOPBACK
from copilot.local.postgres import Postgres
from copilot.local.temporal_server import DevServer
from copilot.local.watched import WatchedCluster


@dataclass(frozen=True)
class Watching:
    """How a cluster is watched. `logs`: the folder its server's log file is in."""

    cluster: str
    interval_sec: float
    task_queues: tuple[str, ...]
    logs: Path


def write_config(
    file: Path, watched: WatchedCluster, watching: Watching, own_server: DevServer, postgres: Postgres, api_port: int
) -> None:
    """Write the file, for its owner alone: the store's URL has a password in it."""
    file.touch(mode=0o600)
    quoted = json.dumps  # A JSON string of ASCII is a TOML string.
    endpoints = [(watched.relay.url, "server"), *((url, "worker") for url in watched.worker_urls)]
    lines = [
        "# Written by `copilot demo`; read `copilot up --help` for a configuration of your own.",
        "[temporal]",
        f"address = {quoted(own_server.address)}",
        "[store]",
        f"url = {quoted(postgres.url)}",
        "[api]",
        f"host = {quoted(LOOPBACK)}",
        f"port = {api_port}",
        "[[clusters]]",
        f"name = {quoted(watching.cluster)}",
        f"interval_sec = {watching.interval_sec:g}",
        "[clusters.temporal]",
        f"address = {quoted(watched.server.address)}",
        f"task_queues = {quoted(watching.task_queues)}",
        "[clusters.logs]",
        f"files = [{quoted(str(watching.logs / f'{watched.server.name}.log'))}]",
    ]
    for url, role in endpoints:
        lines += ["[[clusters.metrics]]", f"url = {quoted(url)}", f"role = {quoted(role)}"]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
