"""Prometheus' HTTP API: an instant query as samples, or a SourceError that names the cause in one line."""

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any

import httpx

from copilot.core.asked import Sample
from copilot.core.errors import SourceError
from copilot.core.signals import MissingCode
from copilot.settings import PrometheusSettings
from copilot.sources.pages import ENCODING, beginning, body, failed

MAX_ANSWER_BYTES = 32_000_000
PARSE_INLINE_BYTES = 200_000
MAX_ERROR_BYTES = 4_000
ANNOTATIONS = ("PromQL info:", "PromQL warning:")
"""Remarks on a query's style, which older servers send as warnings; the answer is whole all the same."""


COST_GUARD = "max_samples_processed_error_threshold"
"""Amazon's: a query that would read more samples is refused and not charged."""
_LIMIT = re.compile(r"samples|limit|threshold|exceed|too (many|large|long|costly)|timeout|timed out", re.IGNORECASE)


def query_url(settings: PrometheusSettings) -> httpx.URL:
    """Where instant queries are asked, for Amazon with the cost guard (a parameter of the address there)."""
    url = httpx.URL(f"{settings.url.rstrip('/')}/api/v1/query")
    return url.copy_merge_params({COST_GUARD: str(settings.max_samples)}) if settings.sigv4 else url


async def instant_query(
    client: httpx.AsyncClient,
    url: httpx.URL,
    query: str,
    at: float,
    *,
    more: Mapping[str, str] | None = None,
    max_bytes: int = MAX_ANSWER_BYTES,
) -> list[Sample]:
    """The vector a query gives at a time (seconds since the epoch), asked by POST: a long query is no long address.

    Raises SourceError: refused, redirected and 5xx target_down, 401/403 forbidden, 404 absent, 429, incomplete answers
    and more than `max_bytes` dropped, what cannot be understood parse. The caller sets the time limit."""
    form = {"query": query, "time": f"{at:.3f}", **(more or {})}
    try:
        async with client.stream(
            "POST", url, data=form, headers={"Accept": "application/json", **ENCODING}
        ) as response:
            if response.status_code != 200:
                raise _refusal(response, await beginning(response, MAX_ERROR_BYTES))
            answer = await body(response, max_bytes)
    except httpx.HTTPError as error:
        raise failed(error) from error
    kind = response.headers.get("content-type", "")
    if len(answer) > PARSE_INLINE_BYTES:
        return await asyncio.to_thread(samples, answer, kind)
    return samples(answer, kind)


def samples(text: bytes, kind: str = "application/json") -> list[Sample]:
    """The samples of an answer. Raises SourceError (parse, dropped) for anything but a whole vector."""
    if not text.strip():
        raise _unreadable("the answer is empty")
    if "html" in kind or text.lstrip()[:1] == b"<":
        raise _unreadable("HTML instead of JSON: is this the address of a Prometheus API?")
    try:
        answer: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unreadable("the answer is no whole JSON") from error
    if not isinstance(answer, dict) or answer.get("status") not in ("success", "error"):
        raise _unreadable("the answer has no status: this is no Prometheus API")
    if answer["status"] == "error":
        raise _unreadable(f"status: error, {_said(answer)}")
    warnings = answer.get("warnings") or []
    serious = [str(w) for w in warnings if not str(w).startswith(ANNOTATIONS)] if isinstance(warnings, list) else []
    if serious:
        raise SourceError(MissingCode.DROPPED, f"the answer is incomplete: {_short(serious[0])}")
    data = answer.get("data")
    found = data.get("resultType") if isinstance(data, dict) else None
    if not isinstance(data, dict) or found != "vector":
        raise _unreadable(f"a vector was expected, the answer is a {found}" if found else "the answer has no data")
    try:
        return [_sample(entry) for entry in data["result"]]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise _unreadable("the vector has entries that are no samples") from error


def _sample(entry: Any) -> Sample:
    labels = entry["metric"]
    if not all(isinstance(v, str) for v in labels.values()):
        raise TypeError("a label is no text")
    _, value = entry["value"]
    if not isinstance(value, str):
        raise TypeError("a value is no text")
    return labels, float(value)


def _refusal(response: httpx.Response, start: bytes) -> SourceError:
    status = f"HTTP {response.status_code} {response.reason_phrase}".rstrip()
    try:
        said = _said(json.loads(start))
    except (ValueError, RecursionError):
        plain = response.headers.get("content-type", "").startswith("text/plain")
        said = _short(start.decode(errors="replace")) if plain and not start.lstrip().startswith(b"<") else ""
    reason = f"{status}: {said}" if said else status
    match response.status_code:
        case 401 | 403:
            return SourceError(MissingCode.FORBIDDEN, reason)
        case 404:
            return SourceError(MissingCode.ABSENT, f"{reason}: there is no Prometheus API at this address")
        case 429:
            return SourceError(MissingCode.DROPPED, f"{reason}: too many or too costly queries")
        case 400 | 413 | 422 as code if code == 413 or _LIMIT.search(said):
            return SourceError(MissingCode.DROPPED, f"{reason}: {_advice(response)}")
        case 400 | 422:
            return SourceError(MissingCode.PARSE, reason)
        case code if 300 <= code < 400:
            return SourceError(MissingCode.TARGET_DOWN, f"{status} to {response.headers.get('location', 'nowhere')}")
        case _:
            return SourceError(MissingCode.TARGET_DOWN, reason)


def _advice(response: httpx.Response) -> str:
    guarded = COST_GUARD in response.request.url.params
    return "narrow selector, shorten window_sec, or raise " + ("max_samples" if guarded else "the server's limit")


def _said(answer: Any) -> str:
    """What a JSON error says of itself: Prometheus' `error`, AWS' `message`."""
    if not isinstance(answer, dict):
        return ""
    said = answer.get("error") or answer.get("message") or answer.get("Message") or ""
    return _short(str(said))


def _short(text: str) -> str:
    return " ".join(text.split())[:200]


def _unreadable(what: str) -> SourceError:
    return SourceError(MissingCode.PARSE, what)
