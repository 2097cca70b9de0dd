"""What redaction replaces, what it leaves alone, and that its work grows with the text and no faster."""

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from copilot.redaction.redactor import Redactor, redacted
from copilot.rules.signals.taxonomy import SPECS

CASES = tomllib.loads(Path(__file__).with_name("redaction.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("text", "answer"), CASES["replaced"].values(), ids=CASES["replaced"])
def test_secrets_are_replaced_and_the_rest_stays(text: str, answer: str) -> None:
    assert redacted(text) == answer


@pytest.mark.parametrize("text", CASES["kept"])
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == text


def test_names_and_meanings_of_all_signals_stay() -> None:
    text = "\n".join(f"{spec.id} {spec.meaning} {spec.hint} {spec.expression}" for spec in SPECS.values())
    assert redacted(text) == text


def test_addresses_are_replaced_by_setting() -> None:
    text = "dial tcp 10.1.2.3:7233 and [2001:db8::7]:443, version 1.32.0, at 14:24:58"
    assert (
        redacted(text, addresses=True) == "dial tcp ‹address-1›:7233 and [‹address-2›]:443, version 1.32.0, at 14:24:58"
    )


def test_found_counts_different_secrets_by_kind() -> None:
    redactor = Redactor()
    redactor.redact("bob@x.org bob@x.org eve@x.org AKIAIOSFODNN7EXAMPLE")
    assert redactor.found == {"email": 2, "aws": 1}


def work(text: str) -> int:
    """Rounds of replacing, and calls of Python functions, that redacting the text takes."""
    calls = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before: Callable[..., Any] | None = sys.getprofile()
    sys.setprofile(count)
    try:
        redacted(text, addresses=True)
    finally:
        sys.setprofile(before)
    return calls


@pytest.mark.parametrize("piece", CASES["unkind"].values(), ids=CASES["unkind"])
def test_twice_the_text_is_at_most_twice_the_work_and_much_of_anything_comes_to_an_end(piece: str) -> None:
    small, large = piece * (5_000 // len(piece)), piece * (10_000 // len(piece))
    assert work(large) <= 2.2 * work(small) + 400
    text = piece * (100_000 // len(piece))
    answer = redacted(text, addresses=True)
    assert redacted(answer, addresses=True) == answer
