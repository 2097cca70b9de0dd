"""`[[notify]]` of copilot.toml: the channels, and which notifications each one gets. Values only."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, SecretStr, model_validator
from whenever import Instant, Time

from copilot.rules.model import ReportedState
from copilot.settings.sources import Name, Section, reject, valid, valid_http_url

ChannelKind = Literal["webhook", "slack", "pagerduty", "apprise", "heartbeat", "alertmanager"]
HEARTBEAT: ChannelKind = "heartbeat"
StateName = Literal["critical", "unknown", "stressed"]
# kind → the secrets it needs, each given as it is or by a file.
REQUIRED: dict[str, tuple[str, ...]] = {
    "webhook": ("url", "secret"),
    "slack": ("url",),
    "pagerduty": ("key",),
    "apprise": ("url",),
    "heartbeat": ("url",),
    "alertmanager": (),
}
ALERTMANAGER_PUSH_SEC = 60.0
"""Between two pushes of an alert that fires."""
ALERTMANAGERS_OWN = ("min_gap_sec", "repeat_interval_sec", "mute_time_intervals")
OPTIONAL: dict[str, tuple[str, ...]] = {"pagerduty": ("url",)}


TimeOfDay = Annotated[str, valid(Time.parse_iso, "{} is not a time of day: write 22:00, for example")]
_NOON = Instant.from_utc(2026, 1, 1, 12)
TimeZone = Annotated[str, valid(_NOON.to_tz, "{} is not a time zone: write Europe/Berlin, for example, or UTC")]


class MuteTimeInterval(Section):
    """A part of every day in which a channel is muted: `{ start_time = "22:00", end_time = "07:00", location =
    "Europe/Berlin", except_states = ["critical"] }`. It spans midnight where `end_time` is the earlier one. Muted
    notifications are sent at its end if they still apply; `except_states` and resolved ones are never muted."""

    start_time: TimeOfDay
    end_time: TimeOfDay
    location: TimeZone = "UTC"
    except_states: tuple[StateName, ...] = ("critical",)

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if Time.parse_iso(self.start_time) == Time.parse_iso(self.end_time):
            raise ValueError("a mute time interval ends when it starts: leave it out")
        return self

    def muted_until(self, state: ReportedState, now: Instant) -> Instant:
        """The end of the interval if `state` is muted at `now`; else `now`."""
        if state.value in self.except_states:
            return now
        start, end = Time.parse_iso(self.start_time), Time.parse_iso(self.end_time)
        local = now.to_tz(self.location)
        started, before_end = local.time() >= start, local.time() < end
        over_midnight = end < start
        if not (started or before_end if over_midnight else started and before_end):
            return now
        day = local.date().add(days=1) if over_midnight and started else local.date()
        return max(now, day.at(end).assume_tz(self.location).to_instant())


class ChannelRules(Section):
    """Which notifications a channel gets, and when: the part of `NotifySettings` that needs no secret."""

    name: Name
    clusters: tuple[str, ...] = ()
    states: Annotated[tuple[StateName, ...], Field(min_length=1)] = ("critical", "unknown")
    min_gap_sec: Annotated[float, Field(ge=0, le=86_400)] = 600.0
    repeat_interval_sec: Annotated[float, Field(ge=60, le=86_400)] | None = None
    mute_time_intervals: tuple[MuteTimeInterval, ...] = ()

    @property
    def pushes_again(self) -> bool:
        """Whether an alert there ends by itself unless it is pushed again."""
        return False

    @property
    def takes_summaries(self) -> bool:
        """Whether the channel can be sent what is no alert."""
        return True

    def matches(self, cluster: str) -> bool:
        """Whether the channel is notified about this cluster."""
        return not self.clusters or cluster in self.clusters

    def muted_until(self, state: ReportedState, now: Instant) -> Instant:
        """When a notification about `state` may be sent: `now`, or after the intervals that mute it."""
        for _ in range(2 * len(self.mute_time_intervals)):
            later = max(interval.muted_until(state, now) for interval in self.mute_time_intervals)
            if later == now:
                break
            now = later
        return now


class NotifySettings(ChannelRules):
    """A channel for notifications: a `webhook` (`url`, and the `secret` that signs), `slack` (the `url` of an incoming
    webhook; or the `token` of a bot that may write to `channel`: then an incident is one message, which is kept up to
    date, with a thread), `pagerduty` (the integration `key`; `url` for an endpoint other than PagerDuty's default) or
    `apprise` (any `url` that apprise knows; needs the extra `notify`). A `heartbeat` is no notification: the API posts
    to its `url` while all is well with the Copilot itself, for a service that reports when the posts stop. An
    `alertmanager` is pushed an alert every minute while it fires, at each of `urls`, in every state unless `states` is
    set. URLs, keys and tokens are secrets: each can come from a file instead, which is read again for every
    notification.

    The channel is notified about `clusters` (empty: all) in one of `states`, and when that is resolved. Improvements
    and repeated resolves keep `min_gap_sec` between two notifications of one problem. An unresolved problem is notified
    again after `repeat_interval_sec` (unset: never)."""

    kind: ChannelKind
    urls: tuple[SecretStr, ...] = ()
    url: SecretStr | None = None
    url_file: Path | None = None
    key: SecretStr | None = None
    key_file: Path | None = None
    secret: SecretStr | None = None
    secret_file: Path | None = None
    token: SecretStr | None = None
    token_file: Path | None = None
    channel: str = ""

    @property
    def pushes_again(self) -> bool:
        return self.kind == "alertmanager"

    @property
    def takes_summaries(self) -> bool:
        return self.kind not in ("alertmanager", "pagerduty")

    @model_validator(mode="before")
    @classmethod
    def _alertmanager_groups_and_repeats_itself(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("kind") != "alertmanager":
            return given
        own = [name for name in ALERTMANAGERS_OWN if name in given]
        reject({f"channel {given.get('name')!r}: set {', '.join(own)} in Alertmanager's own configuration": own})
        pushed = {"states": get_args(StateName), "min_gap_sec": 0.0, "repeat_interval_sec": ALERTMANAGER_PUSH_SEC}
        return pushed | given

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        by_bot = self.kind == "slack" and (self.token is not None or self.token_file is not None)
        required = ("token",) if by_bot else REQUIRED[self.kind]
        allowed = ("token", "url") if by_bot else (*required, *OPTIONAL.get(self.kind, ()))
        channel = f"channel {self.name!r}"
        reject({
            f"{channel}: slack with a token needs channel, as #ops or C0123456789": by_bot and not self.channel,
            f"{channel}: only slack with a token has channel": bool(self.channel) and not by_bot,
        })  # fmt: skip
        for name in ("url", "key", "secret", "token"):
            given = [n for n in (name, f"{name}_file") if getattr(self, n) is not None]
            reject({
                f"{channel}: choose one of {name} and {name}_file": len(given) > 1,
                f"{channel}: {self.kind} has no {', '.join(given)}": given and name not in allowed,
                f"{channel}: {self.kind} needs {name} or {name}_file": not given and name in required,
            })  # fmt: skip
        to_alertmanager = self.kind == "alertmanager"
        urls = [url for url in (self.url, *self.urls) if url is not None and self.kind != "apprise"]
        reject({
            f"{channel}: {self.kind} has no urls": self.urls and not to_alertmanager,
            f"{channel}: alertmanager needs urls, of each of its replicas": to_alertmanager and not self.urls,
            f"{channel}: url is not an http:// or https:// URL":
                any(not valid_http_url(url.get_secret_value()) for url in urls),
        })  # fmt: skip
        return self
