"""What all HTTP sources share: clients with authentication and TLS, bounded bodies, and failures as SourceError."""

import asyncio
import ssl
import zlib
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from whenever import Instant

from copilot.errors import SettingsError, SourceError
from copilot.http_failures import root_cause
from copilot.rules.signals.readings import MissingCode
from copilot.settings.clusters import PrometheusSettings, SigV4
from copilot.settings.sources import HttpSourceSettings
from copilot.telemetry.spans import SourceClient

AWS_SERVICE = "aps"
"""Amazon Managed Prometheus, as signatures name it."""
MAX_ERROR_TEXT = 200
DATE_RESOLUTION_SEC = 1.0
Refusal = Callable[[httpx.Response, bytes], SourceError]
"""Makes the error of a status other than 200 from the response and the beginning of its body."""


def client(settings: HttpSourceSettings, transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """A client that authenticates as the settings say, without time limits. SettingsError as `auth` and `tls` raise
    it."""
    return SourceClient(settings.section, transport=transport, verify=tls(settings), auth=auth(settings))


def auth(settings: HttpSourceSettings) -> httpx.Auth | None:
    """How requests authenticate. SettingsError where a file cannot be read or credentials are missing."""
    if isinstance(settings, PrometheusSettings) and settings.sigv4 is not None:
        return AwsSignature(settings.sigv4)
    if settings.bearer_token_file is not None:
        _text(settings.bearer_token_file, f"{settings.section}.bearer_token_file")
        return BearerToken(settings.bearer_token_file)
    if settings.bearer_token is not None:
        return BearerToken(settings.bearer_token.get_secret_value())
    if settings.basic_user is None:
        return None
    if settings.basic_password_file is not None:
        password = _text(settings.basic_password_file, f"{settings.section}.basic_password_file").strip()
    else:
        password = settings.basic_password.get_secret_value() if settings.basic_password else ""
    return httpx.BasicAuth(settings.basic_user, password)


class BearerToken(httpx.Auth):
    """A bearer token. One in a file is read again for each request, because such tokens are rotated."""

    def __init__(self, token: str | Path) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        try:
            token = self._token if isinstance(self._token, str) else self._token.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(MissingCode.FORBIDDEN, f"the token file {self._token} cannot be read") from error
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
        """Runs in a thread: botocore may have to fetch new credentials, and blocks."""
        headers = {"Host": request.url.netloc.decode()}
        if kind := request.headers.get("Content-Type"):
            headers["Content-Type"] = kind
        to_sign = self._request(request.method, str(request.url), headers=headers, data=request.content)
        try:
            frozen = self._credentials.get_frozen_credentials()
            self._signer(frozen, AWS_SERVICE, self._region).add_auth(to_sign)
        except self._failure as error:
            raise SourceError(MissingCode.FORBIDDEN, f"AWS credentials: {error}") from error
        request.headers.update(dict(to_sign.headers.items()))


def system_trust(*urls: str) -> ssl.SSLContext | bool:
    """Trust in the machine's authorities, or in those of SSL_CERT_FILE and SSL_CERT_DIR, where a URL is https."""
    return ssl.create_default_context() if any(url.startswith("https://") for url in urls) else False


def tls(settings: HttpSourceSettings) -> ssl.SSLContext | bool:
    """The authorities to trust and the client certificate. SettingsError where a file cannot be used."""
    if not settings.url.startswith("https://"):
        return False
    with _usable(f"{settings.section}.ca_file {settings.ca_file}"):
        context = ssl.create_default_context(cafile=settings.ca_file)
    if settings.cert_file is not None:
        names = " with ".join(str(path) for path in (settings.cert_file, settings.key_file) if path)
        with _usable(f"{settings.section}.cert_file {names}"):
            context.load_cert_chain(settings.cert_file, settings.key_file)
    return context


def _text(path: Path, name: str) -> str:
    with _usable(f"{name} {path}"):
        return path.read_text(encoding="utf-8")


@contextmanager
def _usable(files: str) -> Iterator[None]:
    """Turn failures to use files into a SettingsError that names them."""
    try:
        yield
    except ssl.SSLError as error:
        raise SettingsError([f"{files} holds no usable certificate or key"]) from error
    except UnicodeDecodeError as error:
        raise SettingsError([f"{files} is not text"]) from error
    except OSError as error:
        raise SettingsError([f"{files} cannot be read: {error.strerror}"]) from error


async def fetch(
    client: httpx.AsyncClient,
    method: str,
    url: httpx.URL | str,
    *,
    refusal: Refusal,
    max_bytes: int,
    error_bytes: int = 0,
    what: str = "answer",
    cut_off: type[SourceError] = SourceError,
    headers: Mapping[str, str],
    **request: Any,
) -> tuple[bytes, str]:
    """The body, decompressed up to `max_bytes` so that a small package cannot fill the memory, and its content type.

    SourceError: from `refusal`, which gets `error_bytes` of the body; target_down without a connection; parse where the
    answer broke off or is not encoded as requested; dropped where it is larger. `cut_off` is the kind of error for an
    answer that broke off or is larger."""
    read = bytearray()
    try:
        async with client.stream(method, url, headers={"Accept-Encoding": "gzip", **headers}, **request) as response:
            if response.status_code != 200:
                with suppress(httpx.HTTPError, SourceError):
                    if error_bytes:
                        await _read(response, read, error_bytes, what)
                raise refusal(response, bytes(read[:error_bytes]))
            await _read(response, read, max_bytes, what)
    except (httpx.RemoteProtocolError, httpx.ReadError) as error:
        raise cut_off(MissingCode.PARSE, f"the answer broke off: {one_line(root_cause(error))}") from error
    except httpx.HTTPError as error:
        raise SourceError(MissingCode.TARGET_DOWN, one_line(root_cause(error))) from error
    if len(read) > max_bytes:
        detail = f"the {what} is larger than {max_bytes / 1e6:g} MB, the limit for one {what}"
        raise cut_off(MissingCode.DROPPED, detail)
    return bytes(read), response.headers.get("content-type", "")


async def _read(response: httpx.Response, read: bytearray, max_bytes: int, what: str) -> None:
    """Add the decompressed body to `read`, until that is longer than `max_bytes`."""
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip"):
        detail = f"the {what} has the content encoding {encoding[:40]}, which was not requested"
        raise unreadable(detail)
    decompressor = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS) if encoding == "gzip" else None
    try:
        async for chunk in response.aiter_raw():
            read += decompressor.decompress(chunk, max_bytes + 1 - len(read)) if decompressor else chunk
            if len(read) > max_bytes:
                return
    except zlib.error as error:
        raise unreadable(f"the {what} is not gzip, as its Content-Encoding says") from error
    if decompressor and (not decompressor.eof or decompressor.unused_data):
        raise unreadable(f"the {what} broke off: its gzip package has no proper end")


