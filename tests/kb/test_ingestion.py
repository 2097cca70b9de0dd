"""Ingestion jobs, against a stand-in whose answers botocore's model checks."""

import pytest

from copilot.errors import SettingsError, SourceError
from copilot.rules.signals.readings import MissingCode
from copilot.sources.knowledge.ingestion import Ingestion
from tests.kb.aws_servers import BASE, SOURCE, BedrockStandIn, knowledge_settings


def test_a_job_is_started_and_followed_to_its_end(bedrock: BedrockStandIn) -> None:
    bedrock.statistics = {
        "numberOfDocumentsScanned": 27,
        "numberOfNewDocumentsIndexed": 2,
        "numberOfDocumentsFailed": 0,
    }
    source = Ingestion(knowledge_settings())
    job = source.start()
    assert (job.id, job.status, job.started_at) == ("JOB0000000", "STARTING", "2026-11-22T03:00:00.123456Z")
    assert source.job(job.id).running
    done = source.job(job.id)
    assert (done.status, done.scanned, done.added, done.ok) == ("COMPLETE", 27, 2, True)
    asked, sent = bedrock.asked[0]
    assert asked == f"PUT /knowledgebases/{BASE}/datasources/{SOURCE}/ingestionjobs/"
    assert len(sent["clientToken"]) >= 33


def test_a_job_that_failed_says_why(bedrock: BedrockStandIn) -> None:
    bedrock.steps = ("STARTING", "FAILED")
    source = Ingestion(knowledge_settings())
    job = source.job(source.start().id)
    assert (job.status, job.ok, job.reasons) == ("FAILED", False, ("the role may not read the bucket",))


def test_a_job_that_left_documents_out_did_not_end_well(bedrock: BedrockStandIn) -> None:
    bedrock.steps, bedrock.statistics = ("COMPLETE",), {"numberOfDocumentsFailed": 1}
    source = Ingestion(knowledge_settings())
    assert not source.job(source.start().id).ok


@pytest.mark.usefixtures("bedrock")
@pytest.mark.parametrize(("most", "found"), [(1, 1), (4, 4), (50, 5)])
def test_the_newest_jobs_are_listed_over_pages(most: int, found: int) -> None:
    source = Ingestion(knowledge_settings())
    for _ in range(5):
        source.start()
    jobs = [job.id for job in source.jobs(most)]
    assert jobs == [f"JOB000000{n}" for n in (4, 3, 2, 1, 0)][:found]


def test_the_base_is_described(bedrock: BedrockStandIn) -> None:
    bedrock.status = "UPDATE_UNSUCCESSFUL"
    base = Ingestion(knowledge_settings()).base()
    assert (base.id, base.name, base.status) == (BASE, "runbooks", "UPDATE_UNSUCCESSFUL")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((403, "AccessDeniedException"), MissingCode.FORBIDDEN),
        ((404, "ResourceNotFoundException"), MissingCode.ABSENT),
        ((409, "ConflictException"), MissingCode.TARGET_DOWN),
    ],
)
def test_what_bedrock_refuses_is_said_with_its_words(
    bedrock: BedrockStandIn, answer: tuple[int, str], code: MissingCode
) -> None:
    bedrock.fail = answer
    with pytest.raises(SourceError, match=f"data source {SOURCE} .*{answer[1]}: said the stand-in") as failed:
        Ingestion(knowledge_settings()).start()
    assert failed.value.code is code


def test_a_refusal_for_the_moment_is_tried_again(bedrock: BedrockStandIn) -> None:
    bedrock.fail = (429, "ThrottlingException")
    with pytest.raises(SourceError, match="ThrottlingException"):
        Ingestion(knowledge_settings()).start()
    assert len(bedrock.asked) == 3
    assert len({sent["clientToken"] for _, sent in bedrock.asked}) == 1


def test_without_ids_it_is_a_matter_of_settings() -> None:
    with pytest.raises(SettingsError, match="data_source_id are not set"):
        Ingestion(knowledge_settings(data_source_id=None))
