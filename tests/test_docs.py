"""The documents are true: links work, configurations load, commands exist, and the walk names files and functions."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from copilot.cli.main import app
from copilot.settings.load import Settings
from tests.test_tree import ROOT, tracked

PAGES = [p for p in tracked("*.md") if "tests" not in p.parts]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
MAX_STEPS = 15


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """The anchors that a forge gives to the headings of a page."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", t.lower()).strip().replace(" ", "-") for t in titles}


def test_every_link_inside_the_repository_has_a_target() -> None:
    for page, link, image in ((p, *m) for p in PAGES for m in LINK.findall(FENCE.sub("", p.read_text("utf-8")))):
        target, _, anchor = (link or image).partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{name_of(page)} links to {target}, which does not exist"
        if anchor:
            assert anchor in anchors(file), f"{name_of(page)} links to {target}#{anchor}, which is not a heading"


def snippets(language: str) -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for kind, body in FENCE.findall(page.read_text(encoding="utf-8")):
            if kind == language:
                yield name_of(page), body


@pytest.mark.parametrize(("page", "body"), list(snippets("toml")))
def test_every_configuration_in_the_documents_loads(page: str, body: str) -> None:
    settings = Settings(**tomllib.loads(body))
    assert settings.clusters or "[[clusters]]" not in body, page


@pytest.mark.parametrize(("page", "body"), list(snippets("sh")))
def test_every_command_in_the_documents_exists_with_its_options(page: str, body: str) -> None:
    for line in body.splitlines():
        if not line.startswith(("make ", "copilot ", ".venv/bin/copilot ")):
            continue
        words = shlex.split(line.split(" #")[0].replace(".venv/bin/", ""))
        if words[:1] == ["make"]:
            assert [w for w in words[1:] if "=" not in w and w not in TARGETS] == [], f"{page}: {line}"
        elif words[:1] == ["copilot"]:
            assert_parses(words[1:], f"{page}: {line}")


def assert_parses(words: list[str], where: str) -> None:
    """Whether the command line is accepted, without running it."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        assert words, f"{where}: no command"
        assert words[0] in command.commands, f"{where}: there is no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    try:
        command.make_context(command.name, list(words))
    except Exception as error:  # noqa: BLE001 - Typer's own click, whose exceptions have no public name
        pytest.fail(f"{where}: {error}")


def test_the_walk_from_a_scrape_to_the_status_names_files_and_functions_that_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    walk = page.partition("\n## From one scrape to `/status`\n")[2]
    assert 0 < len(re.findall(r"^\d+\. ", walk, re.MULTILINE)) <= MAX_STEPS
    source = ROOT / "src" / "copilot"
    files = re.findall(r"`([\w/]+\.py)`", walk)
    assert [f for f in files if not (source / f).is_file()] == []
    code = "\n".join((source / f).read_text(encoding="utf-8") for f in sorted(set(files)))
    names = {name.rpartition(".")[2] for name in re.findall(r"`([A-Za-z_.]+)`", walk) if not name.endswith(".py")}
    assert [name for name in sorted(names) if not re.search(rf"\b(def|class) {name}\b", code)] == []
