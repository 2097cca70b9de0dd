"""`[[notify]]` of copilot.toml: who is told of a cluster's state, how and when. Values only."""

from pathlib import Path
from typing import Annotated, Literal, Self

import httpx
from pydantic import AfterValidator, ConfigDict, Field, SecretStr, model_validator
from whenever import Instant, Time

from copilot.notify.decide import ChannelRules, QuietHours
from copilot.rules.model import ReportedState
from copilot.settings.sources import Section

ChannelKind = Literal["webhook", "slack", "pagerduty", "apprise"]
StateName = Literal["critical", "unknown", "stressed"]
# kind → the secrets it needs, each given as it is or by a file.
NEEDS: dict[str, tuple[str, ...]] = {
    "webhook": ("url", "secret"),
    "slack": ("url",),
    "pagerduty": ("key",),
    "apprise": ("url",),
}
MAY: dict[str, tuple[str, ...]] = {"pagerduty": ("url",)}


def _time_zone(name: str) -> str:
    try:
        Instant.from_utc(2026, 1, 1).to_tz(name)
    except ValueError as error:
        raise ValueError(f"{name!r} is no time zone: write Europe/Berlin, say, or UTC") from error
    return name


def _time_of_day(text: str) -> str:
    try:
        Time.parse_iso(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no time of day: write 22:00") from error
    return text


TimeOfDay = Annotated[str, AfterValidator(_time_of_day)]


class QuietHoursSettings(Section):
    """`{ from = "22:00", to = "07:00", timezone = "Europe/Berlin", except = ["critical"] }`: what is not in `except` is
    told when the quiet hours are over, if it is still so. What was told is resolved at any hour."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    start: TimeOfDay = Field(alias="from")
    end: TimeOfDay = Field(alias="to")
    timezone: Annotated[str, AfterValidator(_time_zone)] = "UTC"
    but: tuple[StateName, ...] = Field(default=("critical",), alias="except")

    @model_validator(mode="after")
    def _some_hours(self) -> Self:
        if Time.parse_iso(self.start) == Time.parse_iso(self.end):
            raise ValueError("quiet hours end when they begin: leave them out")
        return self

    def rules(self) -> QuietHours:
        """The same as the rules know it."""
        but = frozenset(ReportedState(state) for state in self.but)
        return QuietHours(
            start=Time.parse_iso(self.start), end=Time.parse_iso(self.end), timezone=self.timezone, but=but
        )


class NotifySettings(Section):
    """A channel people are told on: a `webhook` (`url`, and the `secret` that signs), `slack` (an incoming webhook's
    `url`), `pagerduty` (the integration `key`; `url` where it is not PagerDuty's usual one) or `apprise` (any `url` of
    apprise's; needs the extra `notify`). Addresses and keys are secrets: each can stand in a file instead, which is
    read anew for every message.

    It hears of `clusters` (empty: all) when they are in one of `states`, and when that is over. The same is not said
    again within `repeat_after_sec`; `remind_every_sec` repeats that a cluster is still critical."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    kind: ChannelKind
    url: SecretStr | None = None
    url_file: Path | None = None
    key: SecretStr | None = None
    key_file: Path | None = None
    secret: SecretStr | None = None
    secret_file: Path | None = None
    clusters: tuple[str, ...] = ()
    states: Annotated[tuple[StateName, ...], Field(min_length=1)] = ("critical", "unknown")
    quiet_hours: QuietHoursSettings | None = None
    repeat_after_sec: Annotated[float, Field(ge=0, le=86_400)] = 600.0
    remind_every_sec: Annotated[float, Field(ge=60, le=86_400)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        needs, may = NEEDS[self.kind], (*NEEDS[self.kind], *MAY.get(self.kind, ()))
        for name in ("url", "key", "secret"):
            given = [n for n in (name, f"{name}_file") if getattr(self, n) is not None]
            if len(given) > 1:
                raise ValueError(f"channel {self.name!r}: choose one of {name} and {name}_file")
            if given and name not in may:
                raise ValueError(f"channel {self.name!r}: {self.kind} has no {given[0]}")
            if not given and name in needs:
                raise ValueError(f"channel {self.name!r}: {self.kind} needs {name} or {name}_file")
        if self.url is not None and self.kind != "apprise" and not http_address(self.url.get_secret_value()):
            raise ValueError(f"channel {self.name!r}: url is no http:// or https:// address")
        return self

    def rules(self) -> ChannelRules:
        """When it hears of what, as the rules know it."""
        return ChannelRules(
            name=self.name,
            clusters=self.clusters,
            states=frozenset(ReportedState(state) for state in self.states),
            quiet_hours=self.quiet_hours.rules() if self.quiet_hours is not None else None,
            repeat_after_sec=self.repeat_after_sec,
            remind_every_sec=self.remind_every_sec,
        )


def http_address(url: str) -> bool:
    """Whether something can be sent there by HTTP. Says nothing of the address: it may be a secret."""
    try:
        parsed = httpx.URL(url)
        parsed.raw_host.decode("ascii")
        port = parsed.port or 1
    except (httpx.InvalidURL, ValueError):
        return False
    return parsed.scheme in ("http", "https") and bool(parsed.host) and 0 < port < 65536
