"""Loki's HTTP API, as far as it is used: lines of a time range, streams and labels, and what its refusals mean."""

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx
from whenever import Instant

from copilot.errors import SourceError
from copilot.http_failures import retry_after_sec
from copilot.rules.signals.readings import Missing, MissingCode
from copilot.settings.sources import LokiSettings
from copilot.sources.http import client, fetch, one_line, status_error, unreadable

MAX_ANSWER_BYTES = 64_000_000
MAX_ERROR_BYTES = 1_000
MAX_WAIT_SEC = 300.0
MAX_NAMED = 10
_LIMIT = re.compile(r"max entries limit.*\(\d+ > (\d+)\)")
_SELECTOR = re.compile(r"""\{(?:[^{}"`]|"(?:[^"\\]|\\.)*"|`[^`]*`)*\}""")
_MATCHER = re.compile(r"""([A-Za-z_]\w*)\s*(?:=~|!=|!~|=)\s*(?:"(?:[^"\\]|\\.)*"|`[^`]*`)""")


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a Loki means by some words (a regular expression), as a missing code and as advice."""

    words: str
    code: MissingCode
    fix: str


REFUSALS: Final[tuple[Refusal, ...]] = (
    Refusal("no org id|tenant ID .* (?:unsupported|too long)|no tenant", MissingCode.FORBIDDEN,
        "set [clusters.logs.loki] tenant to the tenant that has the servers' logs"),
    Refusal("multiple org IDs", MissingCode.FORBIDDEN,
        "set tenant to one tenant, or have the Loki allow several (multi_tenant_queries_enabled)"),
    Refusal("blocked by policy", MissingCode.FORBIDDEN,
        "the Loki's blocked_queries refuse this query: change it, or have it allowed"),
    Refusal("max entries limit", MissingCode.DROPPED, "set max_entries to the Loki's max_entries_limit_per_query"),
    Refusal("larger than|message size exceeds", MissingCode.DROPPED,
        "lower max_entries, or raise the Loki's grpc_server_max_recv_msg_size and grpc_server_max_send_msg_size"),
    Refusal("too many bytes|bytes limit|max_query_bytes_read", MissingCode.DROPPED,
        "add label matchers to the query, or raise the Loki's max_query_bytes_read"),
    Refusal("maximum (?:number )?of series", MissingCode.DROPPED,
        "add label matchers to the query, or raise the Loki's max_query_series"),
    Refusal("time range exceeds|query length|end timestamp must not be", MissingCode.DROPPED,
        "raise the Loki's max_query_length, and check both clocks"),
    Refusal("parse error|syntax error|queries require at least one", MissingCode.PARSE,
        "fix the query: a stream selector in LogQL, such as {namespace=\"temporal\"}"),
    Refusal("timed out|deadline exceeded", MissingCode.TIMEOUT,
        "add label matchers to the query, or lower max_entries; "
        "an answer over the Loki's grpc_server_max_recv_msg_size (4 MiB) never comes"),
    Refusal("did not arrive before", MissingCode.TIMEOUT,
        "is the network open from here? Lower max_entries, or raise the Loki's grpc_server_max_recv_msg_size (4 MiB): "
        "an answer over it never comes"),
    Refusal("no stream matches", MissingCode.ABSENT, "change query to labels and values that there are, or set tenant"),
    Refusal("asks to wait|Too Many Requests", MissingCode.DROPPED,
        "add label matchers to the query, or raise the Loki's limits of queries"),
)  # fmt: skip
"""What is known of a Loki's refusals, from its answers; the first that matches counts."""


def advice(missing: Missing) -> str:
    """What to do about logs that a Loki did not give; empty where nothing more is known than the code."""
    return next((r.fix for r in REFUSALS if r.code is missing.code and re.search(r.words, missing.detail)), "")


class Throttled(SourceError):
    """Too many requests: the next one is welcome in `wait_sec` seconds."""

    def __init__(self, detail: str, wait_sec: float) -> None:
        super().__init__(MissingCode.DROPPED, detail)
        self.wait_sec = wait_sec


class CutOff(SourceError):
    """An answer that broke off, or is larger than a Loki or we can take: a smaller one may come."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line with its time in nanoseconds, its stream's labels, and a number that tells it from other lines; Loki
    itself stores identical ones of one nanosecond once."""

    at: int
    line: str
    labels: Mapping[str, str]
    digest: int

    @property
    def short(self) -> int:
        """32 bits of its digest: enough to tell a late line from 3,000 others, not to tell all lines of a reading."""
        return self.digest & 0xFFFFFFFF


