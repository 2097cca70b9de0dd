"""What Aurora DSQL takes: AWS's linter over every statement, and what the linter lets through that DSQL does not."""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

LINTER = Path(sys.executable).parent / "dsql-lint"

# The linter reads statements, not the functions in them, nor the driver's own words.
FORBIDDEN = {
    "no advisory locks": r"\bpg_(?:try_)?advisory",
    "no LISTEN or NOTIFY": r"\bpg_notify\b",
    "no COPY from the client": r"^\s*COPY\b",
    "no anonymous blocks": r"^\s*DO\b",
    "no PL/pgSQL": r"\bplpgsql\b",
    "no two-phase commit": r"^\s*PREPARE TRANSACTION\b",
    "a catalog DSQL does not have": r"\bpg_(?:database|extension|enum|trigger|stat_\w+|locks|settings|event_trigger)\b",
    "sizes cannot be asked": r"\bpg_(?:total_relation|relation|database|table|indexes)_size\b",
    "only one kind of index": r"\bINDEX\b.*\bUSING\b",
}
_DDL = re.compile(r"\s*(CREATE|ALTER|DROP|GRANT|REVOKE)\b", re.IGNORECASE)
_DML = re.compile(r"\s*(INSERT|UPDATE|DELETE)\b", re.IGNORECASE)


def is_ddl(statement: str) -> bool:
    """Whether a statement changes the schema."""
    return _DDL.match(statement) is not None


def is_dml(statement: str) -> bool:
    """Whether a statement changes rows."""
    return _DML.match(statement) is not None


def complaints(statements: Iterable[str]) -> list[str]:
    """What is wrong with statements (or with whole transactions, given as one text each)."""
    texts = list(statements)
    found = [
        f"{why}: {text}"
        for text in texts
        for why, pattern in FORBIDDEN.items()
        if re.search(pattern, text, re.IGNORECASE | re.DOTALL)
    ]
    if not texts:
        return found
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{n}.sql" for n in range(len(texts))]
        for file, text in zip(files, texts, strict=True):
            file.write_text(text.rstrip().rstrip(";") + ";\n", encoding="utf-8")
        said = subprocess.run([LINTER, "--format", "json", *files], capture_output=True, text=True, check=False)
        report = json.loads(said.stdout)
        found += [
            f"{d['message']}: {text}"
            for file, text in zip(report["files"], texts, strict=True)
            for d in file["diagnostics"]
        ]
        found += [
            f"{file['error']}: {text}" for file, text in zip(report["files"], texts, strict=True) if file["error"]
        ]
    return found
