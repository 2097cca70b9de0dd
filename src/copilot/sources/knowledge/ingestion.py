"""Upload the runbooks to S3, and have a Bedrock Knowledge Base ingest them."""

import hashlib
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasPath, BeforeValidator, Field, ValidationError
from whenever import Instant

from copilot.errors import SettingsError, SourceError
from copilot.explain.model.knowledge import promql_in
from copilot.rules.signals.readings import Frozen, MissingCode
from copilot.settings.models import KnowledgeSettings
from copilot.sources.knowledge.aws import aws_errors, call, client
from copilot.sources.knowledge.runbooks import files

ATTEMPTS = 3
DIGEST = "sha256"
"""The metadata key of an object for the SHA-256 of its bytes."""
Progress = Callable[[str, int, int], None]
"""Called for each file with its name, its number and the number of files."""
JobStatus = Literal["STARTING", "IN_PROGRESS", "COMPLETE", "FAILED", "STOPPING", "STOPPED"]
Time = Annotated[str, BeforeValidator(lambda time: Instant(time).format_iso())]
RUNNING = frozenset({"STARTING", "IN_PROGRESS", "STOPPING"})


@dataclass(frozen=True, slots=True)
class SyncResult:
    """The result of a sync, or with `dry_run` what it would be. `stale`: objects without a file, which only `delete`
    removes; `refused`: files with PromQL, with the piece found in each."""

    bucket: str
    prefix: str
    dry_run: bool
    uploaded: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def sync(
    settings: KnowledgeSettings, *, delete: bool = False, dry_run: bool = False, progress: Progress | None = None
) -> SyncResult:
    """Upload the runbooks that differ from the objects under the prefix. Only `.md` objects directly under it count.
    SettingsError without a bucket or where a file cannot be read; SourceError where S3 fails: objects uploaded until
    then stay, and the next sync continues."""
    if settings.bucket is None:
        raise SettingsError(["knowledge.bucket is not set: name the S3 bucket the data source reads, and its region"])
    s3, result = client("s3", settings, ATTEMPTS), SyncResult(settings.bucket, settings.prefix, dry_run)
    local = _local(settings.folder, result.refused)
    objects = dict(_objects(s3, settings.bucket, settings.prefix))
    for number, (name, body) in enumerate(local.items(), 1):
        if name in objects and _same(s3, result, name, body, *objects[name]):
            result.unchanged.append(name)
        else:
            if not dry_run:
                digest = hashlib.sha256(body).hexdigest()
                kind = "text/markdown; charset=utf-8"
                _object(s3, "put_object", result, name, Body=body, ContentType=kind, Metadata={DIGEST: digest})
            result.uploaded.append(name)
        if progress is not None:
            progress(name, number, len(local))
    for name in sorted(set(objects) - set(local)):
        if delete and not dry_run:
            _object(s3, "delete_object", result, name)
        (result.deleted if delete else result.stale).append(name)
    return result


def _local(folder: Path | None, refused: dict[str, str]) -> dict[str, bytes]:
    """The runbooks' bytes by name, without those that contain PromQL, which go into `refused`."""
    try:
        found = {name: path.read_bytes() for name, path in files(folder).items()}
    except OSError as error:
        raise SettingsError([f"the runbooks in {error.filename} cannot be read: {error.strerror}"]) from error
    refused |= {n: query for n, body in found.items() if (query := promql_in(body.decode("utf-8", errors="replace")))}
    return {name: body for name, body in found.items() if name not in refused}


def _objects(s3: Any, bucket: str, prefix: str) -> Iterator[tuple[str, tuple[str, int]]]:
    with aws_errors(f"s3://{bucket}/{prefix}"):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/"):
            for found in page.get("Contents", ()):
                name = str(found["Key"]).removeprefix(prefix)
                if name.endswith(".md"):
                    yield name, (str(found["ETag"]).strip('"'), int(found["Size"]))


def _same(s3: Any, sync: SyncResult, name: str, body: bytes, etag: str, size: int) -> bool:
    """Whether the object has these bytes: by its ETag, or by our digest where encryption changes the ETag."""
    if size != len(body) or etag == hashlib.md5(body, usedforsecurity=False).hexdigest():
        return size == len(body)
    metadata = _object(s3, "head_object", sync, name).get("Metadata", {})
    return bool(metadata.get(DIGEST) == hashlib.sha256(body).hexdigest())


