"""The local knowledge: how runbooks are cut, which words count, what is found, from which files, and that it follows
them."""

import os
import tomllib
from pathlib import Path

import pytest

from benchmarks.retrieval import MOST_RANK, rank
from copilot.rules.findings.registry import FINDINGS
from copilot.sources.knowledge.local import Index, LocalKnowledge, words
from copilot.sources.knowledge.runbooks import (
    MAX_CHARACTERS,
    anchor,
    files,
    runbook,
    sections,
    shipped_folder,
    title_of,
)
from tests.asked_of_runbooks import PEOPLE, SOMETHING_ELSE, asked

NAMES = [f.name for f in FINDINGS]
PARAPHRASES = tomllib.loads((Path(__file__).parents[1] / "data" / "paraphrases.toml").read_text(encoding="utf-8"))
OWN = "# Our zebra queue\n\nZebra tasks are served by the zoo team.\n\n## Do\n\nCall the zoo keeper about zebras.\n"

TEXT = """# No pollers

Nobody polls.

## Do first

Start workers.

```
## this is a comment of a shell
temporal task-queue describe
```

## Don't do: `restart`

No.

## Empty

## Sources

- https://example.org
"""


def test_a_text_is_cut_at_its_headings_and_links_are_left_out() -> None:
    found = sections(TEXT, "no_pollers")
    assert [(s.title, s.heading, s.anchor) for s in found] == [
        ("No pollers", "", "no-pollers"),
        ("No pollers", "Do first", "do-first"),
        ("No pollers", "Don't do: `restart`", "dont-do-restart"),
    ]
    assert found[1].text.startswith("Start workers.")
    assert "## this is a comment" in found[1].text


def test_texts_without_headings_and_long_sections() -> None:
    assert [(s.title, s.text) for s in sections("just words", "notes")] == [("notes", "just words")]
    assert title_of("## only a second level", "notes") == "notes"
    assert sections("", "notes") == sections("# Title alone\n", "notes") == []
    assert [len(s.text) for s in sections("x" * 5000, "t")] == [2000, 2000, 1000]
    paragraphs = [f"paragraph {n} " + "word " * 150 for n in range(9)]
    parts = [s.text for s in sections("# T\n\n" + "\n\n".join(paragraphs), "t")]
    assert all(len(p) <= MAX_CHARACTERS for p in parts)
    assert "\n\n".join(parts).split() == "\n\n".join(paragraphs).split()
    assert anchor("As many pollers as slots, or more") == "as-many-pollers-as-slots-or-more"


TEXTS = ("the database is slow and the disk is full", "workers poll a task queue", "a task queue without pollers")


def scores(question: str) -> list[float]:
    return Index([("", text) for text in TEXTS]).scores(question)


@pytest.mark.parametrize("word", ["poll", "polls", "polling", "polled"])
def test_forms_of_a_word_are_one_word(word: str) -> None:
    assert scores(word)[1] == scores("poll")[1] > 0


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("ResourceExhausted", ["resourceexhausted", "resource", "exhausted", "meaning_refused"]),
        ("max_cached_workflows", ["max_cached_workflows", "max", "meaning_limit", "cached", "workflows"]),
        ("the 48 tasks of v2", ["tasks"]),
        ("is it not", []),
        ("SQLSTATE", ["sqlstate"]),
    ],
)
def test_a_name_is_found_whole_and_by_its_parts_and_numbers_are_none(name: str, found: list[str]) -> None:
    assert words(name) == found


def test_a_name_in_a_text_is_found_whole_and_by_its_parts() -> None:
    index = Index([("", "the server says ResourceExhausted"), ("", "resource pools are exhausted"), ("", "slow")])
    exact, parts, _ = index.scores("ResourceExhausted")
    assert exact > parts > 0
    assert index.scores("max_cached")[2] == 0


def test_scores() -> None:
    """Rare words count more, twice where they are twice, and in a title more; words that no text has lower all."""
    slow, polls, none = scores("nobody polls the queue without workers")
    assert max(polls, none) > slow == 0.0
    assert scores("slow database")[0] > 0.4
    title, text, _ = Index([("disk full", "restart it"), ("restart it", "disk full"), ("", "other")]).scores(
        "disk full"
    )
    assert title > text > 0
    once, twice = scores("disk polls workers queue"), scores("disk disk polls workers queue")
    assert twice[0] / twice[1] > once[0] / once[1]
    assert 0 < max(scores("database weather forecast tomorrow")) < max(scores("database"))
    assert scores("") == scores("zebra") == [0.0, 0.0, 0.0]
    assert all(0 <= s <= 1 for s in scores("database database database disk full slow"))
    assert Index([]).scores("poll") == []


@pytest.mark.parametrize(
    "question",
    ["disk AND", "NEAR(disk full)", "disk* OR", 'disk "full', "title: disk", "-disk ^full", "(disk", "NOT disk", "{}"],
)
def test_the_syntax_of_queries_is_only_words_in_a_question(question: str) -> None:
    assert (scores(question)[0] > 0) is ("disk" in question)


@pytest.fixture(scope="module")
def knowledge() -> LocalKnowledge:
    return LocalKnowledge()


def test_a_findings_runbook_is_among_the_first_three_for_every_evaluation_and_in_an_operators_own_words(
    knowledge: LocalKnowledge,
) -> None:
    questions = {(name, q) for name in NAMES for q in (PEOPLE[name], *asked()[name])}
    assert {q: place for q in questions if (place := rank(knowledge, *q)[0]) > MOST_RANK} == {}


@pytest.mark.parametrize("finding", NAMES)
def test_a_findings_runbook_is_the_first_that_is_found_for_five_ways_to_describe_the_problem(
    finding: str, knowledge: LocalKnowledge
) -> None:
    described = PARAPHRASES[finding]
    assert len(set(described)) >= 5
    assert {words: place for words in described if (place := rank(knowledge, finding, words)[0]) != 1} == {}


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
    shipped = runbook("worker_slow", tmp_path)
    assert shipped is not None
    assert shipped.title == "Workers do not keep up"
    assert shipped.markdown.startswith("# Workers do not keep up")


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
