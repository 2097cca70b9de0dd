"""The rules say of every recorded tick what they said before."""

import gzip
import re

import pytest

from tests.golden.verdicts import FILE, lines, recordings

EXPECTED = {
    name: body.splitlines()
    for name, body in re.findall(r"^# (.+)\n((?:[^#].*\n)*)", gzip.decompress(FILE.read_bytes()).decode(), re.MULTILINE)
}


def test_no_recording_is_left_out() -> None:
    assert sorted(EXPECTED) == sorted(recordings())


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_tick_is_judged_as_before(name: str) -> None:
    said = list(lines(recordings()[name]))
    differing = [(i, was, now) for i, (was, now) in enumerate(zip(EXPECTED[name], said, strict=True)) if was != now]
    assert differing[:3] == []
