"""The local knowledge: what is found, from which files, and that it follows them."""

import os
from pathlib import Path

import pytest

from benchmarks.retrieval import MOST_RANK, rank
from copilot.rules.findings.registry import FINDINGS
from copilot.sources.knowledge.local import LocalKnowledge, files, runbook, shipped_folder
from tests.asked_of_runbooks import PEOPLE, SOMETHING_ELSE, asked

NAMES = [f.name for f in FINDINGS]
OWN = "# Our zebra queue\n\nZebra tasks are served by the zoo team.\n\n## Do\n\nCall the zoo keeper about zebras.\n"


@pytest.fixture(scope="module")
def knowledge() -> LocalKnowledge:
    return LocalKnowledge()


@pytest.mark.parametrize("finding", NAMES)
def test_a_findings_runbook_is_among_the_first_three_whatever_the_evaluation_says(
    knowledge: LocalKnowledge, finding: str
) -> None:
    questions = asked()[finding]
    assert {q: place for q in questions if (place := rank(knowledge, finding, q)[0]) > MOST_RANK} == {}


@pytest.mark.parametrize("finding", NAMES)
def test_a_findings_runbook_is_found_by_an_operators_own_words(knowledge: LocalKnowledge, finding: str) -> None:
    assert rank(knowledge, finding, PEOPLE[finding])[0] <= MOST_RANK


@pytest.mark.parametrize("question", ["", "   ", "48 12 99", "is it so", *SOMETHING_ELSE])
async def test_who_asks_about_something_else_is_not_answered(knowledge: LocalKnowledge, question: str) -> None:
    assert (await knowledge.retrieve(question)).passages == ()


async def test_a_passage_says_where_it_is_from(knowledge: LocalKnowledge) -> None:
    first = (await knowledge.retrieve("No pollers on task queue orders: nobody polls, start workers")).passages[0]
    assert first.source.startswith("no_pollers.md#")
    assert first.title.startswith("No pollers on a task queue")


async def test_a_runbook_that_is_added_changed_and_removed_is_followed_without_a_restart(tmp_path: Path) -> None:
    knowledge = LocalKnowledge(tmp_path)

    async def sources() -> list[str]:
        return [p.source for p in (await knowledge.retrieve("zebra zoo")).passages]

    assert await sources() == []
    own = tmp_path / "zebras.md"
    own.write_text(OWN, encoding="utf-8")
    assert set(await sources()) == {"zebras.md#our-zebra-queue", "zebras.md#do"}
    own.write_text(OWN.replace("## Do", "## Go"), encoding="utf-8")
    os.utime(own, ns=(1, 1))
    assert set(await sources()) == {"zebras.md#our-zebra-queue", "zebras.md#go"}
    own.unlink()
    assert await sources() == []


async def test_an_own_runbook_takes_the_place_of_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "no_pollers.md").write_text("# No pollers here\n\nCall the zoo keeper: no pollers.\n", encoding="utf-8")
    found = (await LocalKnowledge(tmp_path).retrieve("no pollers on a task queue, zoo keeper")).passages
    assert [p.source for p in found if p.source.startswith("no_pollers.md")] == ["no_pollers.md#no-pollers-here"]
    assert files(tmp_path)["no_pollers.md"] == tmp_path / "no_pollers.md"
    assert runbook("no_pollers", tmp_path).title == "No pollers here"  # type: ignore[union-attr]
    assert runbook("worker_slow", tmp_path).title == "Workers do not keep up"  # type: ignore[union-attr]


async def test_a_file_that_is_no_text_or_far_too_long_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "binary.md").write_bytes(b"\xff\xfe zebra")
    (tmp_path / "long.md").write_text("zebra " * 400_000, encoding="utf-8")
    (tmp_path / "zebra.txt").write_text("zebra", encoding="utf-8")
    assert (await LocalKnowledge(tmp_path, 0.0).retrieve("zebra")).passages == ()
    assert runbook("binary", tmp_path) is None


async def test_a_folder_that_is_not_there_is_a_reason_and_no_error(tmp_path: Path) -> None:
    found = await LocalKnowledge(tmp_path / "none").retrieve("no pollers")
    assert found.passages == ()
    assert found.reason == f"the runbooks in {tmp_path / 'none'} cannot be read: No such file or directory"


@pytest.mark.parametrize(
    "name", ["", "nothing", "../rag/no_pollers", "/etc/passwd", "no_pollers.md", "no pollers", "a\0b"]
)
def test_what_names_no_runbook_is_none(name: str) -> None:
    assert runbook(name) is None


def test_the_shipped_runbooks_are_found_from_the_repository() -> None:
    assert shipped_folder().name == "rag"
    assert set(files()) >= {f"{name}.md" for name in NAMES}
