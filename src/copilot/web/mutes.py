"""The card of what is muted: each mute, until when, and what it held back."""

from dataclasses import dataclass
from typing import Literal

from whenever import Instant

from copilot.explain.mutes import NAMES, ended_words, held_words, moment
from copilot.rules.mutes import MuteLife
from copilot.web.verdicts import VerdictView

HELD_SHOWN = 20


@dataclass(frozen=True, slots=True)
class MuteRow:
    """A mute on the page. `when`: how, and until when; or why it ended. `held`: the last of what it held back."""

    life: MuteLife
    state: Literal["active", "pending", "over"]
    when: str
    held: tuple[str, ...]


def mute_rows(view: VerdictView) -> list[MuteRow]:
    """The mutes of a verdict: active ones, then those to come, then those that ended, the newest first."""
    judged = view.muted
    rows = [_row(life, view.now) for life in (judged.lives if judged else view.mutes)]
    return sorted(rows, key=lambda row: ("active", "pending", "over").index(row.state))


def _row(life: MuteLife, now: Instant) -> MuteRow:
    mute, how = life.mute, NAMES[life.mute.kind]
    window = life.last_window(now)
    held = tuple(held_words(life.held)[-HELD_SHOWN:])
    if life.is_over(now):
        return MuteRow(life, "over", f"{how}, ended {moment(life.over_at)} ({ended_words(life, now)})", held)
    weekly = f", weekly until {moment(mute.until)}" if mute.weekly else ""
    if window is not None and life.active(now):
        return MuteRow(life, "active", f"{how} until {moment(window[1])}{weekly}", held)
    return MuteRow(life, "pending", f"{how} from {moment(mute.start)} to {moment(mute.end)}{weekly}", held)
