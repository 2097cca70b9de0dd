"""What is read off the page in a run, and what of it is not as labelled."""

import pytest
from whenever import Instant

from copilot.rules.model import BottleneckClassification, ReportedState
from lab.labels import Label
from lab.page_seen import Look, read_page, seen_in
from tests.api.conftest import client
from tests.api.standin import ToldLoop, deps
from tests.evaluations import NOON, evaluation, issue, scale_workers
from tests.lab.runs import run

CRITICAL = Label.model_validate(
    {
        "states": ["critical"],
        "cause": ["no_pollers"],
        "bottleneck": ["worker_limited"],
        "not_said": ["scale history"],
    }
)


def look(at: int, state: str, cause: str | None = None, advice: str = "", told_after: int = 2) -> Look:
    """A look at the page, so many seconds into the fault, a little after the evaluation it shows."""
    return Look(
        time=NOON.add(seconds=at + told_after),
        evaluated=NOON.add(seconds=at),
        state=ReportedState(state),
        bottleneck=BottleneckClassification.WORKER_LIMITED if cause else BottleneckClassification.HEALTHY,
        cause=cause,
        advice=advice,
    )


RIGHT = [
    look(-50, "happy"),
    look(40, "stressed", "no_pollers"),
    look(70, "critical", "no_pollers", "start workers"),
    look(290, "critical", "no_pollers"),
    look(390, "happy"),
]


def wrong(*looks: Look) -> list[str]:
    return list(seen_in(run(), CRITICAL, looks).wrong)


def test_a_page_that_says_what_the_label_says_has_nothing_wrong() -> None:
    seen = seen_in(run(), CRITICAL, RIGHT)
    assert (seen.wrong, seen.worst, seen.causes) == ((), ReportedState.CRITICAL, ("no_pollers",))
    assert [c.state.value for c in seen.changes] == ["happy", "stressed", "critical", "happy"]


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (look(200, "happy"), "happy where critical is right, 200 s into the fault"),
        (look(-30, "stressed"), "stressed where happy is right, -30 s into the fault"),
        (look(200, "critical", "persistence_slow"), "the first cause is persistence_slow, not no_pollers"),
        (look(200, "critical"), "the bottleneck is healthy, not worker_limited"),
        (look(200, "critical", "no_pollers", "now scale history up"), "it advises to scale history"),
    ],
)
def test_what_is_not_as_labelled_is_said(seen: Look, said: str) -> None:
    assert said in wrong(*RIGHT[:3], seen, *RIGHT[3:])


def test_an_old_evaluation_on_a_page_that_says_unknown_tells_of_now() -> None:
    blind = look(200, "unknown", told_after=100)
    assert blind.told_of() == NOON.add(seconds=300)


async def test_the_page_can_be_read_by_its_marks() -> None:
    worst = issue("no_pollers").model_copy(update={"suggested_actions": (scale_workers(),)})
    said = evaluation("critical", findings=(worst, issue("sticky_cache_thrash")))
    loop = ToldLoop()
    loop.tell(said)
    async with client(deps(loop)) as page:
        seen = read_page((await page.get("/")).text, NOON)
    assert (seen.state, seen.cause, seen.bottleneck) == (ReportedState.CRITICAL, "no_pollers", said.bottleneck)
    assert seen.evaluated == said.time
    assert scale_workers().description.lower() in seen.advice


def test_another_page_is_not_read() -> None:
    with pytest.raises(ValueError, match="not the Copilot's page"):
        read_page("<html><body data-state='happy'>hello</body></html>", Instant.from_timestamp(0))
