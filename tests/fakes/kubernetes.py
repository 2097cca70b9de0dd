"""A strict stand-in of Kubernetes' API server: it lists pods, over HTTPS, to one service account that may do that in
some namespaces, and refuses everything else as the real one does."""

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

import trustme

from copilot.sources.scrape.pods import PodApi
from tests.fakes.http import Request, read_request, response
from tests.fakes.serving import serving

LIST = {"labelSelector", "fieldSelector", "limit", "resourceVersion"}
NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"
KEY = re.compile(rf"([a-z0-9.-]+/)?{NAME}")
USER = "system:serviceaccount:copilot:copilot"


def pod(name: str, ip: str, labels: dict[str, str], *ports: tuple[str, int], phase: str = "Running") -> dict[str, Any]:
    """A pod as the server has it, cut down to what the reference calls required and what matters here."""
    containers: list[dict[str, Any]] = [{"name": "side"}]
    containers += [{"name": f"c-{n}", "ports": [{"name": n, "containerPort": p, "protocol": "TCP"}]} for n, p in ports]
    status = {"phase": phase, "podIP": ip, "podIPs": [{"ip": ip}]} if ip else {"phase": phase}
    return {
        "metadata": {"name": name, "namespace": "temporal", "labels": labels, "uid": name},
        "spec": {"containers": containers, "nodeName": "n1"},
        "status": status,
    }


class ApiServer:
    """`pods` by namespace; `token` is the one that it accepts, `allowed` the namespaces of the account's Roles. With
    `hang` it answers nothing, with `answer` that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pods: dict[str, list[dict[str, Any]]] = {}
        self.allowed = {"temporal"}
        self.hang = False
        self.answer: bytes | None = None
        self.lists = 0
        self.port = 0
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(folder / "ca.crt")
        self.rotate("first")

    def rotate(self, token: str) -> None:
        """Another token counts now, and is in the file."""
        self.token = token
        (self.folder / "token").write_text(f"{token}\n")

    @property
    def api(self) -> PodApi:
        """As a pod with this service account reaches it."""
        return PodApi("127.0.0.1", self.port, self.folder)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await read_request(reader)
        if self.hang:
            await reader.read()
            return
        code, body = self._answered(request)
        reason = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}[code]
        content = self.answer or json.dumps(body).encode()
        writer.write(response(f"{code} {reason}", content, "Content-Type: application/json", "Connection: close"))
        await writer.drain()

    def _answered(self, request: Request) -> tuple[int, dict[str, Any]]:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return failure(401, "Unauthorized")
        asked = urlsplit(request.path)
        found = re.fullmatch(r"/api/v1/namespaces/([a-z0-9-]+)/pods", asked.path)
        if found is None or request.method != "GET":
            return failure(404, "the server could not find the requested resource")
        if (namespace := found[1]) not in self.allowed:
            what = 'cannot list resource "pods" in API group "" in the namespace'
            return failure(403, f'pods is forbidden: User "{USER}" {what} "{namespace}"')
        query = dict(parse_qsl(asked.query, strict_parsing=True))
        if query.keys() - LIST or query.get("fieldSelector") != "status.phase=Running":
            return failure(400, f"unknown parameters, or field selector: {unquote(asked.query)}")
        if query["resourceVersion"] != "0" or not query["limit"].isdigit():
            return failure(400, f"unable to parse {unquote(asked.query)}")
        try:
            wanted = requirements(query["labelSelector"])
        except ValueError as error:
            return failure(400, f"unable to parse requirement: {error}")
        self.lists += 1
        running = [each for each in self.pods.get(namespace, []) if each["status"]["phase"] == "Running"]
        items = [each for each in running if all(matches(each["metadata"]["labels"], *one) for one in wanted)]
        metadata = {"resourceVersion": "7"} | ({"continue": "more"} if len(items) > int(query["limit"]) else {})
        return 200, {"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": items}

    @classmethod
    @asynccontextmanager
    async def start(cls, folder: Path) -> AsyncIterator[Self]:
        """A server on a free port, whose service account is in `folder`."""
        self = cls(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert("127.0.0.1").configure_cert(context)
        async with serving(self.handle, context) as port:
            self.port = port
            yield self


def failure(code: int, message: str) -> tuple[int, dict[str, Any]]:
    """A refusal as the server words it."""
    return code, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}


def requirements(selector: str) -> list[tuple[str, str, set[str]]]:
    """The requirements of a label selector: key, operator, values. ValueError as the server has it."""
    found = []
    for text in re.split(r",(?![^(]*\))", selector):
        key, operator, values = text.strip(), "exists", set[str]()
        if among := re.fullmatch(r"(\S+)\s+(in|notin)\s*\((.*)\)", key):
            key, operator, values = among[1], among[2], {value.strip() for value in among[3].split(",")}
        elif equal := re.fullmatch(r"(.*?)\s*(!=|==|=)\s*(.*)", key):
            key, operator, values = equal[1], "notin" if equal[2] == "!=" else "in", {equal[3]}
        elif key.startswith("!"):
            key, operator = key[1:].strip(), "!"
        if not KEY.fullmatch(key) or not all(re.fullmatch(f"({NAME})?", value) for value in values):
            raise ValueError(text)
        found.append((key, operator, values))
    return found


def matches(labels: dict[str, str], key: str, operator: str, values: set[str]) -> bool:
    """Whether labels meet a requirement; a label that is absent is not among any values."""
    match operator:
        case "exists":
            return key in labels
        case "!":
            return key not in labels
        case "in":
            return labels.get(key) in values
    return labels.get(key) not in values