class LokiApi:
    """The requests. All raise SourceError. SettingsError where a file of the settings cannot be used."""

    def __init__(self, settings: LokiSettings) -> None:
        self._url = f"{settings.url.rstrip('/')}/loki/api/v1/"
        self._query = settings.query
        self._headers = {"Accept": "application/json"}
        if settings.tenant:
            self._headers["X-Scope-OrgID"] = settings.tenant
        self._client = client(settings)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def lines(self, start: int, end: int, limit: int, query: str = "") -> list[Entry]:
        """The first lines of a range, which includes its start and excludes its end (nanoseconds); of another query,
        where given."""
        span: dict[str, str | int] = {"start": start, "end": end, "limit": limit, "direction": "forward"}
        answer = await self._get("query_range", {"query": query or self._query, **span})
        found = await asyncio.to_thread(read_streams, answer)
        return [entry for entry in found if start <= entry.at < end]

    async def counts(self, query: str, at: int) -> list[tuple[dict[str, str], int]]:
        """The labels and numbers that a metric query gives at a time (nanoseconds)."""
        return read_vector(await self._get("query", {"query": query, "time": at}))

    async def why_nothing(self, start: int, end: int) -> str:
        """Why the query matches no stream of a range, with the labels that there are; empty if it matches some."""
        selector = found[0] if (found := _SELECTOR.search(self._query)) else self._query
        span = {"start": start, "end": end}
        if await self._list("series", {"match[]": selector, **span}):
            return ""
        labels = [name for name in await self._list("labels", span) if isinstance(name, str)]
        if not labels:
            tenant = self._headers.get("X-Scope-OrgID")
            of_tenant = f" of tenant {tenant!r}" if tenant else ""
            return f"no stream matches {selector}: there are no streams{of_tenant} at all"
        asked = list(dict.fromkeys(_MATCHER.findall(selector)))
        if unknown := next((name for name in asked if name not in labels), None):
            return f"no stream matches {selector}: there is no label {unknown}, the labels are {_named(labels)}"
        values = {name: await self._list(f"label/{name}/values", span) for name in asked[:MAX_NAMED]}
        said = "; ".join(f"{name} is {_named(there)}" for name, there in values.items() if there)
        return f"no stream matches {selector}: {said}"

    async def _list(self, path: str, params: dict[str, Any]) -> list[Any]:
        try:
            document: Any = json.loads(await self._get(path, params))
            found = document.get("data", [])  # A label that nobody has is answered without data.
            if document["status"] != "success" or not isinstance(found, list):
                raise unreadable("the answer is not from a Loki: is this its address?")
        except (ValueError, KeyError, AttributeError, RecursionError) as error:
            raise unreadable("the answer is not from a Loki: is this its address?") from error
        return found

    async def _get(self, path: str, params: dict[str, Any]) -> bytes:
        answer, _ = await fetch(
            self._client,
            "GET",
            self._url + path,
            refusal=_refusal,
            cut_off=CutOff,
            max_bytes=MAX_ANSWER_BYTES,
            error_bytes=MAX_ERROR_BYTES,
            headers=self._headers,
            params=params,
        )
        return answer


def _named(names: list[Any]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(str(name)[:60] for name in names[:MAX_NAMED]) + more


def most_entries(error: SourceError) -> int | None:
    """The server's limit of lines, where it is what an error is about."""
    return int(found[1]) if (found := _LIMIT.search(error.detail)) else None


def read_streams(answer: bytes) -> list[Entry]:
    """The lines of an answer. SourceError (parse) for anything but complete streams."""
    try:
        document: Any = json.loads(answer)
        data = document["data"]
        if document["status"] != "success" or data["resultType"] != "streams":
            raise unreadable("the query gives no lines: is it a metric query?")
        entries: list[Entry] = []
        for stream in data["result"]:
            labels = {str(k): str(v) for k, v in stream["stream"].items()}
            name = json.dumps(labels, sort_keys=True)
            for at, line, *_ in stream["values"]:
                known = hashlib.blake2b(f"{at} {name} {line}".encode(errors="replace"), digest_size=8).digest()
                entries.append(Entry(int(at), str(line), labels, int.from_bytes(known)))
        return entries
    except json.JSONDecodeError as error:
        if answer.lstrip().startswith(b'{"status":"success"'):
            raise CutOff(MissingCode.PARSE, "the answer broke off") from error
        raise unreadable("the answer is not from a Loki: is this its address?") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise unreadable("the answer is not from a Loki: is this its address?") from error


def read_vector(answer: bytes) -> list[tuple[dict[str, str], int]]:
    """The series of an answer to a metric query. SourceError (parse) for anything else."""
    try:
        document: Any = json.loads(answer)
        data = document["data"]
        if document["status"] != "success" or data["resultType"] != "vector":
            raise unreadable("the query gives no numbers")
        return [(dict(series["metric"]), int(float(series["value"][1]))) for series in data["result"]]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise unreadable("the answer is not from a Loki: is this its address?") from error


def _refusal(response: httpx.Response, start: bytes) -> SourceError:
    text = "" if start.lstrip().startswith(b"<") else one_line(start.decode(errors="replace"))
    error = status_error(response, text, expected="Loki")
    if response.status_code == 429:
        wait = min(retry_after_sec(response.headers.get("retry-after", ""), Instant.now()) or 0.0, MAX_WAIT_SEC)
        return Throttled(f"{error.detail}: it asks to wait {wait:.0f} s", wait) if wait else error
    if response.status_code == 504:
        return SourceError(MissingCode.TIMEOUT, error.detail)
    known = next((r for r in REFUSALS if re.search(r.words, text)), None)
    if known is None or response.status_code not in (400, 401, 422, 500):
        return error
    detail = f"{error.detail}: set tenant" if "no org id" in text else error.detail
    kind = CutOff if "larger than max" in text or "message size" in text else SourceError
    return kind(known.code, detail)
