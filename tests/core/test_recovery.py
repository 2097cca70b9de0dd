"""When a backlog will have drained: said where its readings lie on a line, and nowhere else."""

import pytest

from copilot.explain.gates import forecast_words
from copilot.rules.signals.readings import Signals
from tests.cluster_signals import every, judged, play, with_queues, workers_down
from tests.core.test_queue_findings import row

NOISE = (3, -4, 2, -1, 4, -3, 0, 1, -2)


def tick(backlog: float, added: float, dispatched: float) -> Signals:
    return with_queues(workers_down(90.0), orders=row(added, dispatched, max(0.0, backlog), 90.0))


@pytest.mark.parametrize(
    ("per_tick", "start", "noise", "said"),
    [
        (-90.0, 3000.0, 0.5, "The backlog of `orders` (workflow) drains in about 13 min at the present rate."),
        (-90.0, 3000.0, 8, "The backlog of `orders` (workflow) drains in 12–14 min at the present rate."),
        (120.0, 500.0, 1, "The backlog of `orders` (workflow) does not drain at the present rate: "
         "it needs about 40 % more dispatch."),
        (-9.0, 3000.0, 30, None),
        (0.0, 3000.0, 1, None),
        (-1.0, 19.0, 0, None),
    ],
    ids=["drains", "with noise", "grows", "only noise", "stays", "small"],
)  # fmt: skip
def test_a_clear_trend_gives_a_time_or_what_is_lacking(
    per_tick: float, start: float, noise: float, said: str | None
) -> None:
    ticks = [tick(start + per_tick * n + noise * NOISE[n], 14.0, 10.0) for n in range(8)]
    found = judged(ticks, every(30.0))[0][-1].work.recovery
    assert [forecast_words(f) for f in found] == ([said] if said else [])


def test_a_trend_that_turned_and_one_of_a_minute_say_nothing_yet() -> None:
    turned = [1000.0, 1200.0, 1400.0, 1600.0, 1800.0, 1700.0, 1600.0, 1500.0]
    evaluations = judged([tick(backlog, 4.0, 8.0) for backlog in turned], every(30.0))[0]
    assert [bool(e.work.recovery) for e in evaluations][4:] == [True, False, False, False]


def test_the_explanation_says_it_beside_when_it_is_over() -> None:
    draining = [tick(3000.0 - 90 * n, 5.0, 8.0) for n in range(8)]
    last = play(draining, every(30.0))[0][-1]
    assert "drains in about 13 min at the present rate." in last.narrative.watch_next
    assert last.narrative.watch_next.startswith("Recovered when")


def test_where_nothing_is_dispatched_no_share_is_made_up() -> None:
    growing = [tick(500.0 + 120 * n, 4.0, 0.0) for n in range(8)]
    assert judged(growing, every(30.0))[0][-1].work.recovery == ()
