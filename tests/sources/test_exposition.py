"""Pages in Prometheus' text format: what is read, what is refused, and what no bytes may do."""

import math
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from copilot.errors import SourceError
from copilot.rules.signals.expressions import rate
from copilot.rules.signals.readings import MissingCode
from tests.scraped import Pages, recorded

LEAF = rate("hits")
MANY = ",".join(f'a{n}="1"' for n in range(70))


def parsed(*lines: str) -> dict[tuple[tuple[str, str], ...], float]:
    pages = Pages(leaves=[LEAF])
    page = pages.parser.parse("".join(line + "\n" for line in lines).encode())
    return {tuple(sorted(s.labels.items())): v for s, v in page.items()}


def refusal(body: bytes) -> SourceError:
    with pytest.raises(SourceError) as caught:
        Pages(leaves=[LEAF]).parser.parse(body)
    assert caught.value.code == MissingCode.PARSE
    return caught.value


@pytest.mark.parametrize(("stamp", "side"), [(1_700_000_000_000, None), (1_700_000_900_000, "900 s ahead"),
                                             (1_699_999_000_000, "1000 s behind"), (5, "behind")])  # fmt: skip
def test_a_sample_of_another_time_is_not_read_as_of_now(stamp: int, side: str | None) -> None:
    body, parser = f'hits{{a="1"}} 4 {stamp}\n'.encode(), Pages(leaves=[LEAF]).parser
    if side is None:
        assert list(parser.parse(body, 1_700_000_000).values()) == [4.0]
        return
    with pytest.raises(SourceError, match=f"line 1 is of another time: its timestamp is .*{side}"):
        parser.parse(body, 1_700_000_000)


def test_a_real_page_is_read_as_a_general_parser_reads_it() -> None:
    body = recorded("server")
    pages = Pages()
    known = {
        (name, tuple(sorted((k, v) for k, v in raw.labels.items() if v))): raw.value
        for family in text_string_to_metric_families(body.decode())
        for raw in family.samples
        if (name := raw.name.removesuffix("_total")) in pages.target.known_names  # which that parser adds
    }
    for _ in range(2):  # once as new text, once from what was learnt
        page = pages.parser.parse(body)
        assert {(s.metric.name, tuple(sorted(s.labels.items()))): v for s, v in page.items()} == known
    assert len(known) > 2000


@pytest.mark.parametrize(
    ("line", "labels", "value"),
    [
        ("hits 3", {}, 3.0),
        ("hits{} 3", {}, 3.0),
        ('hits{a="1",b="2"} 4', {"a": "1", "b": "2"}, 4.0),
        ('hits{a="1",} 4', {"a": "1"}, 4.0),
        ('hits { a = "1" } 4', {"a": "1"}, 4.0),
        ('hits{a=""} 4', {}, 4.0),
        (r'hits{a="\\ \" \n \d"} 4', {"a": '\\ " \n \\d'}, 4.0),
        ('hits{a="x} 5, y{"} 4', {"a": "x} 5, y{"}, 4.0),
        ('hits{a="ü"} 4e3', {"a": "ü"}, 4000.0),
        ('hits{a="1"} 4 1700000000000', {"a": "1"}, 4.0),
        ('hits{a="1"} 4 -1', {"a": "1"}, 4.0),
        ('hits{a="1"} 4 # {trace_id="x"} 0.5', {"a": "1"}, 4.0),
        ('hits{a="1"} +Inf', {"a": "1"}, math.inf),
        ('hits{a="1"} -Inf', {"a": "1"}, -math.inf),
    ],
)
def test_a_sample_is_read(line: str, labels: dict[str, str], value: float) -> None:
    assert parsed(line) == {tuple(sorted(labels.items())): value}


def test_comments_blank_lines_and_families_nobody_reads_are_passed_over() -> None:
    assert parsed("# HELP hits of {things}", "", "# TYPE hits counter", 'other{x="', '{"a.b", c="d"} 1', "# EOF") == {}


