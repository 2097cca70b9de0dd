"""Connections to a Temporal frontend, rate-limited calls, and failures as SourceError."""

import asyncio
import re
from datetime import timedelta
from typing import Any

from google.protobuf.message import Message
from temporalio.api.workflowservice.v1 import GetClusterInfoRequest
from temporalio.client import Client
from temporalio.envconfig import ClientConfigProfile, ClientConnectConfig
from temporalio.service import RPCError, RPCStatusCode

from copilot.errors import SettingsError, SourceError
from copilot.rules.signals.readings import MissingCode, ServerFacts
from copilot.settings.clusters import TemporalSettings, WatchedTemporal
from copilot.sources.http import one_line

CALLS_PER_SEC = 10.0
CONCURRENT_CALLS = 10
CALL_TIMEOUT = timedelta(seconds=3)
MAX_PAGES = 3
MAX_DETAIL = 160

_CODES = {
    RPCStatusCode.DEADLINE_EXCEEDED: (MissingCode.TIMEOUT, "no answer in time"),
    RPCStatusCode.CANCELLED: (MissingCode.TIMEOUT, "no answer in time"),
    RPCStatusCode.PERMISSION_DENIED: (MissingCode.FORBIDDEN, "permission denied"),
    RPCStatusCode.UNAUTHENTICATED: (MissingCode.FORBIDDEN, "not authenticated"),
    RPCStatusCode.NOT_FOUND: (MissingCode.ABSENT, "not found"),
    RPCStatusCode.UNIMPLEMENTED: (MissingCode.ABSENT, "this server does not have the call"),
    RPCStatusCode.RESOURCE_EXHAUSTED: (MissingCode.DROPPED, "rejected by a rate limit of the cluster"),
}


def rpc_error(error: RPCError, request: str = "") -> SourceError:
    """The error of a failed call, in one line. `request` names what was requested."""
    code, detail = _CODES.get(error.status, (MissingCode.TARGET_DOWN, one_line(error.message, MAX_DETAIL)))
    return SourceError(code, detail, asked=request)


def connect_failure(error: Exception) -> str:
    """Why a Temporal client could not connect, in a few words."""
    text = str(error)
    for known in ("connection refused", "dns error", "certificate", "timed out", "deadline"):
        if known in text.lower():
            return known
    return "cannot connect: " + one_line(text, MAX_DETAIL)


def connect_config(settings: TemporalSettings) -> ClientConnectConfig:
    """How to connect. Address and namespace come from copilot.toml, or else from the TEMPORAL_* profile; TLS and API
    key come from the profile, but for a watched cluster with an API key of its own. SettingsError: the profile or the
    key's file cannot be read."""
    try:
        profile = ClientConfigProfile.load(settings.profile)
    except RuntimeError as error:
        raise SettingsError([f"temporal.profile: {error}"]) from error
    configured = settings.model_fields_set
    config = profile.to_client_connect_config()
    if isinstance(settings, WatchedTemporal) and (key := _key_of(settings)) is not None:
        config["api_key"], config["tls"] = key, config.get("tls") or True
    config["target_host"] = (profile.address if "address" not in configured else None) or settings.address
    config["namespace"] = (profile.namespace if "namespace" not in configured else None) or settings.namespace
    return config


def _key_of(settings: WatchedTemporal) -> str | None:
    if settings.api_key_file is None:
        return settings.api_key.get_secret_value() if settings.api_key is not None else None
    try:
        return settings.api_key_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"api_key_file {settings.api_key_file} cannot be read"]) from error


async def watched_client(temporal: WatchedTemporal) -> Client:
    """A client of the watched cluster that connects at its first call. SettingsError: its profile cannot be read."""
    return await Client.connect(**connect_config(temporal), lazy=True, identity="temporal-sre-copilot")


class RateLimitedClient:
    """Read-only calls of the workflow service, ten started per second, at most ten at a time. `calls` counts them."""

    def __init__(self, client: Client, calls_per_sec: float = CALLS_PER_SEC) -> None:
        self._pause_sec = 1.0 / calls_per_sec
        self._service = client.workflow_service
        self.calls = 0
        self._slots = asyncio.Semaphore(CONCURRENT_CALLS)
        self._lock = asyncio.Lock()
        self._next = 0.0

    async def call(self, request: Message, what: str = "") -> Any:
        """The answer to a request. Raises SourceError, which names `what` was requested, if that is given."""
        try:
            return await self.call_raw(request)
        except RPCError as error:
            raise rpc_error(error, what) from error

    async def call_raw(self, request: Message) -> Any:
        """As `call`. Raises RPCError, or SourceError when there is no connection."""
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(request).__name__.removesuffix("Request")).lower()
        async with self._slots:
            await self.wait()
            try:
                return await getattr(self._service, name)(request, timeout=CALL_TIMEOUT)
            except RuntimeError as error:
                raise SourceError(MissingCode.TARGET_DOWN, connect_failure(error)) from error

    async def pages(self, request: Any, what: str) -> list[Any]:
        """The first three pages of a list. Raises SourceError."""
        pages = [await self.call(request, what)]
        while pages[-1].next_page_token and len(pages) < MAX_PAGES:
            request.next_page_token = pages[-1].next_page_token
            pages.append(await self.call(request, what))
        return pages

    async def wait(self) -> None:
        """Wait until one more call may start."""
        loop = asyncio.get_running_loop()
        async with self._lock:
            await asyncio.sleep(max(0.0, self._next - loop.time()))
            self._next = loop.time() + self._pause_sec
            self.calls += 1

    async def server_facts(self) -> ServerFacts:
        """Version, name, id and history shards of the cluster. Raises SourceError."""
        found = await self.call(GetClusterInfoRequest(), "the cluster")
        return ServerFacts(
            version=found.server_version,
            cluster_name=found.cluster_name,
            cluster_id=found.cluster_id,
            history_shards=found.history_shard_count,
        )
