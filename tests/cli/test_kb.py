"""`copilot kb` as a person or a script sees it, with S3 and Bedrock over HTTP."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from copilot.cli.main import app
from copilot.errors import CopilotError, SettingsError, SourceError
from tests.kb.aws_servers import BASE, BUCKET, REGION, SOURCE, BedrockStandIn, S3Server, aws_environment
from tests.kb.conftest import bedrock, s3, s3_server

__all__ = ["bedrock", "s3", "s3_server"]

RUNBOOKS = len(list((Path(__file__).parents[2] / "docs" / "rag").glob("*.md")))
CONFIG = f"""[knowledge]
source = "bedrock"
knowledge_base_id = "{BASE}"
data_source_id = "{SOURCE}"
bucket = "{BUCKET}"
region = "{REGION}"
timeout_sec = 30
"""


def kb(*words: str, config: str = "", folder: Path) -> Result:
    file = folder / "copilot.toml"
    file.write_text(config, encoding="utf-8")
    done = CliRunner().invoke(app, ["kb", *words, "--config", str(file)], env={"COLUMNS": "100", "NO_COLOR": "1"})
    if isinstance(done.exception, CopilotError):
        raise done.exception
    return done


def test_search_works_without_aws_and_names_the_source(tmp_path: Path) -> None:
    done = kb("search", "workers", "crashed,", "tasks pile up and nobody picks them up", folder=tmp_path)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0].startswith("No pollers on a task queue")
    assert "no_pollers.md#" in done.stdout.splitlines()[1]


def test_search_as_json_has_passages_best_first_and_no_more_than_asked_for(tmp_path: Path) -> None:
    done = kb("search", "database calls fail", "--json", "--limit", "2", folder=tmp_path)
    passages = json.loads(done.stdout)["passages"]
    assert [set(p) for p in passages] == [{"source", "title", "text", "score"}] * 2
    assert passages[0]["score"] >= passages[1]["score"]


def test_search_that_finds_nothing_is_exit_1(tmp_path: Path) -> None:
    done = kb("search", "how do I bake bread", folder=tmp_path)
    assert (done.exit_code, done.stdout) == (1, "no passage matches\n")
    assert json.loads(kb("search", "bake bread", "--json", folder=tmp_path).stdout) == {"passages": []}


def test_search_looks_into_a_folder_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "zebra.md").write_text("# Zebras\n\nCall the zoo keeper.\n", encoding="utf-8")
    config = f'[knowledge]\nfolder = "{tmp_path}"\n'
    assert "zebra.md#zebras" in kb("search", "zebra zoo", config=config, folder=tmp_path).stdout


def test_search_asks_the_knowledge_base_where_one_is_set(tmp_path: Path, bedrock: BedrockStandIn) -> None:
    bedrock.results = [{"content": {"text": "# Near\n\nVery near."}, "score": 0.8}]
    assert kb("search", "anything", config=CONFIG, folder=tmp_path).stdout.startswith("Near\n")


def test_a_knowledge_base_that_cannot_be_asked_is_exit_2s_reason(tmp_path: Path, bedrock: BedrockStandIn) -> None:
    bedrock.fail = (403, "AccessDeniedException")
    with pytest.raises(SourceError, match=f"knowledge base {BASE}: AccessDeniedException"):
        kb("search", "anything", config=CONFIG, folder=tmp_path)


def test_status_of_the_local_runbooks(tmp_path: Path) -> None:
    assert kb("status", folder=tmp_path).stdout.startswith(f"runbooks are searched here: {RUNBOOKS} with ")
    assert json.loads(kb("status", "--json", folder=tmp_path).stdout)["source"] == "local"


def test_sync_tells_what_it_did(tmp_path: Path, s3: S3Server) -> None:
    first = kb("sync", config=CONFIG, folder=tmp_path)
    assert first.exit_code == 0
    assert "uploaded: no_pollers.md\n" in first.stdout
    assert f"s3://{BUCKET}/runbooks/: {RUNBOOKS} uploaded, 0 unchanged, 0 deleted\n" in first.stdout
    assert first.stdout.endswith("next: copilot kb start-ingestion\n")
    s3.client.put_object(Bucket=BUCKET, Key="runbooks/old.md", Body=b"#")
    again = json.loads(kb("sync", "--delete", "--json", config=CONFIG, folder=tmp_path).stdout)
    assert (again["uploaded"], again["deleted"], len(again["unchanged"])) == ([], ["old.md"], RUNBOOKS)


def test_sync_with_a_refused_file_is_exit_1(tmp_path: Path, s3: S3Server) -> None:
    (tmp_path / "bad.md").write_text("# Bad\n\nrate(requests[5m])\n", encoding="utf-8")
    done = kb("sync", config=f'{CONFIG}folder = "{tmp_path}"\n', folder=tmp_path)
    assert done.exit_code == 1
    assert "refused: bad.md contains PromQL (rate()" in done.stdout
    assert "runbooks/bad.md" not in s3.names()


def test_an_ingestion_is_followed_to_its_end(tmp_path: Path, bedrock: BedrockStandIn) -> None:
    bedrock.statistics = {"numberOfDocumentsScanned": 27, "numberOfNewDocumentsIndexed": 27}
    done = kb("start-ingestion", "--wait", "--every", "0.01", config=CONFIG, folder=tmp_path)
    assert done.exit_code == 0
    assert "COMPLETE; 27 documents read: 27 new, 0 changed, 0 removed, 0 failed\n" in done.stdout
    states = [line.rpartition(" ")[2] for line in done.stderr.splitlines()]
    assert states == ["STARTING", "IN_PROGRESS", "COMPLETE"]


def test_an_ingestion_that_fails_is_exit_1_and_says_why(tmp_path: Path, bedrock: BedrockStandIn) -> None:
    bedrock.steps = ("STARTING", "FAILED")
    done = kb("start-ingestion", "--wait", "--every", "0.01", config=CONFIG, folder=tmp_path)
    assert done.exit_code == 1
    assert done.stdout.endswith("  the role may not read the bucket\n")
    seen = kb("status", config=CONFIG, folder=tmp_path)
    assert seen.exit_code == 1
    assert seen.stdout.startswith(f"knowledge base {BASE} (runbooks): ACTIVE; runbooks are searched there\n")


def test_status_and_jobs_of_a_knowledge_base(tmp_path: Path, bedrock: BedrockStandIn) -> None:
    empty = kb("status", config=CONFIG, folder=tmp_path)
    assert (empty.exit_code, empty.stdout.splitlines()[-1][:16]) == (0, "no ingestion yet")
    for _ in range(3):
        kb("start-ingestion", "--json", config=CONFIG, folder=tmp_path)
    named = json.loads(kb("status", "--job", "JOB0000001", "--json", config=CONFIG, folder=tmp_path).stdout)
    assert named["job"]["id"] == "JOB0000001"
    listed = kb("list-jobs", "--limit", "2", config=CONFIG, folder=tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["JOB0000002", "JOB0000001"]
    bedrock.status = "FAILED"
    assert kb("status", config=CONFIG, folder=tmp_path).exit_code == 1


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ('source = "bedrock"', 'source = "bedrock" needs knowledge_base_id'),
        ('knowledge_base_id = "KB12345678"', "knowledge_base_id and bucket need region"),
        ('data_source_id = "DS12345678"', "data_source_id needs knowledge_base_id"),
        ('knowledge_base_id = "short"', "knowledge_base_id: String should match pattern"),
        ('bucket = "UPPER"', "bucket: String should match pattern"),
        ('prefix = "/runbooks"', "prefix: String should match pattern"),
        ("least_score = 2", "least_score: Input should be less than or equal to 1"),
        ("timeout_sec = 0", "timeout_sec: Input should be greater than 0"),
        ("nonsense = 1", "nonsense: Extra inputs are not permitted"),
    ],
)
def test_an_invalid_setting_is_named(tmp_path: Path, config: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        kb("status", config=f"[knowledge]\n{config}\n", folder=tmp_path)


def test_a_service_that_is_away_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aws_environment(monkeypatch, bedrock="http://127.0.0.1:1")
    with pytest.raises(SourceError, match=f"data source {SOURCE} .*Could not connect"):
        kb("list-jobs", config=CONFIG.replace("timeout_sec = 30", "timeout_sec = 0.2"), folder=tmp_path)
