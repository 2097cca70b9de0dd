"""Whose turn it is, with a server that answers at once and a clock that is set."""

from collections.abc import Callable, Sequence

import pytest
from whenever import Instant

from copilot.errors import SourceError
from copilot.rules.signals.readings import MissingCode
from copilot.sources.temporal.calls import QueueTurns
from copilot.sources.temporal.queues import Description, Part, QueueKey

NOON = Instant.from_utc(2026, 11, 22, 12)
KEYS = tuple(QueueKey("default", f"queue-{n:03}") for n in range(120))


class Frontend:
    """Describes queues: `waiting` tasks by queue, `broken` ones fail. `asked` are those of this cycle."""

    def __init__(self, calls_a_queue: int = 1) -> None:
        self.waiting: dict[QueueKey, int] = {}
        self.broken: set[QueueKey] = set()
        self.asked: list[QueueKey] = []
        self._cost = calls_a_queue

    def cost(self, _versions: Sequence[str] | None) -> int:
        return self._cost

    async def describe(self, key: QueueKey, _versions: Sequence[str] | None, now: Callable[[], Instant]) -> Description:
        self.asked.append(key)
        if key in self.broken:
            raise SourceError(MissingCode.DROPPED, "refused", asked=key.task_queue)
        return Description(now(), {("workflow", "unversioned"): Part(backlog=self.waiting.get(key, 0))})


class Cycles:
    """Cycles of 30 seconds."""

    def __init__(self, frontend: Frontend) -> None:
        self.now = NOON
        self.frontend = frontend
        self.turns = QueueTurns(frontend, 30.0, lambda: self.now)

    async def next(self, keys: Sequence[QueueKey] = KEYS, calls: int = 72) -> dict[QueueKey, Description]:
        self.now = self.now.add(seconds=30)
        self.frontend.asked.clear()
        return await self.turns.describe(keys, lambda _key: (), calls, 8.0)


async def test_the_largest_are_described_every_cycle_and_the_rest_in_turn() -> None:
    frontend = Frontend()
    frontend.waiting = {key: 1 + n for n, key in enumerate(KEYS[-40:])}
    cycles = Cycles(frontend)
    for already in (50, 100):
        with pytest.raises(SourceError, match=f"{already} of 120 task queues described so far: 50 a cycle are"):
            await cycles.next()
    assert sum(d.size[0] for d in (await cycles.next()).values()) == sum(frontend.waiting.values())
    seen: set[QueueKey] = set()
    for _ in range(4):
        found = await cycles.next()
        assert len(found) == 120
        assert len(frontend.asked) == 50
        assert set(KEYS[-25:]) <= set(frontend.asked)
        seen.update(frontend.asked)
    assert seen == set(KEYS)


async def test_no_more_are_described_than_calls_are_left_for() -> None:
    frontend = Frontend(calls_a_queue=2)
    with pytest.raises(SourceError, match="12 of 120"):
        await Cycles(frontend).next(calls=25)
    assert len(frontend.asked) == 12


async def test_a_queue_that_fails_once_is_as_it_was_and_one_that_goes_on_failing_is_missing() -> None:
    frontend = Frontend()
    frontend.waiting = {KEYS[0]: 7}
    cycles = Cycles(frontend)
    await cycles.next(KEYS[:3])
    frontend.broken = {KEYS[0]}
    assert (await cycles.next(KEYS[:3]))[KEYS[0]].size[0] == 7
    for _ in range(3):
        cycles.now = cycles.now.add(seconds=30)
    with pytest.raises(SourceError, match="queue-000: refused"):
        await cycles.next(KEYS[:3])


async def test_when_all_fail_nothing_is_taken_from_before() -> None:
    frontend = Frontend()
    cycles = Cycles(frontend)
    await cycles.next(KEYS[:3])
    frontend.broken = set(KEYS[:3])
    with pytest.raises(SourceError, match="refused"):
        await cycles.next(KEYS[:3])