@pytest.mark.parametrize(
    "line", ['hits{a="1"} 1_0', 'hits{a="1"} ١', "hits{a=1} 1", 'hits{a="1" 1', "hits", 'hits{a="1"}']
)
def test_a_line_that_cannot_be_read_refuses_the_page_and_is_named(line: str) -> None:
    good = 'hits{a="1"} 1\n'
    assert "line 2" in refusal((good + line + "\n").encode()).detail


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html><body>Not here</body></html>", "HTML"),
        (b"\n<!DOCTYPE html>\n<html>\n", "HTML"),
        (b'{"status": "success"}\n', "not a sample"),
        (b'hits{a="1"} 1', "middle of a line"),
        (b"hits 1\nhits{a=", "middle of a line"),
        (b"hits{a=\xff} 1\n", "UTF-8"),
        (b'hits{a="1",a="2"} 1\n', "twice"),
    ],
)
def test_what_is_no_whole_page_is_refused_with_the_reason(body: bytes, said: str) -> None:
    assert said in refusal(body).detail


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param('hits{a="%s"} 1' % ("x" * 10_000_000), "line 2 is over 64 KB", id="a label of 10 MB"),
        pytest.param("n" * 70_000, "line 2 is over 64 KB", id="an endless name"),
        pytest.param(f"hits {'1' * 70_000}", "line 2 is over 64 KB", id="an endless number"),
        pytest.param('hits{a="%s"} 1' % ("x" * 5_000), "line 2 has a label over 4 KB", id="a long label"),
        pytest.param(f"hits{{{MANY}}} 1", "line 2 has over 64 labels", id="many labels"),
    ],
)
def test_a_line_that_no_temporal_process_writes_is_left_out_and_said(line: str, said: str) -> None:
    pages = Pages(leaves=[LEAF])
    for _ in range(2):
        page = pages.parser.parse(f'hits{{a="1"}} 1\n{line}\nhits{{a="2"}} 2\n'.encode())
        assert {s.labels["a"]: v for s, v in page.items()} == {"1": 1.0, "2": 2.0}
        assert pages.parser.left_out == f"{said}: left out"
    pages.parser.parse(f"{line}\n{line}\nhits 1\n".encode())
    assert pages.parser.left_out.endswith("(and 1 more lines)")
    pages.parser.parse(b"hits 1\n")
    assert not pages.parser.left_out


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param(b"\n" * 1_000_001, "has more than 1,000,000 lines", id="lines"),
        pytest.param(b"# \n" * 11_000_000, "is larger than 32 MB", id="bytes"),
        pytest.param(b"".join(b'hits{a="%d"} 1\n' % n for n in range(31)), "more than 30 series", id="series"),
    ],
)
def test_a_page_that_is_too_much_is_dropped_and_the_next_is_read(body: bytes, said: str) -> None:
    pages = Pages(leaves=[LEAF], max_series=30)
    with pytest.raises(SourceError, match=said) as caught:
        pages.parser.parse(body)
    assert caught.value.code == MissingCode.DROPPED
    assert list(pages.parser.parse(b'hits{b="1"} 1\n').values()) == [1.0]


def test_pages_with_ever_new_names_and_series_take_no_more_memory() -> None:
    pages = Pages(leaves=[LEAF], window_sec=1.0)
    held = []
    tracemalloc.start()
    try:
        for n in range(10):
            lines = (f'other_{n}_{i}{{x="{i}"}} 1\nhits{{a="{n}_{i}"}} 1\n' for i in range(4_000))
            pages.add_bytes(10.0 * n, "".join(lines).encode())
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert held[-1] < max(held[:6]) * 1.1
    assert len(pages.parser._wanted) <= 20_001


def test_a_page_cut_anywhere_never_gives_a_wrong_value() -> None:
    lines = ['hits{a="1"} 1234', 'hits{a="2"} 5678.5', "hits 90"]
    whole = parsed(*lines)
    body = "".join(line + "\n" for line in lines).encode()
    for end in range(len(body)):
        try:
            page = Pages(leaves=[LEAF]).parser.parse(body[:end])
        except SourceError:
            continue
        assert {tuple(sorted(s.labels.items())): v for s, v in page.items()}.items() <= whole.items()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_page_or_our_error(body: bytes) -> None:
    pages = Pages(leaves=[LEAF])
    pages.parser.parse(b'hits{a="1"} 1\n')
    with suppress(SourceError):
        pages.parser.parse(body)


@given(
    st.lists(
        st.sampled_from(["hits", "{", "}", 'a="', '"', "\\", ",", " ", "1", "NaN", "\n", "#", "_", "<"]), max_size=25
    )
)
def test_anything_made_of_the_formats_own_pieces_is_a_page_or_our_error(pieces: list[str]) -> None:
    with suppress(SourceError):
        Pages(leaves=[LEAF]).parser.parse("".join(pieces).encode())


@given(
    st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True), st.text(max_size=8), max_size=4),
    st.floats(allow_nan=False),
)
def test_what_is_written_is_read_back(labels: dict[str, str], value: float) -> None:
    written = {k: v for k, v in labels.items() if v}
    text = ",".join(
        '{}="{}"'.format(k, v.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")) for k, v in labels.items()
    )
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    assert parsed(f"hits{{{text}}} {value!r}") == {tuple(sorted(written.items())): value}
