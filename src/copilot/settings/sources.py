"""What sections share, sources read over HTTP, and `[clusters.logs]`. Values only."""

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Self

import httpx
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from copilot.logs.lines import LevelName
from copilot.logs.patterns import KnownPattern, validate_regex


def valid(parse: Callable[[str], object], otherwise: str = "") -> AfterValidator:
    """A validator that keeps a text as it is. ValueError, `otherwise` with the text in place of {}, where `parse`
    returns None or raises ValueError; without `otherwise`, what `parse` raises."""

    def check(text: str) -> str:
        with contextlib.suppress(ValueError) if otherwise else contextlib.nullcontext():
            if parse(text) is not None:
                return text
        raise ValueError(otherwise.format(repr(text)))

    return AfterValidator(check)


def _http_url(url: str) -> str:
    """The URL; ValueError (which may quote it) where it is not a usable one."""
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url!r} is not an http:// or https:// URL")
    try:
        parsed = httpx.URL(url)
        parsed.raw_host.decode("ascii")
    except (httpx.InvalidURL, ValueError) as error:
        raise ValueError(f"{url!r} is not a valid URL: {error}") from error
    if not parsed.host:
        raise ValueError(f"{url!r} has no host")
    if not 0 < (parsed.port or 1) < 65536:
        raise ValueError(f"{url!r} has an invalid port")
    return url


def valid_http_url(url: str) -> bool:
    """Whether requests can be sent to the URL. Quotes nothing: the URL may be a secret."""
    try:
        return bool(_http_url(url))
    except ValueError:
        return False


HttpUrl = Annotated[str, AfterValidator(_http_url)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]


class Section(BaseModel):
    """Base of the sections: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def reject(problems: Mapping[str, object]) -> None:
    """ValueError: the first problem that there is."""
    if found := next((text for text, there_is in problems.items() if there_is), None):
        raise ValueError(found)


def reject_duplicates(what: str, names: Sequence[str]) -> None:
    """ValueError if a name is used twice."""
    if duplicates := sorted({n for n in names if names.count(n) > 1}):
        raise ValueError(f"two {what} are named {', '.join(duplicates)}")


class HttpSourceSettings(Section):
    """A server read over HTTP, with one way to authenticate: a bearer token, a user and password, or a certificate."""

    section: ClassVar[str] = "source"
    ways: ClassVar[tuple[str, ...]] = ("bearer_token", "bearer_token_file", "basic_user")

    url: HttpUrl
    bearer_token: SecretStr | None = None
    bearer_token_file: Path | None = None
    basic_user: str | None = None
    basic_password: SecretStr | None = None
    basic_password_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        chosen = [name for name in self.ways if getattr(self, name) is not None]
        user, passwords = self.basic_user is not None, {self.basic_password, self.basic_password_file} - {None}
        reject({
            f"choose one of {' and '.join(chosen)}": len(chosen) > 1,
            "basic_user needs one of basic_password and basic_password_file": user and len(passwords) != 1,
            "a basic password needs basic_user": not user and passwords,
            "key_file needs cert_file": self.key_file and not self.cert_file,
            "ca_file and cert_file need an https:// url": (self.ca_file or self.cert_file) and self.url[:5] != "https",
            "put user and password into basic_user and basic_password, not into the url": "@" in self.url.split("/")[2],
        })  # fmt: skip
        return self


_HEADER = valid(re.compile("[ -~]*").fullmatch, "a header can hold printable ASCII characters only")


class LokiSettings(HttpSourceSettings):
    """A Loki. `url` is the part before `/loki/api/v1/query_range`. `query` selects the logs of the watched servers, for
    example `{namespace="temporal", container=~"temporal-(frontend|history|matching|worker)"}`; `tenant` is sent as
    X-Scope-OrgID. One query gives at most `max_entries` lines, fewer after queries that timed out or whose answers were
    too large. Lines are read when they are `delay_sec` old; those up to a minute late are read too.
    Over 1,000 lines a second the Loki counts them by pattern, and few are read, until they are under 500 in three
    readings; late ones are not counted then."""

    section = "logs.loki"

    query: Annotated[str, Field(pattern=r"^\s*\{.*\w.*\}")]
    tenant: Annotated[str, Field(min_length=1, max_length=500), _HEADER] | None = None
    max_entries: Annotated[int, Field(ge=10, le=100_000)] = 5_000
    delay_sec: Annotated[float, Field(ge=0, le=300)] = 5.0


class LogPatternSettings(Section):
    """A pattern of your own: lines that contain one of `words` (ignoring case) or match `regex` (case-sensitive, in the
    first 500 characters of a message). Lines below `level` are ignored."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    words: tuple[Annotated[str, Field(min_length=3, max_length=200)], ...] = ()
    regex: str | None = None
    level: LevelName = "info"

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if not self.words and self.regex is None:
            raise ValueError(f"pattern {self.name!r} needs words or a regex")
        if self.regex is not None:
            validate_regex(self.regex)
        return self

    def pattern(self) -> KnownPattern:
        """The pattern that lines are matched with."""
        regex = validate_regex(self.regex) if self.regex is not None else None
        return KnownPattern(self.name, tuple(w.lower() for w in self.words), regex=regex, level=self.level)


class LogSettings(Section):
    """Logs of the watched servers: `files` (paths; the last part may contain * and ?) or a Loki."""

    files: tuple[Path, ...] = ()
    loki: LokiSettings | None = None
    patterns: tuple[LogPatternSettings, ...] = ()

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if bool(self.files) == (self.loki is not None):
            raise ValueError("choose one of files and loki")
        reject_duplicates("patterns", [p.name for p in self.patterns])
        return self
