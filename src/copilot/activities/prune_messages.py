"""What the pruning loop and its activity say to each other. As in messages.py: fields are only ever added."""

from copilot.activities.messages import Message


class PruneStore(Message):
    """Delete what the store holds of a cluster beyond its retention, as of `now` (unix seconds)."""

    cluster: str
    now: int


class StorePruned(Message):
    """How many rows were deleted, and the moment they were all older than (unix seconds)."""

    deleted: int
    before: int
