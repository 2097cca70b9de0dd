"""What a person who looked at the Copilot's page saw in a run, against what its label says they should have seen."""

from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

from whenever import Instant

from copilot.rules.evaluate import RULES_VERSION
from copilot.rules.model import BottleneckClassification, ReportedState
from copilot.rules.signals.readings import Frozen
from lab.expectation import BADNESS, HAPPY, UNKNOWN, Expectation
from lab.labels import Label
from lab.recorded_run import RecordedRun


class Look(Frozen):
    """One look at the page. `evaluated`: the moment of the evaluation it showed; None before the first."""

    time: Instant
    state: ReportedState
    evaluated: Instant | None = None
    bottleneck: BottleneckClassification | None = None
    cause: str | None = None
    advice: str = ""

    def told_of(self) -> Instant:
        """The moment it told of: its evaluation's, or now where the page itself says that it knows nothing any more."""
        return self.time if self.state is UNKNOWN or self.evaluated is None else self.evaluated


class PageSeen(Frozen):
    """NAME.page.json: how a run looked on the page, the looks at which it changed, and what was not as labelled.
    `rules`: the version of the rules that judged."""

    scenario: str
    taken: str
    rules: str
    machine: dict[str, str | int]
    looks: int
    worst: ReportedState
    causes: tuple[str, ...]
    changes: tuple[Look, ...]
    wrong: tuple[str, ...]

    def document(self) -> str:
        """As it is written to the file."""
        return self.model_dump_json(indent=1, exclude_none=True) + "\n"


def read_page(html: str, now: Instant) -> Look:
    """What the page says; ValueError where it is not the Copilot's page."""
    reader = _Reader()
    reader.feed(html)
    if (state := reader.said.get("data-state")) is None:
        raise ValueError("this is not the Copilot's page")
    evaluated, bottleneck = reader.said.get("data-evaluated"), reader.said.get("data-bottleneck")
    return Look(
        time=now,
        state=ReportedState(state),
        evaluated=Instant.parse_iso(evaluated) if evaluated else None,
        bottleneck=BottleneckClassification(bottleneck) if bottleneck else None,
        cause=reader.findings[0] if reader.findings else None,
        advice=" ".join(" ".join(reader.advice).split()).lower(),
    )


def pages_seen(folder: Path) -> list[PageSeen]:
    """What was seen in the runs of a folder, by scenario's name."""
    return [PageSeen.model_validate_json(file.read_bytes()) for file in sorted(folder.glob("*.page.json"))]


def seen_in(run: RecordedRun, label: Label, looks: Sequence[Look]) -> PageSeen:
    """What was seen in a run."""
    expectation = Expectation(run, label)
    in_fault = [look for look in looks if expectation.in_fault(look.told_of())]
    return PageSeen(
        scenario=run.name,
        taken=run.taken.taken,
        rules=RULES_VERSION,
        machine=run.taken.machine,
        looks=len(looks),
        worst=max((look.state for look in in_fault), key=BADNESS.__getitem__, default=UNKNOWN),
        causes=tuple(dict.fromkeys(look.cause for look in in_fault if look.cause)),
        changes=changes(looks),
        wrong=wrong_on_page(label, expectation, looks),
    )


def wrong_on_page(label: Label, expectation: Expectation, looks: Sequence[Look]) -> tuple[str, ...]:
    """What was not as labelled, each kind once, in sentences."""
    wrong: list[str] = []
    in_fault = [look for look in looks if expectation.in_fault(look.told_of())]
    for look in looks:
        right = expectation.at(look.told_of()).states
        if look.state not in right and (look.time - expectation.marks.before).total("seconds") > 0:
            allowed = " or ".join(state.value for state in sorted(right, key=BADNESS.__getitem__))
            elapsed = expectation.elapsed(look.told_of())
            wrong.append(f"{look.state.value} where {allowed} is right, {elapsed:.0f} s into the fault")
    worst = max((look.state for look in in_fault), key=BADNESS.__getitem__, default=UNKNOWN)
    if label.reaches is not None and BADNESS[worst] < BADNESS[label.reaches]:
        wrong.append(f"{label.reaches.value} is not reached")
    explained = [look for look in in_fault if expectation.explained(look.told_of()) and look.state is not HAPPY]
    for look in explained:
        if label.cause and look.cause not in label.cause:
            wrong.append(f"the first cause is {look.cause or 'none'}, not {' or '.join(label.cause)}")
        if label.bottleneck and look.bottleneck not in label.bottleneck:
            wrong.append(f"the bottleneck is {look.bottleneck}, not {' or '.join(label.bottleneck)}")
    wrong += [f"it advises to {text}" for text in label.not_said if any(text in look.advice for look in in_fault)]
    return tuple(dict.fromkeys(wrong))


def changes(looks: Sequence[Look]) -> tuple[Look, ...]:
    """The looks at which state, bottleneck or first cause had changed."""
    kept: list[Look] = []
    for look in looks:
        said = (look.state, look.bottleneck, look.cause)
        if not kept or said != (kept[-1].state, kept[-1].bottleneck, kept[-1].cause):
            kept.append(look.model_copy(update={"advice": ""}))
    return tuple(kept)


class _Reader(HTMLParser):
    """Picks state, causes and advice out of the page by their data attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.said: dict[str, str | None] = {}
        self.findings: list[str] = []
        self.advice: list[str] = []
        self._in_action = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        classes = (given.get("class") or "").split()
        if "data-evaluation" in given or ("all" in classes and "data-state" in given):
            self.said = given
        if finding := given.get("data-finding"):
            self.findings.append(finding)
        if self._in_action:
            self._in_action += tag not in _VOID
        elif "action" in classes:
            self._in_action = 1

    def handle_endtag(self, tag: str) -> None:
        if self._in_action and tag not in _VOID:
            self._in_action -= 1

    def handle_data(self, data: str) -> None:
        if self._in_action:
            self.advice.append(data)


_VOID = frozenset({"br", "hr", "img", "input", "meta", "link", "path", "rect", "use"})
