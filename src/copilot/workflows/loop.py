"""What the loops have in common: each goes on until it is cancelled, run after run, with all it knows."""

from collections.abc import Mapping
from typing import Any, Generic, NoReturn, TypeVar

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from copilot.activities.messages import Message
from copilot.workflows import calls
from copilot.workflows.shared import Definition, LastError, LoopKnown, memo

K = TypeVar("K", bound=LoopKnown)


class Loop(Generic[K]):
    """A loop of a cluster. A run ends when it is long, or when the loop is told another definition; the next one has
    `_known` from it."""

    def __init__(self, cluster: str, definition: Definition, known: K) -> None:
        self._cluster = cluster
        self._definition = definition
        self._known = known
        self._left = definition.ticks_per_run
        self._redefined = False

    @workflow.query
    def last_error(self) -> LastError | None:
        """What last went wrong."""
        return self._known.last_error

    @workflow.signal
    def define(self, definition: Definition) -> None:
        """Carry on under another definition."""
        self._redefined = self._redefined or definition != self._definition
        self._definition = definition

    def _run_is_long(self) -> bool:
        return self._left <= 0 or workflow.info().is_continue_as_new_suggested()

    def _to_leave(self) -> bool:
        return self._redefined or self._run_is_long()

    def _begin_anew(self, start: type[Message], more: Mapping[str, Any] | None = None) -> NoReturn:
        """End this run and begin the next one with `start`; `more` is kept in its memo."""
        self._known.runs += 1
        workflow.continue_as_new(
            start.model_validate({"cluster": self._cluster, "definition": self._definition, "known": self._known}),
            memo={**memo(self._cluster, self._definition), **(more or {})},
        )

    def _went_wrong(self, error: ActivityError) -> str:
        """Remember what went wrong and give it as a line; a cancellation is not an error and passes through."""
        if is_cancelled_exception(error):
            raise error
        return self._remember(calls.in_one_line(error))

    def _remember(self, what: str) -> str:
        workflow.logger.warning("%s: %s", self._cluster, what)
        self._known.last_error = LastError(time=int(workflow.time()), what=what)
        return what

    def _all_is_well(self) -> None:
        """What went wrong is over."""
        if self._known.last_error is not None:
            self._known.last_error = self._known.last_error.model_copy(update={"over": True})
