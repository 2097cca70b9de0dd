"""A watched cluster of six server processes, as production runs Temporal, on a database behind a proxy.

The server and its SQL tool are programs of the user's: the repository and its packages have neither.
"""

import asyncio
import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from copilot.demo.watched import Baseline, WatchedCluster
from copilot.embedded.ports import LOOPBACK, free_ports
from copilot.embedded.supervisor import Child, Supervisor, http_responds
from copilot.embedded.temporal import DynamicConfig, frontend_healthy
from copilot.errors import StartError
from lab.database import ENGINE, ROLE, Database

PROCESSES = {
    "history-1": "history", "history-2": "history", "matching-1": "matching", "matching-2": "matching",
    "frontend-1": "frontend", "worker-role": "worker",
}  # fmt: skip
"""The processes and the service of each, in the order of their start."""
APART_SEC = 5.0
"""Processes that start at once fail: "SaveClusterMetadata encountered version mismatch"."""
SHARDS = 32
CONNECTIONS = {"temporal": 10, "temporal_visibility": 2}
"""The size of a process' connection pools."""
NAMESPACE_WITHIN = timedelta(minutes=1)
SQL_TOOLS = ("temporal-sql-tool", "sql")
"""Its names in Temporal's images, and after `go install`."""


def find_sql_tool(server: Path, named: Path | None = None) -> Path:
    """The SQL tool: the one that is named, else the one beside the server, else one on PATH. StartError says what is
    missing."""
    if not server.is_file():
        raise StartError(f"there is no server program {server}: name Temporal's own, such as temporal-server")
    beside = [str(server.parent / name) for name in SQL_TOOLS]
    for candidate in [str(named)] if named else [*beside, SQL_TOOLS[0]]:
        if found := shutil.which(candidate):
            return Path(found).absolute()
    raise StartError(
        f"{named or 'temporal-sql-tool'} is missing, the program that creates the server's schema: put it beside "
        f"{server}, or name it with --sql-tool"
    )


class ServerProcesses(WatchedCluster):
    """Frontend, history (2), matching (2) and worker role on PostgreSQL, with the workers and load of every watched
    cluster. Faults of a process go through `supervisor`, under its name."""

    def __init__(
        self, supervisor: Supervisor, folder: Path, baseline: Baseline, *, program: Path, sql_tool: Path
    ) -> None:
        super().__init__(supervisor, folder, baseline)
        folder.chmod(0o711)  # PostgreSQL may run as another user.
        self.supervisor, self._program, self._config = supervisor, program.absolute(), folder / "config"
        database, proxy, *ports = free_ports(2 + 3 * len(PROCESSES))
        self._ports = {name: ports[3 * i : 3 * i + 3] for i, name in enumerate(PROCESSES)}
        self._ports["frontend-1"][0] = self.server.port
        self.database = Database(supervisor, folder / "postgres", sql_tool, database, proxy)

    @property
    def server_urls(self) -> tuple[str, ...]:
        """The metrics pages of the processes."""
        return tuple(f"http://{LOOPBACK}:{page}/metrics" for _, _, page in self._ports.values())

    async def start_server(self, extra: DynamicConfig | None = None) -> None:
        """Start the database and the processes, one after the other, and register the namespace. StartError says what
        cannot be started."""
        self._config.mkdir(mode=0o700)
        await self.database.start()
        await self.set_limits(extra or {})
        for name in PROCESSES:
            (self._config / f"{name}.yaml").write_text(self._static_config(name), encoding="utf-8")
            await self.supervisor.start(self._process(name))
            await asyncio.sleep(APART_SEC)
        await self._register_namespace()

    async def set_limits(self, limits: DynamicConfig) -> None:
        """Replace the dynamic config by the baseline's and `limits`. The processes read it every few seconds."""
        config = {**self.baseline.dynamic_config, **limits}
        draft = self._config / "dynamic.draft"
        draft.write_text(json.dumps({key: [{"value": value}] for key, value in config.items()}), encoding="utf-8")
        draft.replace(self._config / "dynamic.yaml")

    def _process(self, name: str) -> Child:
        argv = (str(self._program), "--root", str(self._config), "--config", ".", "--env", name, "--allow-no-auth",
                "start", "--service", PROCESSES[name])  # fmt: skip
        page = f"http://{LOOPBACK}:{self._ports[name][2]}/metrics"
        ready = frontend_healthy(self.server.address) if PROCESSES[name] == "frontend" else http_responds(page)
        # Six processes share the machine: with a thread for each of its cores they mostly wait for each other.
        return Child(name, argv, env={"GOMAXPROCS": "1"}, ready=ready, ready_within=60.0, stop_within=15.0)

    def _static_config(self, name: str) -> str:
        """The static config of a process, as JSON, which is YAML too."""
        others = {service: self._ports[other] for other, service in PROCESSES.items()}
        rpc = {**others, PROCESSES[name]: self._ports[name]}
        page = f"{LOOPBACK}:{self._ports[name][2]}"
        here = {"enabled": True, "initialFailoverVersion": 1, "rpcName": "frontend", "rpcAddress": self.server.address}
        config: dict[str, Any] = {
            "log": {"stdout": True, "level": "warn"},
            "persistence": {
                "defaultStore": "temporal", "visibilityStore": "temporal_visibility", "numHistoryShards": SHARDS,
                "datastores": {store: {"sql": self._store(store, size)} for store, size in CONNECTIONS.items()},
            },
            "global": {
                "membership": {"maxJoinDuration": "30s", "broadcastAddress": LOOPBACK},
                "metrics": {"prometheus": {"framework": "tally", "timerType": "histogram", "listenAddress": page}},
            },
            "services": {
                service: {"rpc": {"grpcPort": grpc, "membershipPort": membership, "bindOnLocalHost": True}}
                for service, (grpc, membership, _) in rpc.items()
            },
            "clusterMetadata": {
                "enableGlobalNamespace": False, "failoverVersionIncrement": 10, "masterClusterName": "active",
                "currentClusterName": "active", "clusterInformation": {"active": here},
            },
            "dynamicConfigClient": {"filepath": str(self._config / "dynamic.yaml"), "pollInterval": "5s"},
        }  # fmt: skip
        return json.dumps(config, indent=1)

    def _store(self, name: str, size: int) -> dict[str, Any]:
        return {
            "pluginName": ENGINE, "databaseName": name, "connectAddr": self.database.address, "user": ROLE,
            "connectProtocol": "tcp", "password": self.database.password, "maxConns": size, "maxIdleConns": size,
        }  # fmt: skip

    async def _register_namespace(self) -> None:
        client = await Client.connect(self.server.address)
        day = Duration(seconds=86_400)
        request = RegisterNamespaceRequest(namespace=client.namespace, workflow_execution_retention_period=day)
        try:
            await client.workflow_service.register_namespace(request, retry=True, timeout=NAMESPACE_WITHIN)
        except RPCError as error:
            if error.status is not RPCStatusCode.ALREADY_EXISTS:  # An attempt that timed out may have registered it.
                raise StartError(f"the namespace {client.namespace} cannot be registered: {error}") from error
