"""What people and notifications did about an incident: who was notified, who has it, what was muted, and notes."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal, TypeAlias

from pydantic import Field
from whenever import Instant

from copilot.rules.mutes import MAX_NAME, Kind, MuteLife
from copilot.rules.signals.readings import Frozen

EntryKind: TypeAlias = Literal[
    "acknowledged", "silenced", "maintenance", "mute ended", "held back", "notified", "not delivered", "note"
]
MAX_NOTE = 2_000
_BEGAN: dict[Kind, EntryKind] = {"ack": "acknowledged", "silence": "silenced", "maintenance": "maintenance"}


class IncidentEntry(Frozen):
    """One thing that was done at `at`. `who`: the person, or the channel of a notification; empty where rules did it.
    `origin`: from where, where it was a person. `incident`: the id that it was about, `event_id`: of the notification;
    empty for mutes."""

    at: Instant
    kind: EntryKind
    who: Annotated[str, Field(max_length=MAX_NAME)] = ""
    text: Annotated[str, Field(max_length=MAX_NOTE)] = ""
    origin: str = ""
    incident: str = ""
    event_id: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        """The same for the same entry: attempts at one notification that fail are one."""
        if self.event_id:
            return (self.kind, self.who, self.event_id)
        return (self.kind, self.incident, self.at.format_iso(), self.who, self.text)

    def is_of(self, incident: str, began: Instant, ended: Instant) -> bool:
        """Whether it belongs to the incident of that id and time."""
        return self.incident == incident or (self.kind != "note" and began <= self.at <= ended)


def mute_entries(lives: Iterable[MuteLife], began: Instant, ended: Instant) -> Iterator[IncidentEntry]:
    """What the acknowledgements, and the mutes that were about something then, did between the two times."""
    for life in lives:
        mute, over, window = life.mute, life.over, life.last_window(ended)
        if window is None or window[1] < began or not (mute.kind == "ack" or life.mattered_in(window)):
            continue
        said = {"kind": _BEGAN[mute.kind], "who": mute.owner, "text": mute.reason, "origin": mute.created_from}
        yield IncidentEntry.model_validate({"at": window[0], **said})
        if over is not None and began <= over.at <= ended:
            why = over.why or ("the cluster is happy" if over.kind == "resolved" else "")
            yield IncidentEntry(at=over.at, kind="mute ended", who=over.who, text=why, origin=over.origin)
        elif began <= window[1] < ended:
            yield IncidentEntry(at=window[1], kind="mute ended", text="its time was over")
        for event in life.held:
            if event.held is not None and began <= event.at <= ended:
                text = f"{event.held.notification}, {event.held.state.value}"
                yield IncidentEntry(at=event.at, kind="held back", who=event.held.channel, text=text)
