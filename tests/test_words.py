"""The word check finds a wrong word in every kind of text, and skips code, addresses and allowed text."""

import re
from pathlib import Path

import pytest

from tools.words import ROOT, Words, check, main

LIST = """
paths = ["*.md"]
[instead]
"mend(?:s|ed|ing)?" = "fix"
"so long" = "as long as"
"nobody" = "no pollers"
[allow]
"user nobody" = "the Unix user"
"""


@pytest.fixture
def words(tmp_path: Path) -> Words:
    file = tmp_path / "words.toml"
    file.write_text(LIST, encoding="utf-8")
    return Words.read(file)


def found(words: Words, folder: Path, name: str, text: str) -> list[str]:
    (folder / name).write_text(text, encoding="utf-8")
    return [str(finding) for finding in check([folder / name], words, folder)]


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("page.md", "# Title\n\nMend the worker.\n", "page.md:3: Mend → fix"),
        ("page.md", "It waits so\nlong.\n", "page.md:1: so long → as long as"),
        ("page.html", '<p class="mended">A mended page</p>\n', "page.html:1: mended → fix"),
        ("board.json", '{\n  "title": "Nobody polls"\n}\n', "board.json:2: Nobody → no pollers"),
        ("code.py", '"""One line.\n\nMends things.\n"""\n', "code.py:3: Mends → fix"),
        ("code.py", 'name = "x"\ntext = f"{name} is mended"\n', "code.py:2: mended → fix"),
    ],
)
def test_a_wrong_word_is_found_where_it_is_with_its_replacement(
    words: Words, tmp_path: Path, name: str, text: str, line: str
) -> None:
    assert found(words, tmp_path, name, text) == [line]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("page.md", "Fix the worker. An amendment. Set `mended`, see [this](mend.md) or https://example.com/mend.\n"),
        ("page.md", "It runs as user nobody.\n"),
        ("code.py", 'nobody = 1  # mend\nkind = "mended"\nmend_it = {"nobody": kind}\n'),
    ],
)
def test_code_addresses_identifiers_and_allowed_text_pass(words: Words, tmp_path: Path, name: str, text: str) -> None:
    assert found(words, tmp_path, name, text) == []


def test_the_list_of_this_repository_is_sound() -> None:
    words = Words.read()
    assert all(any(ROOT.glob(pattern)) for pattern in words.paths if not re.search("grafana", pattern))
    assert [text for _, text in words.instead if not text.strip()] == []


def test_the_exit_code_is_1_when_words_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("Mend it anew.\n", encoding="utf-8")
    assert main([str(page)]) == 1
    printed = capsys.readouterr()
    assert printed.out == f"{page}:1: Mend → fix\n{page}:1: anew → again\n"
    assert printed.err.split() == ["2", str(tmp_path)]
    assert main([str(ROOT / "docs" / "glossary.md")]) == 0
