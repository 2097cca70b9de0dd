"""Whatever names and texts from outside hold, what is printed is text: none of it is markup, and no control character
reaches a terminal."""

import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.text import Text

from copilot.cli.demo import _status_line
from copilot.cli.doctor import diagnosis_lines
from copilot.cli.logs import _table
from copilot.cli.output import plain_console, print_lines
from copilot.cli.read import _lines
from copilot.cli.status import _watch_lines, print_loops, print_models, print_status, watch_view
from copilot.diagnosis import Check, CheckStatus, Diagnosis, diagnose_cluster
from copilot.logs.counting import TrackedPattern
from copilot.loops.live import LoopReport
from copilot.rules.signals.readings import BreakdownRow, Missing, MissingCode
from copilot.sources.scrape.once import PagesRead
from tests.cluster_signals import healthy
from tests.evaluations import NOON

OWN = re.compile(r"\x1b\[[0-9;]*m")
"""The colors that rich itself writes."""
CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
PIECES = ["[/x]", "[bold]", "[link=https://x.invalid]", ":smile:", "orders", " ", "\n", "\r", "\x1b[31m", "\x07",
          "\x1b]8;;https://x.invalid\x1b\\", "\x9b2J", "\u202e", "\0", "\ud800", "\udcff", "\u2028"]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(st.characters(), max_size=5), max_size=6).map("".join)


def answer(text: str) -> dict[str, Any]:
    """A body of GET /status in which every text is this one."""
    gate = {"name": text, "fired": True, "value": 2.0, "threshold": 1.0, "severity": text, "sentence": text}
    action = dict.fromkeys(("description", "action_type", "risk_level"), text)
    keys = ("cluster", "health_state", "summary", "degraded_because", "bottleneck", "top_factor", "timestamp")
    return {**dict.fromkeys(keys, text), "stale": True, "gates": [gate], "recommended_actions": [action]}


def lines(text: str) -> Iterator[Text]:
    """What the commands that print lines print, over readings, reasons, checks and logs of this text."""
    row, whole = BreakdownRow(labels={"task_queue": text, "namespace": text}, value=3.0), healthy()
    signals = whole.model_copy(update={
        "breakdowns": {"matching.backlog_count": (row,)}, "sources": dict.fromkeys(whole.readings, text),
        "missing": {"cache.hit_rate": Missing(code=MissingCode.PARSE, detail=text)},
    })  # fmt: skip
    check = Check(name=text, status=CheckStatus.FAILED, found=text, fix=text)
    yield from diagnosis_lines(Diagnosis(own=(check,), clusters=(diagnose_cluster(text, [check], signals),)), 100)
    yield from _lines(PagesRead(text, {"server": (text,)}, signals), signals, 100)
    found = TrackedPattern(pattern=text, service=text, sample=text, counts=[9], first_seen=NOON, last_seen=NOON)
    yield from _table(9, {"Known patterns": [found]}, 100)
    yield _status_line(answer(text))


def printed(text: str, *, terminal: bool) -> str:
    """Every view of this text."""
    out = StringIO()
    console = plain_console(out)
    console._force_terminal = terminal
    print_status(answer(text), console)
    print_models({"spent": {"calls": 1, "unserved": 0, "input_tokens": 1, "output_tokens": 1, "cost_usd": 0.1},
                  "daily_usd": 0}, console)  # fmt: skip
    print_loops([LoopReport(text, text, text, well=False, release=text, problem=text)], console)
    console.print(watch_view([answer(text), answer("other")], text, NOON, NOON))
    print_lines(console, lines(text))
    with redirect_stdout(out):
        _watch_lines([([answer(text)], text)], as_json=False)
    return out.getvalue()


@settings(max_examples=40, deadline=None)
@given(TEXTS, st.booleans())
@example("".join(PIECES), True)
def test_no_text_controls_a_terminal(text: str, terminal: bool) -> None:
    shown = OWN.sub("", printed(text, terminal=terminal)) if terminal else printed(text, terminal=False)
    assert CONTROL.search(shown) is None
    assert shown.encode()


@pytest.mark.parametrize(
    "name", ["[/x]orders", "[link=https://x.invalid]orders[/link]", "[red]orders", ":smile:orders"]
)
def test_a_name_that_looks_like_markup_is_printed_as_it_is(name: str) -> None:
    shown = printed(name, terminal=False)
    assert shown.count(name) > 20