def _object(s3: Any, operation: str, sync: SyncResult, name: str, **parameters: Any) -> dict[str, Any]:
    key = f"{sync.prefix}{name}"
    return call(s3, operation, f"s3://{sync.bucket}/{key}", Bucket=sync.bucket, Key=key, **parameters)


def _count(name: str) -> Any:
    return Field(default=0, validation_alias=AliasPath("statistics", f"numberOf{name}"))


class IngestionJob(Frozen, extra="ignore"):
    """An ingestion job. Counts are documents so far; `started_at` is ISO 8601 UTC; `reasons` say why it failed."""

    id: str = Field(validation_alias="ingestionJobId")
    status: JobStatus
    started_at: Time = Field(validation_alias="startedAt")
    scanned: int = _count("DocumentsScanned")
    added: int = _count("NewDocumentsIndexed")
    changed: int = _count("ModifiedDocumentsIndexed")
    removed: int = _count("DocumentsDeleted")
    failed: int = _count("DocumentsFailed")
    reasons: tuple[str, ...] = Field(default=(), validation_alias="failureReasons")

    @property
    def running(self) -> bool:
        """Whether it is still running."""
        return self.status in RUNNING

    @property
    def ok(self) -> bool:
        """Whether it is running, or ingested every document."""
        return self.running or (self.status == "COMPLETE" and not self.failed)


class KnowledgeBase(Frozen, extra="ignore"):
    """A knowledge base in Bedrock."""

    id: str = Field(validation_alias="knowledgeBaseId")
    name: str
    status: str
    reasons: tuple[str, ...] = Field(default=(), validation_alias="failureReasons")


class Ingestion:
    """One data source of one knowledge base. SettingsError where their ids are not set; methods raise SourceError."""

    def __init__(self, settings: KnowledgeSettings) -> None:
        if settings.knowledge_base_id is None or settings.data_source_id is None:
            raise SettingsError(["knowledge.knowledge_base_id and knowledge.data_source_id are not set"])
        self._ids = {"knowledgeBaseId": settings.knowledge_base_id, "dataSourceId": settings.data_source_id}
        self._name = f"data source {settings.data_source_id} of knowledge base {settings.knowledge_base_id}"
        self._client = client("bedrock-agent", settings, ATTEMPTS)

    def base(self) -> KnowledgeBase:
        """The knowledge base."""
        base_id = self._ids["knowledgeBaseId"]
        answer = call(self._client, "get_knowledge_base", f"knowledge base {base_id}", knowledgeBaseId=base_id)
        return KnowledgeBase.model_validate(answer["knowledgeBase"])

    def start(self, description: str = "copilot kb start-ingestion") -> IngestionJob:
        """Start a job. Bedrock refuses, for example, while another job runs."""
        return self._call("start_ingestion_job", clientToken=str(uuid.uuid4()), description=description)

    def job(self, job_id: str) -> IngestionJob:
        """One job as it is now."""
        return self._call("get_ingestion_job", ingestionJobId=job_id)

    def jobs(self, limit: int) -> list[IngestionJob]:
        """At most `limit` jobs, newest first."""
        order = {"attribute": "STARTED_AT", "order": "DESCENDING"}
        with aws_errors(self._name):
            pages = self._client.get_paginator("list_ingestion_jobs").paginate(
                **self._ids, sortBy=order, PaginationConfig={"MaxItems": limit, "PageSize": min(limit, 100)}
            )
            return [_job(summary) for page in pages for summary in page["ingestionJobSummaries"]]

    def _call(self, operation: str, **parameters: Any) -> IngestionJob:
        return _job(call(self._client, operation, self._name, **self._ids, **parameters)["ingestionJob"])


def _job(found: dict[str, Any]) -> IngestionJob:
    try:
        return IngestionJob.model_validate(found)
    except ValidationError as error:
        raise SourceError(MissingCode.PARSE, "an ingestion job could not be parsed", asked="Bedrock") from error
