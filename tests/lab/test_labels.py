"""The labels and how they are read."""

from pathlib import Path

import pytest

from copilot.rules.model import BottleneckClassification, ReportedState
from lab.labels import FILE, LabelError, label_of, labels, read_labels


def test_a_label_says_what_may_and_must_be_said() -> None:
    label = label_of("slots-exhausted")
    assert label.states == (ReportedState.STRESSED, ReportedState.CRITICAL)
    assert label.reaches is ReportedState.CRITICAL
    assert label.cause == ("slots_exhausted",)
    assert label.bottleneck == (BottleneckClassification.WORKER_LIMITED,)
    assert label.needs == ("sdk",)
    assert label.not_said == ("scale down",)


def test_what_a_label_does_not_speak_of_is_not_asked_for() -> None:
    label = label_of("idle")
    assert (label.reaches, label.cause, label.bottleneck, label.needs, label.not_said) == (None, (), (), (), ())


def test_no_label_allows_what_it_forbids() -> None:
    assert {name for name, label in labels().items() if set(label.states) & set(label.never)} == set()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("[idle\n", "is not TOML", id="no TOML"),
        pytest.param('[idle]\nstates = ["cheerful"]\n', r"idle\.states\.0: ", id="no such state"),
        pytest.param("[idle]\nstates = []\n", r"idle\.states: ", id="no state"),
        pytest.param('[idle]\nnever = ["critical"]\n', r"idle\.states: Field required", id="no states"),
        pytest.param('[idle]\nstates = ["happy"]\ncauses = ["x"]\n', r"idle\.causes: Extra", id="a key nobody reads"),
        pytest.param('[idle]\nstates = ["happy"]\nneeds = ["luck"]\n', r"idle\.needs\.0: ", id="no such source"),
        pytest.param("idle = 3\n", "idle: ", id="no table"),
    ],
)
def test_a_wrong_label_is_named(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "labels.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(LabelError, match=why):
        read_labels(file)


def test_labels_that_are_not_there_are_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="No such file"):
        read_labels(tmp_path / "labels.toml")
    with pytest.raises(LabelError, match="no label for 'earthquake'"):
        label_of("earthquake")


def test_the_labels_ship_with_the_package() -> None:
    assert FILE.parent.name == "lab"
