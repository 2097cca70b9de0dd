"""How a source asked over HTTP is told who asks: bearer, basic, client certificate, AWS Signature Version 4."""

import asyncio
import json
import re
import ssl
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import httpx

from copilot.errors import SettingsError, SourceError
from copilot.metrics.answers import Sample
from copilot.rules.signals.readings import MissingCode
from copilot.settings.clusters import PrometheusSettings, SigV4
from copilot.settings.sources import HttpSourceSettings
from copilot.sources.scrape.pages import ENCODING, beginning, body, failed
from copilot.telemetry.spans import SourceClient

SERVICE = "aps"


class BearerFile(httpx.Auth):
    """A bearer token read anew for each request: tokens in files are rotated."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        try:
            token = self._path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(MissingCode.FORBIDDEN, f"the token file {self._path} cannot be read") from error
        request.headers["Authorization"] = f"Bearer {token}"
        yield request


class AwsSignature(httpx.Auth):
    """AWS Signature Version 4 over the request with its body. SettingsError without botocore or credentials."""

    def __init__(self, settings: SigV4) -> None:
        try:
            from botocore import auth, awsrequest, exceptions, session
        except ImportError as error:
            raise SettingsError(
                ["prometheus.sigv4 needs botocore: install temporal-sre-copilot with its extra `aws`"]
            ) from error
        self._request, self._signer, self._failure = awsrequest.AWSRequest, auth.SigV4Auth, exceptions.BotoCoreError
        self._region = settings.region
        try:
            self._credentials: Any = session.Session(profile=settings.profile).get_credentials()
        except exceptions.BotoCoreError as error:
            raise SettingsError([f"prometheus.sigv4: {error}"]) from error
        if self._credentials is None:
            raise SettingsError(["prometheus.sigv4: no AWS credentials were found (environment, profile or role)"])

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        await request.aread()
        await asyncio.to_thread(self._sign, request)
        yield request

    def _sign(self, request: httpx.Request) -> None:
        """Credentials may have to be fetched anew, which waits for AWS."""
        headers = {"Host": request.url.netloc.decode()}
        if kind := request.headers.get("Content-Type"):
            headers["Content-Type"] = kind
        to_sign = self._request(request.method, str(request.url), headers=headers, data=request.content)
        try:
            frozen = self._credentials.get_frozen_credentials()
            self._signer(frozen, SERVICE, self._region).add_auth(to_sign)
        except self._failure as error:
            raise SourceError(MissingCode.FORBIDDEN, f"AWS credentials: {error}") from error
        request.headers.update(dict(to_sign.headers.items()))


def auth(settings: HttpSourceSettings) -> httpx.Auth | None:
    """What the settings say of who asks. SettingsError where a file cannot be read or credentials are not there."""
    if isinstance(settings, PrometheusSettings) and settings.sigv4 is not None:
        return AwsSignature(settings.sigv4)
    if settings.bearer_token_file is not None:
        _text(settings.bearer_token_file, f"{settings.section}.bearer_token_file")
        return BearerFile(settings.bearer_token_file)
    if settings.bearer_token is not None:
        return _Bearer(settings.bearer_token.get_secret_value())
    if settings.basic_user is not None:
        if settings.basic_password_file is not None:
            password = _text(settings.basic_password_file, f"{settings.section}.basic_password_file").strip()
        else:
            password = settings.basic_password.get_secret_value() if settings.basic_password else ""
        return httpx.BasicAuth(settings.basic_user, password)
    return None


class _Bearer(httpx.Auth):
    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


def client(settings: HttpSourceSettings, transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """A client that says who asks, without time limits of its own. SettingsError as `auth` and `tls` raise it."""
    return SourceClient(
        settings.section,
        transport=transport,
        trust_env=False,
        timeout=None,
        follow_redirects=False,
        verify=tls(settings),
        auth=auth(settings),
    )


def tls(settings: HttpSourceSettings) -> ssl.SSLContext | bool:
    """Whom we trust and who we are, over TLS. SettingsError where a file cannot be used."""
    if not settings.url.startswith("https://"):
        return False
    try:
        context = ssl.create_default_context(cafile=str(settings.ca_file) if settings.ca_file else None)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError([f"{settings.section}.ca_file {settings.ca_file} {_why(error)}"]) from error
    if settings.cert_file is not None:
        try:
            context.load_cert_chain(settings.cert_file, settings.key_file)
        except (OSError, ssl.SSLError) as error:
            names = " with ".join(str(p) for p in (settings.cert_file, settings.key_file) if p)
            raise SettingsError([f"{settings.section}.cert_file {names} {_why(error)}"]) from error
    return context


def _text(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"{name} {path} {_why(error)}"]) from error


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        return f"cannot be read: {error.strerror}"
    return "holds no usable certificate or key" if isinstance(error, ssl.SSLError) else "is no text"


MAX_ANSWER_BYTES = 32_000_000
PARSE_INLINE_BYTES = 200_000
MAX_ERROR_BYTES = 4_000
MOST_OFF_SEC = 30.0
"""How far an answer's time may lie from the one asked about: some servers round it."""
Points = dict[int, float]
"""Milliseconds since the epoch → value."""
Series = tuple[Mapping[str, str], Points]
T = TypeVar("T")

