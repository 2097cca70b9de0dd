"""Runbooks brought to S3: moto's, over HTTP."""

import hashlib
from pathlib import Path

import pytest

from copilot.errors import SettingsError, SourceError
from copilot.rules.signals.readings import MissingCode
from copilot.sources.knowledge.ingestion import sync
from copilot.sources.knowledge.runbooks import files
from tests.kb.aws_servers import BUCKET, S3Server, aws_environment, knowledge_settings

OWN = "# Zebras\n\nCall the zoo keeper.\n"
SHIPPED = sorted(files())


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "zebras.md").write_text(OWN, encoding="utf-8")
    return tmp_path


def test_what_is_new_or_changed_is_uploaded_and_what_is_gone_is_removed_only_on_demand(s3: S3Server, own: Path) -> None:
    settings = knowledge_settings(folder=own)
    (own / "bad.md").write_text("# Bad\n\nLook at `sum by (job) (rate(requests[5m]))`.\n", encoding="utf-8")
    first = sync(settings)
    assert first.refused == {"bad.md": "sum by ("}
    (own / "bad.md").unlink()
    second = sync(settings)
    assert first.uploaded == sorted([*SHIPPED, "zebras.md"])
    assert (second.uploaded, second.unchanged) == ([], first.uploaded)
    assert s3.uploads() == {f"runbooks/{name}": 1 for name in first.uploaded}
    kept = s3.client.get_object(Bucket=BUCKET, Key="runbooks/zebras.md")
    assert kept["Body"].read().decode() == OWN
    assert kept["ContentType"] == "text/markdown; charset=utf-8"

    (own / "zebras.md").write_text(OWN.replace("zoo", "new"), encoding="utf-8")
    assert sync(settings).uploaded == ["zebras.md"]
    assert (s3.uploads()["runbooks/zebras.md"], s3.uploads()["runbooks/no_pollers.md"]) == (2, 1)

    for key in ("runbooks/notes.txt", "runbooks/deeper/zebras.md", "other.md"):
        s3.client.put_object(Bucket=BUCKET, Key=key, Body=b"not ours")
    (own / "zebras.md").unlink()
    assert sync(settings).stale == ["zebras.md"]
    assert sync(settings, delete=True, dry_run=True).deleted == ["zebras.md"]
    assert "runbooks/zebras.md" in s3.names()
    assert sync(settings, delete=True).deleted == ["zebras.md"]
    assert {"runbooks/notes.txt", "runbooks/deeper/zebras.md", "other.md"} < set(s3.names())
    assert "runbooks/zebras.md" not in s3.names()


@pytest.mark.parametrize(("body", "again"), [(OWN, False), (OWN.replace("zoo", "bad"), True)], ids=["same", "other"])
def test_where_the_etag_is_no_md5_our_digest_decides(s3: S3Server, own: Path, body: str, again: bool) -> None:
    place = {"Bucket": BUCKET, "Key": "runbooks/zebras.md"}
    digest = {"sha256": hashlib.sha256(body.encode()).hexdigest()}
    begun = s3.client.create_multipart_upload(**place, Metadata=digest)["UploadId"]
    part = s3.client.upload_part(**place, UploadId=begun, PartNumber=1, Body=body.encode())
    parts = {"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]}
    etag = s3.client.complete_multipart_upload(**place, UploadId=begun, MultipartUpload=parts)["ETag"]
    assert etag.strip('"') != hashlib.md5(OWN.encode()).hexdigest()
    assert ("zebras.md" in sync(knowledge_settings(folder=own), dry_run=True).uploaded) is again


def test_more_objects_than_a_page_of_the_listing_holds_are_all_known(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "7")
    assert len(s3.client.list_objects_v2(Bucket=BUCKET).get("Contents", ())) == 0
    sync(knowledge_settings())
    assert len(s3.client.list_objects_v2(Bucket=BUCKET)["Contents"]) == 7
    assert sync(knowledge_settings()).unchanged == SHIPPED


def test_progress_is_reported_file_by_file_and_a_dry_run_changes_nothing(s3: S3Server) -> None:
    assert sync(knowledge_settings(), dry_run=True).uploaded == SHIPPED
    assert s3.names() == []
    told: list[tuple[str, int, int]] = []
    sync(knowledge_settings(prefix=""), progress=lambda *step: told.append(step))
    assert told == [(name, n, len(SHIPPED)) for n, name in enumerate(SHIPPED, 1)]
    assert s3.names() == SHIPPED


def test_a_missing_bucket_is_reported(s3: S3Server) -> None:
    with pytest.raises(SourceError, match=r"s3://no-such-bucket/runbooks/: NoSuchBucket") as failed:
        sync(knowledge_settings(bucket="no-such-bucket"))
    assert failed.value.code is MissingCode.ABSENT
    assert s3.names() == []


def test_an_unreachable_s3_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    aws_environment(monkeypatch, s3="http://127.0.0.1:1")
    with pytest.raises(SourceError, match="Could not connect"):
        sync(knowledge_settings(timeout_sec=0.5))


def test_a_missing_setting_or_missing_credentials_are_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"knowledge\.bucket is not set"):
        sync(knowledge_settings(bucket=None))
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(SourceError, match="no AWS credentials were found"):
        sync(knowledge_settings())
