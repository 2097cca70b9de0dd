"""One GET of one metrics page: the bytes, or a SourceError that names the cause in one line."""

import asyncio
import os
import ssl

import httpx

from copilot.core.errors import SourceError
from copilot.core.signals import MissingCode

MAX_PAGE_BYTES = 64_000_000
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


async def fetch_page(client: httpx.AsyncClient, url: httpx.URL, *, timeout_sec: float, max_bytes: int) -> bytes:
    """The page's bytes. Raises SourceError: refused and 5xx target_down, no answer timeout, 401/403 forbidden, 404
    absent, HTML and broken answers parse, more than `max_bytes` dropped."""
    headers = {"Accept": "text/plain;version=0.0.4"}
    if url.host in _LOOPBACK:
        headers["Accept-Encoding"] = "identity"
    try:
        async with asyncio.timeout(timeout_sec), client.stream("GET", url, headers=headers) as response:
            _check(response)
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > max_bytes:
                    raise SourceError(
                        MissingCode.DROPPED, f"the page is larger than {max_bytes / 1e6:g} MB, the limit for one page"
                    )
            return bytes(body)
    except TimeoutError as error:
        raise SourceError(MissingCode.TIMEOUT, f"no answer within {timeout_sec:g} s") from error
    except (httpx.RemoteProtocolError, httpx.DecodingError, httpx.ReadError) as error:
        raise SourceError(MissingCode.PARSE, f"the answer broke off: {one_line(error)}") from error
    except httpx.HTTPError as error:
        raise SourceError(MissingCode.TARGET_DOWN, one_line(error)) from error


def _check(response: httpx.Response) -> None:
    status = f"HTTP {response.status_code} {response.reason_phrase}".rstrip()
    match response.status_code:
        case 200:
            if "html" in response.headers.get("content-type", ""):
                raise SourceError(MissingCode.PARSE, "HTML instead of metrics")
            return
        case 401 | 403:
            raise SourceError(MissingCode.FORBIDDEN, status)
        case 404:
            raise SourceError(MissingCode.ABSENT, f"{status}: there is no metrics page at this address")
        case code if 300 <= code < 400:
            raise SourceError(MissingCode.TARGET_DOWN, f"{status} to {response.headers.get('location', 'nowhere')}")
        case _:
            raise SourceError(MissingCode.TARGET_DOWN, status)


def one_line(error: BaseException) -> str:
    """The root cause in one line: the operating system's words where it spoke."""
    cause: BaseException | None = error
    found = ""
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"certificate not trusted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            found = f"TLS: {cause.reason or cause}"
        elif isinstance(cause, OSError) and cause.errno:
            found = os.strerror(cause.errno) if cause.errno > 0 else str(cause.strerror)
        elif str(cause) and not found:
            found = str(cause)
        cause = cause.__cause__ or cause.__context__
    return " ".join((found or type(error).__name__).split())[:200]
