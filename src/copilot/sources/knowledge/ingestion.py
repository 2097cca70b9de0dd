"""Have Bedrock read what lies in S3, and see how far it is."""

import uuid
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import ValidationError
from whenever import Instant

from copilot.errors import SettingsError, SourceError
from copilot.rules.signals.readings import Frozen, MissingCode
from copilot.settings.models import KnowledgeSettings
from copilot.sources.knowledge.aws import call, client

ATTEMPTS = 3

JobState = Literal["STARTING", "IN_PROGRESS", "COMPLETE", "FAILED", "STOPPING", "STOPPED"]
RUNNING = frozenset({"STARTING", "IN_PROGRESS", "STOPPING"})
_COUNTS = {
    "scanned": "numberOfDocumentsScanned",
    "added": "numberOfNewDocumentsIndexed",
    "changed": "numberOfModifiedDocumentsIndexed",
    "removed": "numberOfDocumentsDeleted",
    "failed": "numberOfDocumentsFailed",
}


class Job(Frozen):
    """An ingestion job. Counts are documents so far; instants are ISO 8601 UTC; `reasons` say why it failed."""

    id: str
    status: JobState
    started_at: str
    updated_at: str
    scanned: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    failed: int = 0
    reasons: tuple[str, ...] = ()

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self.status in RUNNING

    @property
    def well(self) -> bool:
        """Whether it runs or read everything."""
        return self.running or (self.status == "COMPLETE" and not self.failed)


class Base(Frozen):
    """A knowledge base as Bedrock has it."""

    id: str
    name: str
    status: str
    reasons: tuple[str, ...] = ()


class Ingestion:
    """One data source of one knowledge base. SettingsError where their ids are not set."""

    def __init__(self, settings: KnowledgeSettings) -> None:
        if settings.knowledge_base_id is None or settings.data_source_id is None:
            raise SettingsError(["knowledge.knowledge_base_id and knowledge.data_source_id are not set"])
        self._ids = {"knowledgeBaseId": settings.knowledge_base_id, "dataSourceId": settings.data_source_id}
        self._name = f"data source {settings.data_source_id} of knowledge base {settings.knowledge_base_id}"
        self._client = client("bedrock-agent", settings, ATTEMPTS)

    def base(self) -> Base:
        """The knowledge base. SourceError where it cannot be asked."""
        asked = f"knowledge base {self._ids['knowledgeBaseId']}"
        answer = call(self._client, "get_knowledge_base", asked, knowledgeBaseId=self._ids["knowledgeBaseId"])
        found = answer["knowledgeBase"]
        reasons = tuple(found.get("failureReasons", ()))
        return Base(id=found["knowledgeBaseId"], name=found["name"], status=found["status"], reasons=reasons)

    def start(self, description: str = "copilot kb start-ingestion") -> Job:
        """Start a job. SourceError where Bedrock refuses, for example because another job runs."""
        token = str(uuid.uuid4())
        answer = self._call("start_ingestion_job", clientToken=token, description=description)
        return _job(answer["ingestionJob"])

    def job(self, job_id: str) -> Job:
        """One job as it is now. SourceError where there is none."""
        return _job(self._call("get_ingestion_job", ingestionJobId=job_id)["ingestionJob"])

    def jobs(self, most: int) -> list[Job]:
        """The newest jobs, newest first, at most `most`."""
        found: list[Job] = []
        for page in self._pages(most):
            found.extend(_job(summary) for summary in page["ingestionJobSummaries"])
            if len(found) >= most:
                break
        return found[:most]

    def _pages(self, most: int) -> Iterator[dict[str, Any]]:
        order = {"sortBy": {"attribute": "STARTED_AT", "order": "DESCENDING"}, "maxResults": min(most, 100)}
        more: dict[str, Any] = {}
        while True:
            page = self._call("list_ingestion_jobs", **order, **more)
            yield page
            if not (token := page.get("nextToken")):
                return
            more = {"nextToken": token}

    def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        return call(self._client, operation, self._name, **self._ids, **parameters)


def _job(found: dict[str, Any]) -> Job:
    counts = found.get("statistics", {})
    try:
        return Job(
            id=found["ingestionJobId"],
            status=found["status"],
            started_at=_instant(found["startedAt"]),
            updated_at=_instant(found["updatedAt"]),
            reasons=tuple(found.get("failureReasons", ())),
            **{ours: counts.get(theirs, 0) for ours, theirs in _COUNTS.items()},
        )
    except (KeyError, ValidationError) as error:
        raise SourceError(MissingCode.PARSE, "an ingestion job could not be understood", asked="Bedrock") from error


def _instant(moment: Any) -> str:
    """botocore gives a datetime of the standard library, in whatever zone."""
    return Instant(moment).format_iso()
