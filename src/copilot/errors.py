"""The errors this project raises on purpose.

CopilotError
├── SettingsError      what the operator wrote cannot be used; carries every problem found
├── SourceError        a source did not answer as it should; carries what was asked and a missing code
├── RecordingError     a recording cannot be read; carries the line
├── StoreError         the state store refused or is away
└── StartError         something the embedded stack needs could not be started
"""

from collections.abc import Sequence

from copilot.redaction.redactor import redacted
from copilot.rules.signals.readings import MissingCode


class CopilotError(Exception):
    """Base of all errors meant for a person: its text says in one line what is wrong and what to do, and no secret."""

    def __str__(self) -> str:
        return redacted(super().__str__())


class SettingsError(CopilotError):
    """The operator's settings cannot be used. `problems` holds all of them, each a sentence."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(redacted(problem) for problem in problems)
        super().__init__("; ".join(problems))


class SourceError(CopilotError):
    """A source did not answer as it should; what it was asked for is missing with `code` and `detail`."""

    def __init__(self, code: MissingCode, detail: str, *, asked: str = "") -> None:
        self.code = code
        self.detail = redacted(detail)
        self.asked = asked
        super().__init__(f"{asked}: {detail}" if asked else detail)


class RecordingError(CopilotError):
    """A recording cannot be read; the text names the line and what is wrong with it."""


class StoreError(CopilotError):
    """The state store refused a statement or cannot be reached."""


class StartError(CopilotError):
    """A part of the embedded stack could not be started; the text says what to do."""
