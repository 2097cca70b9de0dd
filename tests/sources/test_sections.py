"""How a runbook is cut."""

from copilot.sources.knowledge.sections import MOST_CHARACTERS, anchor, sections, title_of

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


def test_a_text_without_headings_is_one_section_named_for_its_file() -> None:
    assert [(s.title, s.text) for s in sections("just words", "notes")] == [("notes", "just words")]
    assert title_of("## only a second level", "notes") == "notes"
    assert sections("", "notes") == sections("# Title alone\n", "notes") == []


def test_a_long_section_is_cut_between_paragraphs_and_nothing_is_lost() -> None:
    paragraphs = [f"paragraph {n} " + "word " * 150 for n in range(9)]
    parts = [s.text for s in sections("# T\n\n" + "\n\n".join(paragraphs), "t")]
    assert all(len(p) <= MOST_CHARACTERS for p in parts)
    assert "\n\n".join(parts).split() == "\n\n".join(paragraphs).split()


def test_one_endless_paragraph_is_cut_too() -> None:
    parts = [s.text for s in sections("x" * 5000, "t")]
    assert [len(p) for p in parts] == [2000, 2000, 1000]


def test_an_anchor_is_what_links_use() -> None:
    assert anchor("As many pollers as slots, or more") == "as-many-pollers-as-slots-or-more"
