"""What the notifying loop and its activities say to each other. As in messages.py: fields are only ever added. `told`,
`say`, `seen` and `notice` are documents of core/notices.py, which the loop hands on without looking inside. No address
and no key is ever among them: the worker that sends has them from its settings."""

from copilot.activities.messages import Document, Message

# What of an Evaluation document a message needs.
NEEDED = ("evaluation_id", "cluster", "time", "verdict", "summary", "findings")


def to_be_told(evaluation: Document) -> Document:
    """An Evaluation document without what messages do not need, its signals above all."""
    return {name: evaluation[name] for name in NEEDED if name in evaluation}


class PlanNotices(Message):
    """What is to be told at `now` (unix seconds)? `unseen`: evaluations since the last plan, oldest first; `newest`:
    the newest there is; `told`: what each channel knows; `busy`: channels that are being told something."""

    cluster: str
    now: float
    unseen: list[Document]
    newest: Document | None
    seen: Document | None
    told: dict[str, Document]
    busy: list[str]


class Planned(Message):
    """One message for one channel."""

    channel: str
    say: Document
    notice: Document


class NoticesPlanned(Message):
    """`told`: of those channels whose knowledge changed without a message; `look_at`: when to plan again at the latest
    (unix seconds; None: when something changes)."""

    seen: Document | None
    told: dict[str, Document]
    sends: list[Planned]
    look_at: float | None


class SendNotice(Message):
    """Try once to send a message, at `now` (unix seconds)."""

    cluster: str
    now: float
    send: Planned
    told: Document | None


class NoticeSent(Message):
    """What the channel knows now, and what went wrong, if anything did."""

    told: Document
    problem: str = ""
