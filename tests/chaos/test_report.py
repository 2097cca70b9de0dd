"""The tables that a run puts into docs/reliability.md."""

from dataclasses import replace
from pathlib import Path

import pytest

from chaos.promises import Promise
from chaos.report import BEGIN, END, Deed, Report, has_place
from tests.test_tree import ROOT

REPORT = Report(
    seed=7,
    took_sec=1044.4,
    deeds=[Deed("kill -9 postgres", 20, 23.2, 30.3)],
    not_done=["a full disk: we may not mount a small one here"],
    promises=[Promise("no tick is stored twice", 233), Promise("all is well", 2, ["it is not"], "by 3 s")],
    answers=9141,
    unanswered=3266,
)


def test_a_document_gets_the_tables_between_its_marks_again_and_again(tmp_path: Path) -> None:
    file = tmp_path / "reliability.md"
    file.write_text(f"before\n\n{BEGIN}old{END}\n\nafter\n")
    replace(REPORT, seed=6).write(file, "2026-12-01")
    REPORT.write(file, "2026-12-02")
    assert (
        file.read_text()
        == f"""before

{BEGIN}Measured on 2026-12-02 (`make chaos ARGS="--seed 7"`, 1,044 s,
9,141 responses read, 3,266 missing because the API was down).

| fault | times | away, median | longest |
|---|---|---|---|
| kill -9 postgres | 20 | 23.2 s | 30.3 s |

Not done: a full disk: we may not mount a small one here.

| promise | checked | broken | |
|---|---|---|---|
| no tick is stored twice | 233 | 0 |  |
| all is well | 2 | 1 | by 3 s |{END}

after
"""
    )
    assert REPORT.broken


def test_a_document_without_marks_is_left_alone_and_ours_has_them(tmp_path: Path) -> None:
    file = tmp_path / "other.md"
    file.write_text("nothing")
    with pytest.raises(ValueError, match="has no place for the tables"):
        REPORT.write(file, "2026-12-01")
    assert file.read_text() == "nothing"
    assert not has_place(file)
    assert has_place(ROOT / "docs" / "reliability.md")
