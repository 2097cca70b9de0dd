"""The errors that this project raises.

CopilotError
├── SettingsError      the settings cannot be used; carries all problems
├── SourceError        a source failed to answer; carries what was requested and a missing code
├── RecordingError     a recording cannot be read or written; names the line
├── StoreError         the state store refused a statement, or cannot be reached
└── StartError         a part of the embedded stack could not be started

Packages add their own near their use, all below these.
"""

from collections.abc import Sequence

from copilot.redaction.redactor import redacted
from copilot.rules.signals.readings import MissingCode


class CopilotError(Exception):
    """Base of all errors meant for a person: one line that says what is wrong and what to do.

    `str()` redacts secrets. Logs, API and command line redact too; this covers texts that reach a person another way,
    such as a traceback."""

    def __str__(self) -> str:
        return redacted(super().__str__())


class SettingsError(CopilotError):
    """The settings cannot be used. `problems` holds all problems, each a sentence, without secrets."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(redacted(problem) for problem in problems)
        super().__init__("; ".join(problems))


class SourceError(CopilotError):
    """A source failed to answer: its readings are missing with `code` and `detail`, which has no secrets. `asked` names
    what was requested; empty where that is clear."""

    def __init__(self, code: MissingCode, detail: str, *, asked: str = "") -> None:
        self.code = code
        self.detail = redacted(detail)
        self.asked = asked
        super().__init__(f"{asked}: {detail}" if asked else detail)


class RecordingError(CopilotError):
    """A recording cannot be read or written; the text names the line and the problem."""


class StoreError(CopilotError):
    """The state store refused a statement, or cannot be reached."""


class StartError(CopilotError):
    """A part of the embedded stack could not be started; the text says what to do."""