ANNOTATIONS = ("PromQL info:", "PromQL warning:")
"""Remarks on a query's style, which older servers send as warnings; the answer is whole all the same."""


COST_GUARD = "max_samples_processed_error_threshold"
"""Amazon's: a query that would read more samples is refused and not charged."""
_LIMIT = re.compile(r"samples|limit|threshold|exceed|too (many|large|long|costly)|timeout|timed out", re.IGNORECASE)


def query_url(settings: PrometheusSettings, kind: Literal["query", "query_range"] = "query") -> httpx.URL:
    """Where queries of a kind are asked, for Amazon with the cost guard (a parameter of the address there)."""
    url = httpx.URL(f"{settings.url.rstrip('/')}/api/v1/{kind}")
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
    and more than `max_bytes` dropped, what cannot be understood or is of another time parse. The caller sets the time
    limit."""
    form = {"query": query, "time": f"{at:.3f}", **(more or {})}
    return await _asked(client, url, form, max_bytes, partial(samples, at=at))


async def range_query(
    client: httpx.AsyncClient,
    url: httpx.URL,
    query: str,
    times: range,
    *,
    more: Mapping[str, str] | None = None,
    max_bytes: int = MAX_ANSWER_BYTES,
) -> list[Series]:
    """What a query gives at each of these times (milliseconds since the epoch), as instant queries would.

    Raises SourceError as `instant_query` does, and when the answer is of other times than those asked for."""
    form = {
        "query": query,
        "start": f"{times[0] / 1000:.3f}",
        "end": f"{times[-1] / 1000:.3f}",
        "step": f"{times.step / 1000:g}",
        **(more or {}),
    }
    found = await _asked(client, url, form, max_bytes, series)
    if any(time not in times for _, points in found for time in points):
        raise _unreadable("the answer is of other times than those asked for: does a proxy align steps?")
    return found


async def _asked(
    client: httpx.AsyncClient, url: httpx.URL, form: Mapping[str, str], max_bytes: int, read: Callable[[bytes, str], T]
) -> T:
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
        return await asyncio.to_thread(read, answer, kind)
    return read(answer, kind)


def samples(text: bytes, kind: str = "application/json", *, at: float) -> list[Sample]:
    """The samples of an answer about the time `at`. Raises SourceError (parse, dropped) for anything but a whole vector
    of that time."""
    return _entries(text, kind, "vector", partial(_sample, at=at))


def series(text: bytes, kind: str = "application/json") -> list[Series]:
    """The series of an answer. Raises SourceError (parse, dropped) for anything but a whole matrix."""
    return _entries(text, kind, "matrix", _series)


def _entries(text: bytes, kind: str, wanted: str, read: Callable[[Any], T]) -> list[T]:
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
    if answer.get("isPartial") is True:  # VictoriaMetrics, where a vmstorage does not answer
        serious.append("isPartial")
    if serious:
        raise SourceError(MissingCode.DROPPED, f"the answer is incomplete: {_short(serious[0])}")
    data = answer.get("data")
    found = data.get("resultType") if isinstance(data, dict) else None
    if not isinstance(data, dict) or found != wanted:
        raise _unreadable(f"a {wanted} was expected, the answer is a {found}" if found else "the answer has no data")
    try:
        return [read(entry) for entry in data["result"]]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise _unreadable(f"the {wanted} has entries that are no samples") from error


def _sample(entry: Any, at: float) -> Sample:
    time, value = entry["value"]
    sample = _labels(entry), _number(value)
    if not abs(time - at) <= MOST_OFF_SEC:
        raise _unreadable("the answer is of another time than the one asked for: does a proxy keep answers?")
    return sample


def _series(entry: Any) -> Series:
    return _labels(entry), {round(time * 1000): _number(value) for time, value in entry["values"]}


def _labels(entry: Any) -> Mapping[str, str]:
    labels: dict[str, str] = entry["metric"]
    if not all(isinstance(v, str) for v in labels.values()):
        raise TypeError("a label is no text")
    return labels


def _number(value: Any) -> float:
    if not isinstance(value, str):
        raise TypeError("a value is no text")
    return float(value)


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