def clock_ahead(date: str, ours: float) -> float | None:
    """How far the clock behind a Date header is ahead of `ours`, the time it was received, in seconds; None without a
    readable one. The header is truncated to the second: on average it is half a second old."""
    try:
        theirs = Instant.parse_rfc2822(date)
    except ValueError:
        return None
    ahead = theirs.timestamp() + DATE_RESOLUTION_SEC / 2 - ours
    return 0.0 if abs(ahead) <= DATE_RESOLUTION_SEC else ahead


def status_error(
    response: httpx.Response, text: str = "", *, expected: str, bad_request: MissingCode = MissingCode.PARSE
) -> SourceError:
    """The error for a status other than 200: 401 and 403 forbidden, 404 absent, 429 dropped, 400, 413 and 422
    `bad_request`, all others target_down. `text` is the server's explanation in one line, `expected` names what should
    be at the address."""
    status = f"HTTP {response.status_code} {response.reason_phrase}".rstrip()
    reason = f"{status}: {text}" if text else status
    code = MissingCode.TARGET_DOWN
    match response.status_code:
        case 401 | 403:
            code = MissingCode.FORBIDDEN
        case 404:
            code, reason = MissingCode.ABSENT, f"{reason}: there is no {expected} at this address"
        case 429:
            code, reason = MissingCode.DROPPED, f"{reason}: too many or too costly requests"
        case 400 | 413 | 422:
            code = bad_request
        case number if 300 <= number < 400:
            reason = f"{status} to {response.headers.get('location', 'nowhere')}"
    return SourceError(code, reason)


def unreadable(detail: str) -> SourceError:
    """The error for an answer that cannot be understood."""
    return SourceError(MissingCode.PARSE, detail)


def one_line(text: str, length: int = MAX_ERROR_TEXT) -> str:
    """The beginning of a text, without line breaks."""
    return " ".join(text.split())[:length]
