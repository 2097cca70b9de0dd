"""Servers that speak as AWS does: moto's S3, and a stand-in for Bedrock whose answers botocore's model checks."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from botocore import session, validate

from copilot.settings.models import KnowledgeSettings

BUCKET, REGION = "runbooks-of-tests", "eu-central-1"
BASE, SOURCE = "KB12345678", "DS12345678"


def aws_environment(monkeypatch: pytest.MonkeyPatch, *, s3: str = "", bedrock: str = "") -> None:
    """What an operator's shell would have: credentials, and where the services are."""
    found = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true",
             "AWS_ENDPOINT_URL_S3": s3, "AWS_ENDPOINT_URL_BEDROCK_AGENT": bedrock,
             "AWS_ENDPOINT_URL_BEDROCK_AGENT_RUNTIME": bedrock}  # fmt: skip
    for name, value in found.items():
        if value:
            monkeypatch.setenv(name, value)


def knowledge_settings(**changes: Any) -> KnowledgeSettings:
    values = {"source": "bedrock", "knowledge_base_id": BASE, "data_source_id": SOURCE, "bucket": BUCKET,
              "region": REGION, "timeout_sec": 30}  # fmt: skip
    return KnowledgeSettings(**(values | changes))


class S3Server:
    """moto's S3 in this process, on a port of its own, with one bucket that keeps versions."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client: Any = session.Session().create_client(
            "s3", region_name=REGION, endpoint_url=url, aws_access_key_id="test", aws_secret_access_key="test"
        )

    @classmethod
    @contextmanager
    def running(cls) -> "Iterator[S3Server]":
        from moto.server import ThreadedMotoServer

        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        try:
            host, port = server.get_host_and_port()
            yield cls(f"http://{host}:{port}")
        finally:
            server.stop()

    def empty(self) -> None:
        """Everything gone but the bucket."""
        httpx.post(f"{self.url}/moto-api/reset").raise_for_status()
        self.client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        self.client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})

    def names(self) -> list[str]:
        return [o["Key"] for o in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", ())]

    def uploads(self) -> dict[str, int]:
        """How often each key was written."""
        written = [v["Key"] for v in self.client.list_object_versions(Bucket=BUCKET).get("Versions", ())]
        return {key: written.count(key) for key in written}


@dataclass
class BedrockStandIn:
    """Bedrock's answers for one knowledge base. `fail` answers everything with (status, error code); `silent` lets
    every request wait for `release`. A job goes one step of `steps` on with each look at it."""

    url: str
    results: list[dict[str, Any]] = field(default_factory=list)
    steps: tuple[str, ...] = ("STARTING", "IN_PROGRESS", "COMPLETE")
    statistics: dict[str, int] = field(default_factory=dict)
    status: str = "ACTIVE"
    page: int = 2
    fail: tuple[int, str] | None = None
    body: bytes | None = None
    silent: bool = False
    release: threading.Event = field(default_factory=threading.Event)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    jobs: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    @contextmanager
    def running(cls) -> "Iterator[BedrockStandIn]":
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        server.daemon_threads = False  # closing waits for every handler, so that no socket is left open
        stand_in = cls(f"http://127.0.0.1:{server.server_address[1]}")
        server.stand_in = stand_in  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield stand_in
        finally:
            stand_in.release.set()
            server.shutdown()
            thread.join()
            server.server_close()

    def answer(self, method: str, path: str, sent: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """Operation and answer."""
        jobs = rf"/knowledgebases/{BASE}/datasources/{SOURCE}/ingestionjobs/"
        if (method, path) == ("POST", f"/knowledgebases/{BASE}/retrieve"):
            return "Retrieve", {"retrievalResults": self.results}
        if (method, path) == ("GET", f"/knowledgebases/{BASE}"):
            return "GetKnowledgeBase", {"knowledgeBase": self._base()}
        if (method, path) == ("PUT", jobs):
            return "StartIngestionJob", {"ingestionJob": self._start(sent)}
        if (method, path) == ("POST", jobs):
            return "ListIngestionJobs", self._list(sent)
        if method == "GET" and (found := re.fullmatch(jobs + "(.+)", path)):
            job = next((j for j in self.jobs if j["ingestionJobId"] == found[1]), None)
            return ("GetIngestionJob", {"ingestionJob": self._look(job)}) if job else None
        return None

    def _base(self) -> dict[str, Any]:
        at, role = "2026-11-22T03:00:00Z", "arn:aws:iam::123456789012:role/kb"
        return {
            "knowledgeBaseId": BASE, "name": "runbooks", "status": self.status, "createdAt": at, "updatedAt": at,
            "knowledgeBaseArn": f"arn:aws:bedrock:{REGION}:123456789012:knowledge-base/{BASE}", "roleArn": role,
            "knowledgeBaseConfiguration": {"type": "VECTOR"},
        }  # fmt: skip

    def _start(self, sent: dict[str, Any]) -> dict[str, Any]:
        number = len(self.jobs)
        at = f"2026-11-22T03:{number:02}:00.123456+00:00"
        job = {
            "knowledgeBaseId": BASE, "dataSourceId": SOURCE, "ingestionJobId": f"JOB{number:07}",
            "status": self.steps[0], "startedAt": at, "updatedAt": at, "statistics": {},
            "description": sent.get("description", "none"),
        }  # fmt: skip
        self.jobs.append(job)
        return dict(job)

    def _look(self, job: dict[str, Any]) -> dict[str, Any]:
        place = self.steps.index(job["status"])
        job["status"] = self.steps[min(place + 1, len(self.steps) - 1)]
        job["statistics"] = self.statistics
        if job["status"] == "FAILED":
            job["failureReasons"] = ["the role may not read the bucket"]
        return dict(job)

    def _list(self, sent: dict[str, Any]) -> dict[str, Any]:
        newest = sorted(self.jobs, key=lambda j: str(j["startedAt"]), reverse=sent["sortBy"]["order"] == "DESCENDING")
        first = int(sent.get("nextToken", 0))
        until = first + min(self.page, sent["maxResults"])
        summaries = [{k: v for k, v in j.items() if k != "failureReasons"} for j in newest[first:until]]
        answer: dict[str, Any] = {"ingestionJobSummaries": summaries}
        return answer | ({"nextToken": str(until)} if until < len(newest) else {})


@cache
def _model(service: str) -> Any:
    return session.Session().get_service_model(service)


def _checked(operation: str, answer: dict[str, Any]) -> bytes:
    """The answer as the service would send it; an AssertionError where its model knows no such answer."""
    service = "bedrock-agent-runtime" if operation == "Retrieve" else "bedrock-agent"
    report = validate.ParamValidator().validate(answer, _model(service).operation_model(operation).output_shape)
    assert not report.has_errors(), report.generate_report()
    return json.dumps(answer).encode()


class _Handler(BaseHTTPRequestHandler):
    def _serve(self) -> None:
        stand_in: BedrockStandIn = self.server.stand_in  # type: ignore[attr-defined]
        length = int(self.headers.get("Content-Length", 0))
        sent = json.loads(self.rfile.read(length) or b"{}")
        stand_in.asked.append((f"{self.command} {self.path}", sent))
        if stand_in.silent:
            stand_in.release.wait(30)
        if stand_in.fail is not None:
            self._send(stand_in.fail[0], b'{"message": "said the stand-in"}', stand_in.fail[1])
            return
        found = stand_in.answer(self.command, self.path, sent)
        if found is None:
            self._send(404, b'{"message": "there is none"}', "ResourceNotFoundException")
            return
        self._send(200, stand_in.body if stand_in.body is not None else _checked(*found))

    def _send(self, status: int, body: bytes, error: str = "") -> None:
        self.send_response(status)
        if error:
            self.send_header("x-amzn-ErrorType", error)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = _serve

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""
