"""Templates are mined from lines no pattern knows."""

from hypothesis import given
from hypothesis import strategies as st

from copilot.logs.counting import MAX_WORDS, WILDCARD, Templates, mask_words


def test_what_varies_by_nature_is_masked() -> None:
    said = 'wf order-17 of user=4711 "some name" at 10.0.0.1:7233 took 3.5s for bob@example.com in /var/lib/x, done.'
    assert " ".join(mask_words(said)) == (
        f"wf {WILDCARD} of user={WILDCARD} {WILDCARD} at {WILDCARD} took {WILDCARD} for {WILDCARD} in {WILDCARD} done."
    )


def test_lines_that_differ_in_a_word_share_a_template_that_grows_general() -> None:
    templates = Templates()
    first = mask_words("Queue orders has grown too long again")
    assert templates.match(first) is None
    assert templates.add(first) == 0
    assert templates.match(mask_words("Queue billing has grown too long again")) == 0
    assert templates.all == [["Queue", WILDCARD, "has", "grown", "too", "long", "again"]]


def test_lines_that_share_little_do_not() -> None:
    templates = Templates([["disk", "is", "nearly", "full"]])
    assert templates.match(("disk", "was", "made", "larger")) is None
    assert templates.match(("disk", "is", "nearly", "full", "now")) is None


def test_there_are_never_more_than_allowed() -> None:
    templates = Templates(limit=2)
    assert [templates.add((name, "x")) for name in ("a", "b", "c")] == [0, 1, None]


@given(st.text(max_size=3000))
def test_any_line_has_few_words_and_finds_its_own_template(text: str) -> None:
    words = mask_words(text)
    assert len(words) <= MAX_WORDS
    if words:
        templates = Templates()
        templates.add(words)
        assert templates.match(words) == 0
