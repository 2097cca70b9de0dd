"""Which pods there are, by Kubernetes' API: listed with the service account of the Copilot's own pod.

A short list every few seconds instead of a watch: from the API server's cache (resourceVersion=0) it costs little, and
there is no stream to keep alive, to resume, or to have expired."""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Self

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from copilot.errors import SourceError
from copilot.rules.signals.readings import MissingCode
from copilot.settings.discovery import PodSelector
from copilot.sources import time_limit
from copilot.sources.http import BearerToken, fetch, one_line, status_error, unreadable
from copilot.telemetry.spans import SourceClient

FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT_SEC = 3.0
MAX_PODS = 500
MAX_LIST_BYTES = 32_000_000
MAX_STATUS_BYTES = 10_000


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class _Port(_Part):
    name: str = ""
    container_port: int


class _Container(_Part):
    ports: list[_Port] = []


class _Spec(_Part):
    containers: list[_Container]
    init_containers: list[_Container] = []


class _Status(_Part):
    pod_ip: str = Field("", alias="podIP")


class _Metadata(_Part):
    name: str = ""
    deletion_timestamp: str | None = None
    continue_: str = Field("", alias="continue")


class _Pod(_Part):
    metadata: _Metadata
    spec: _Spec
    status: _Status = _Status()


class _PodList(_Part):
    kind: Literal["PodList"]
    metadata: _Metadata
    items: list[_Pod]


class _Failure(_Part):
    kind: Literal["Status"]
    message: str = ""


class Pod(NamedTuple):
    """A running pod; `port` is None where it has no port of the name that was looked for."""

    name: str
    address: str
    port: int | None


@dataclass(frozen=True, slots=True)
class PodApi:
    """The API server as a pod reaches it: its address, and the folder with the service account's `token` and `ca.crt`.
    Both files are read again for each list, because they are rotated."""

    host: str
    port: int
    folder: Path = FOLDER

    @classmethod
    def of_this_pod(cls, environment: Mapping[str, str] = os.environ) -> Self | None:
        """As Kubernetes tells every pod; None where this process is in none."""
        host, port = (environment.get(f"KUBERNETES_SERVICE_{name}", "") for name in ("HOST", "PORT"))
        return cls(host, int(port)) if host and port.isdigit() else None

    async def running(self, pods: PodSelector, port: int | str) -> list[Pod]:
        """The running pods with an address that are not being deleted, by name. SourceError: what the server, or the
        way to it, refused, and what to do."""
        try:
            listed = _PodList.model_validate_json(await self._list(pods))
        except ValidationError as error:
            raise unreadable(f"{self} answered with something else than a list of pods") from error
        except SourceError as error:
            raise SourceError(error.code, f"{self}: {error.detail}") from error
        if listed.metadata.continue_:
            raise SourceError(MissingCode.DROPPED, f"over {MAX_PODS} pods match {pods.selector}: select fewer")
        there = [pod for pod in listed.items if pod.status.pod_ip and pod.metadata.deletion_timestamp is None]
        return sorted(Pod(pod.metadata.name, pod.status.pod_ip, _number(pod.spec, port)) for pod in there)

    async def _list(self, pods: PodSelector) -> bytes:
        path = f"/api/v1/namespaces/{pods.namespace}/pods"
        query = {"labelSelector": pods.selector, "fieldSelector": "status.phase=Running"}
        query |= {"limit": str(MAX_PODS), "resourceVersion": "0"}
        late = f"timed out after {TIMEOUT_SEC:g} s: does a NetworkPolicy let this pod reach it?"
        async with self._client() as client, time_limit(TIMEOUT_SEC, late):
            body, _ = await fetch(
                client,
                "GET",
                httpx.URL(scheme="https", host=self.host, port=self.port, path=path).copy_merge_params(query),
                refusal=lambda response, text: self._refusal(response, text, pods.namespace),
                max_bytes=MAX_LIST_BYTES,
                error_bytes=MAX_STATUS_BYTES,
                what="list of pods",
                headers={"Accept": "application/json"},
            )
        return body

    def __str__(self) -> str:
        return f"Kubernetes' API at {self.host}:{self.port}"

    def _client(self) -> httpx.AsyncClient:
        authority = self.folder / "ca.crt"
        try:
            trust = ssl.create_default_context(cafile=authority)
        except OSError as error:
            detail = f"{authority} cannot be used: set automountServiceAccountToken: true for this pod"
            raise SourceError(MissingCode.FORBIDDEN, detail) from error
        return SourceClient("kubernetes", own_traces=True, verify=trust, auth=BearerToken(self.folder / "token"))

    def _refusal(self, response: httpx.Response, body: bytes, namespace: str) -> SourceError:
        try:
            text = one_line(_Failure.model_validate_json(body).message)
        except ValidationError:
            text = ""
        error = status_error(response, "" if text == response.reason_phrase else text, expected="list of pods")
        advice = {
            401: f"is {self.folder / 'token'} of this cluster, and not expired?",
            403: f"give this service account a Role in namespace {namespace} with verbs get and list on pods",
        }.get(response.status_code)
        return SourceError(error.code, f"{error.detail}: {advice}" if advice else error.detail)


def _number(spec: _Spec, port: int | str) -> int | None:
    """The port's number in a pod: the first one of that name, also of a sidecar."""
    if isinstance(port, int):
        return port
    ports = (each for container in (*spec.containers, *spec.init_containers) for each in container.ports)
    return next((each.container_port for each in ports if each.name == port), None)
