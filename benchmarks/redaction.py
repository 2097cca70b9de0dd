"""How much text redaction reads a second: log lines without secrets, with some, and what is made to be slow."""

import time
from collections.abc import Iterator

from benchmarks import Row
from copilot.redaction.redactor import redacted

_LINE = (
    '{"level":"error","ts":"2026-11-22T14:31:24.720Z","msg":"Operation failed with internal error.","error":"'
    "UpdateShard "
    'failed: database is locked","operation":"UpdateShard","shard-id":3,"address":"127.0.0.1:7234","wf-id":'
    '"order-000017","run-id":"0195f3c2-7a4b-7c3d-8e5f-0123456789ab","logging-call-at":"persistence_metric_clients.go:1421"}\n'
)
_SECRETS = "dial postgres://app:geheim@db:5432/x as bob@x.org with Bearer abc.DEF-123 and AKIAIOSFODNN7EXAMPLE\n"
_TEXTS = {
    "log lines": _LINE * 3000,
    "log lines, one in ten with secrets": (_LINE * 9 + _SECRETS) * 300,
    "only secrets": _SECRETS * 3000,
    "begins of keys that do not end": "-----BEGIN A-----" * 60_000,
    "at signs": "a@" * 500_000,
    "one token of a megabyte": "aB3" * 333_333,
    "invisible characters": "a\u200b" * 300_000,
}
LEAST_MB_PER_SEC = 0.5
"""A log watcher reads at most some thousand lines every 30 s."""


def rows() -> Iterator[Row]:
    """Megabytes a second of CPU time. The limit is turned round: seconds for a megabyte."""
    for name, text in _TEXTS.items():
        began = time.process_time()
        redacted(text, addresses=True)
        took = time.process_time() - began
        size = len(text) / 1e6
        yield Row(name, took / size, "s/MB", 1 / LEAST_MB_PER_SEC, f"{size / took:.1f} MB/s")
