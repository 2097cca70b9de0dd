"""Dependencies: their licences are known and allowed, and an audit says what it could not look up."""

from email.message import Message
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest

from tools.audit import summary, vulnerable
from tools.licences import TABLE, Package, licence, main, packages, recorded, refused, table

BSD = "Redistribution and use in source and binary forms, with or without\nmodification, are permitted"


class Installed(Distribution):
    """A package with this metadata and this licence file."""

    def __init__(self, folder: Path, text: str, **metadata: str) -> None:
        self._folder, self._metadata = folder, metadata
        (folder / "LICENSE").write_text(text)

    def read_text(self, filename: str) -> str | None:
        if filename == "METADATA":
            about = Message()
            for name, value in self._metadata.items():
                for line in value.split("|"):
                    about[name.replace("_", "-")] = line
            return about.as_string()
        return "LICENSE,," if filename == "RECORD" else None

    def locate_file(self, path: object) -> Path:
        return self._folder / str(path)


@pytest.mark.parametrize(
    ("metadata", "text", "expected"),
    [
        ({"License_Expression": "MIT AND PSF-2.0"}, "", "MIT AND PSF-2.0"),
        ({"License": "Apache License 2.0"}, "", "Apache-2.0"),
        ({"License": "BSD"}, f"{BSD}\nNeither the name of", "BSD-3-Clause"),
        ({"Classifier": "License :: OSI Approved :: BSD License"}, BSD, "BSD-2-Clause"),
        ({"Classifier": "License :: OSI Approved :: BSD License|License :: OSI Approved :: Apache Software License"},
         BSD, "Apache-2.0 OR BSD-2-Clause"),
        ({"License": "GPL-3.0-only"}, "", "GPL-3.0-only"),
        ({"License": "ask me"}, "all rights reserved", "unknown"),
    ],
)  # fmt: skip
def test_a_licence_is_read_as_the_package_says_it(
    tmp_path: Path, metadata: dict[str, str], text: str, expected: str
) -> None:
    assert licence(Installed(tmp_path, text, Name="x", Version="1", **metadata)) == expected


def test_an_unknown_licence_and_one_that_is_not_allowed_are_refused() -> None:
    found = [
        Package(n, "1", spdx, ("run",)) for n, spdx in (("a", "unknown"), ("b", "MIT OR GPL-3.0-only"), ("c", "MIT"))
    ]
    assert [sentence.partition(":")[0] for sentence in refused(found)] == [
        "the licence of a 1 is unknown", "b 1 has the licence GPL-3.0-only, which is not allowed"
    ]  # fmt: skip
    assert recorded(table(found)) == {("a", "1"): "unknown", ("b", "1"): "MIT OR GPL-3.0-only", ("c", "1"): "MIT"}


def test_every_locked_package_has_its_licence_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0, capsys.readouterr().err
    assert len(packages(recorded(TABLE.read_text("utf-8")))) > 150


def test_an_audit_counts_what_was_looked_up_and_says_what_was_not() -> None:
    found: list[dict[str, Any]] = [
        {"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]},
        {"name": "b", "version": "1", "vulns": []},
        {"name": "c", "skip_reason": "not found: c (1)"},
        {"name": "d", "skip_reason": "not found: d (1)"},
    ]
    assert list(vulnerable(found)) == ["a 1: PYSEC-1, fixed in 2"]
    assert summary("run", found, "") == "run: 2 of 4 packages looked up; 2 NOT AUDITED: not found"
    assert summary("run", [], "no route") == "run: NOT AUDITED: pip-audit failed: no route"
