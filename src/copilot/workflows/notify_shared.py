"""What the notifying loop is started with and asked, and what it carries on."""

from pydantic import Field

from copilot.activities.messages import Document, Message
from copilot.workflows.shared import Definition, LastError, LoopKnown

TOLD_MEMO = "told"


class KnownNotices(LoopKnown):
    """What the notifying loop knows, kept (but for the evaluations) in its memo.
    `told`: what each channel knows; `newest`: the newest evaluation it heard of; `unseen`: those it has not planned
    with; `plans`: how often it planned."""

    seen: Document | None = None
    told: dict[str, Document] = Field(default_factory=dict)
    newest: Document | None = None
    unseen: list[Document] = Field(default_factory=list)
    plans: int = 0
    sent: int = 0


class Notify(Message):
    """Start of a notifying loop; `known` comes from the run before."""

    cluster: str
    definition: Definition
    known: KnownNotices | None = None


class NotifyStatus(Message):
    """How a notifying loop is doing: how often it looked what is to be told, and messages that arrived."""

    definition: Definition
    looks: int
    sent: int
    runs: int
    last_error: LastError | None
