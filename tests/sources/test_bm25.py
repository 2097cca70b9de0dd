"""The index: what counts as a word, and which text fits best."""

import pytest

from copilot.sources.knowledge.local import Index, stem, words

TEXTS = ("the database is slow and the disk is full", "workers poll a task queue", "a task queue without pollers")


def scores(asked: str) -> list[float]:
    return Index([words(t) for t in TEXTS]).scores(words(asked))


@pytest.mark.parametrize("word", ["poll", "polls", "poller", "pollers", "polling", "polled"])
def test_forms_of_a_word_are_one_word(word: str) -> None:
    assert stem(word) == "poll"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("ResourceExhausted", ["resourceexhausted", "resourc", "exhaust"]),
        ("max_cached_workflows", ["max_cached_workflows", "max", "cach", "workflow"]),
        ("the 48 tasks of v2", ["task"]),
        ("is it not", []),
        ("SQLSTATE", ["sqlstat"]),
        ("process", ["process"]),
    ],
)
def test_a_name_is_found_whole_and_by_its_parts_and_numbers_are_none(name: str, found: list[str]) -> None:
    assert words(name) == found


def test_the_text_with_more_of_the_rare_words_is_first() -> None:
    slow, polls, nobody = scores("nobody polls the queue without workers")
    assert max(polls, nobody) > slow == 0.0
    assert scores("slow database")[0] > 0.4


def test_a_word_said_twice_counts_twice() -> None:
    disk, polls, _ = scores("disk disk polls workers queue")
    assert disk > 0 < polls
    assert disk / polls > scores("disk polls workers queue")[0] / scores("disk polls workers queue")[1]


def test_words_that_no_text_has_lower_all_scores() -> None:
    assert 0 < max(scores("database weather forecast tomorrow")) < max(scores("database"))


def test_scores_lie_between_0_and_1_and_nothing_fits_nothing() -> None:
    assert scores("") == scores("zebra") == [0.0, 0.0, 0.0]
    assert all(0 <= s <= 1 for s in scores("database database database disk full slow"))
    assert Index([]).scores(["poll"]) == []
