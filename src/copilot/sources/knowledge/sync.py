"""Bring the runbooks to S3: what changed is uploaded, what is gone can be removed."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from copilot.errors import SettingsError
from copilot.explain.model.knowledge import promql_in
from copilot.settings.models import KnowledgeSettings
from copilot.sources.knowledge.aws import call, client, failures
from copilot.sources.knowledge.local import files

ATTEMPTS = 3
DIGEST = "sha256"
"""The name of the metadata of an object that holds the SHA-256 of its bytes."""
Done = Callable[[str, int, int], None]
"""Told of each file: its name, how many are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class Sync:
    """What was done, or with `dry_run` would be. `stale` are objects without a file, which only `delete` removes;
    `refused` are files with PromQL, by name with the piece that was found."""

    bucket: str
    prefix: str
    dry_run: bool
    uploaded: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Object:
    etag: str
    size: int


def sync(settings: KnowledgeSettings, *, delete: bool = False, dry_run: bool = False, done: Done | None = None) -> Sync:
    """Make the bucket hold the runbooks under the prefix. Only `.md` objects directly under it are looked at.
    SettingsError without a bucket or where the files cannot be read; SourceError where S3 fails: what was uploaded
    until then stays, and the next sync goes on from there."""
    if settings.bucket is None:
        raise SettingsError(["knowledge.bucket is not set: name the S3 bucket the data source reads, and its region"])
    s3, result = client("s3", settings, ATTEMPTS), Sync(settings.bucket, settings.prefix, dry_run)
    local = _local(settings.folder, result.refused)
    there = dict(_objects(s3, settings.bucket, settings.prefix))
    for number, (name, body) in enumerate(local.items(), 1):
        if (known := there.get(name)) is not None and _same(s3, result, name, body, known):
            result.unchanged.append(name)
        else:
            if not dry_run:
                _upload(s3, result, name, body)
            result.uploaded.append(name)
        if done is not None:
            done(name, number, len(local))
    for name in sorted(set(there) - set(local)):
        if delete and not dry_run:
            key = f"{result.prefix}{name}"
            call(s3, "delete_object", f"s3://{result.bucket}/{key}", Bucket=result.bucket, Key=key)
        (result.deleted if delete else result.stale).append(name)
    return result


def _local(folder: Path | None, refused: dict[str, str]) -> dict[str, bytes]:
    """The runbooks' bytes by name, without those that hold PromQL, which go into `refused`."""
    try:
        found = {name: path.read_bytes() for name, path in files(folder).items()}
    except OSError as error:
        raise SettingsError([f"the runbooks in {error.filename} cannot be read: {error.strerror}"]) from error
    refused |= {n: query for n, body in found.items() if (query := promql_in(body.decode("utf-8", errors="replace")))}
    return {name: body for name, body in found.items() if name not in refused}


def _objects(s3: Any, bucket: str, prefix: str) -> Iterator[tuple[str, _Object]]:
    with failures(f"s3://{bucket}/{prefix}"):
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/"):
            for found in page.get("Contents", ()):
                name = str(found["Key"]).removeprefix(prefix)
                if name.endswith(".md"):
                    yield name, _Object(str(found["ETag"]).strip('"'), int(found["Size"]))


def _same(s3: Any, sync: Sync, name: str, body: bytes, known: _Object) -> bool:
    """Whether the object holds these bytes: by its ETag, or by our digest where encryption makes the ETag another."""
    if known.size != len(body):
        return False
    if known.etag == hashlib.md5(body, usedforsecurity=False).hexdigest():
        return True
    key = f"{sync.prefix}{name}"
    head = call(s3, "head_object", f"s3://{sync.bucket}/{key}", Bucket=sync.bucket, Key=key)
    return bool(head.get("Metadata", {}).get(DIGEST) == hashlib.sha256(body).hexdigest())


def _upload(s3: Any, sync: Sync, name: str, body: bytes) -> None:
    key = f"{sync.prefix}{name}"
    call(
        s3,
        "put_object",
        f"s3://{sync.bucket}/{key}",
        Bucket=sync.bucket,
        Key=key,
        Body=body,
        ContentType="text/markdown; charset=utf-8",
        Metadata={DIGEST: hashlib.sha256(body).hexdigest()},
    )
