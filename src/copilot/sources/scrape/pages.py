"""One GET of one metrics page: the bytes, or a SourceError that names the cause in one line. And what every HTTP source
shares of that: a body read up to a limit, whom to trust, a failure's words."""

import asyncio
import os
import re
import ssl
import zlib
from contextlib import suppress

import httpx

from copilot.errors import SourceError
from copilot.metrics.window import Page, Series, TargetScrapes
from copilot.rules.signals.readings import MissingCode

MAX_PAGE_BYTES = 64_000_000
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
ENCODING = {"Accept-Encoding": "gzip"}


async def fetch_page(client: httpx.AsyncClient, url: httpx.URL, *, timeout_sec: float, max_bytes: int) -> bytes:
    """The page's bytes. Raises SourceError: refused and 5xx target_down, no whole answer in time timeout, 401/403
    forbidden, 404 absent, HTML and broken answers parse, 429 and more than `max_bytes` dropped."""
    headers = {"Accept": "text/plain;version=0.0.4", **ENCODING}
    if url.host in _LOOPBACK:
        headers["Accept-Encoding"] = "identity"
    try:
        async with asyncio.timeout(timeout_sec), client.stream("GET", url, headers=headers) as response:
            _check(response)
            return await body(response, max_bytes, "page")
    except TimeoutError as error:
        raise SourceError(MissingCode.TIMEOUT, f"timed out after {timeout_sec:g} s") from error
    except httpx.HTTPError as error:
        raise failed(error) from error


async def body(response: httpx.Response, max_bytes: int, what: str = "answer") -> bytes:
    """The body, read and unpacked no further than `max_bytes`, however small its package. SourceError: it is larger, or
    not packed as was asked for."""
    unpacker = _unpacker(response, what)
    read = bytearray()
    try:
        async for chunk in response.aiter_raw():
            read += unpacker.decompress(chunk, max_bytes + 1 - len(read)) if unpacker else chunk
            if len(read) > max_bytes:
                raise SourceError(
                    MissingCode.DROPPED, f"the {what} is larger than {max_bytes / 1e6:g} MB, the limit for one {what}"
                )
    except zlib.error as error:
        raise SourceError(MissingCode.PARSE, f"the {what} is not gzip, as its Content-Encoding says") from error
    if unpacker and (not unpacker.eof or unpacker.unused_data):
        raise SourceError(MissingCode.PARSE, f"the {what} broke off: its gzip package has no proper end")
    return bytes(read)


async def beginning(response: httpx.Response, max_bytes: int) -> bytes:
    """What can be read of the beginning of a body, where the body is not what matters."""
    read = bytearray()
    with suppress(httpx.HTTPError, SourceError, zlib.error):
        unpacker = _unpacker(response, "answer")
        async for chunk in response.aiter_raw():
            read += unpacker.decompress(chunk, max_bytes - len(read)) if unpacker else chunk
            if len(read) >= max_bytes:
                break
    return bytes(read[:max_bytes])


def _unpacker(response: httpx.Response, what: str) -> "zlib._Decompress | None":
    packed = response.headers.get("content-encoding", "").strip().lower()
    if packed in ("", "identity"):
        return None
    if packed != "gzip":
        raise SourceError(MissingCode.PARSE, f"the {what} has the content encoding {packed[:40]}, not asked for")
    return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)


def failed(error: httpx.HTTPError) -> SourceError:
    """What became of a request that was not answered whole."""
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
        return SourceError(MissingCode.PARSE, f"the answer broke off: {one_line(error)}")
    return SourceError(MissingCode.TARGET_DOWN, one_line(error))


def trusted(*urls: str) -> ssl.SSLContext | bool:
    """Whom we trust over TLS: the machine's authorities, or those of SSL_CERT_FILE and SSL_CERT_DIR."""
    return ssl.create_default_context() if any(url.startswith("https://") for url in urls) else False


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
        case 429:
            raise SourceError(MissingCode.DROPPED, f"{status}: it is asked too often")
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


_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\\n]|\\.)*)"[ \t]*(,|(?=\}))')
_END = re.compile(r"[ \t]*\}")
_QUOTED = re.compile(r'\{[ \t]*"(?:[^"\\\n]|\\.)*"[ \t]*[,}]')  # names outside the old alphabet; none of ours
_ESCAPE = re.compile(r'\\([\\"n])')
_ESCAPED = {"\\": "\\", '"': '"', "n": "\n"}
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?inf(?:inity)?|nan", re.IGNORECASE)
_TIMESTAMP = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")


class PageParser:
    """Reads the pages of one target. Not safe for two threads at once."""

    def __init__(self, target: TargetScrapes) -> None:
        self._target = target
        self._wanted: dict[str, bool] = dict.fromkeys(target.known_names, True)
        self._series: dict[str, Series] = {}
        self._generation = target.generation

    def parse(self, body: bytes) -> Page:
        """The wanted samples of a page; of a series given twice, the first. Raises SourceError (parse)."""
        if self._generation != self._target.generation or len(self._series) > 200_000:
            self._series.clear()
            self._generation = self._target.generation
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _unreadable(f"byte {error.start} is not UTF-8") from error
        lines = text.split("\n")
        if lines.pop():
            raise _unreadable(_cut_or_html(text))
        page: Page = {}
        wanted, known = self._wanted, self._series
        for number, line in enumerate(lines, 1):
            verdict = wanted.get(line[: line.find("{")])
            if verdict is False:
                continue
            end = line.rfind("}") + 1
            series = known.get(line[:end]) if verdict else None
            rest = line[end:]
            if series is None:
                found = self._learn(line, number)
                if found is None:
                    continue
                series, rest = found
            try:
                value = float(rest)
            except ValueError:
                value = _value(rest, number)
            else:
                if "_" in rest or not rest.isascii():
                    raise _unreadable(f"line {number} has no number for its value")
            if series not in page:
                page[series] = value
        return page

    def _learn(self, line: str, number: int) -> tuple[Series, str] | None:
        """The series of a line whose text is new and the text after it; None where nobody wants it."""
        stripped = line.lstrip(" \t")
        if not stripped.strip() or stripped.startswith("#") or _QUOTED.match(stripped):
            return None
        name = _NAME.match(stripped)
        if name is None:
            raise _unreadable(_cut_or_html(stripped) if stripped.startswith("<") else f"line {number} is no sample")
        after_name = stripped[name.end() :]
        rest = after_name.lstrip(" \t")
        if not rest or after_name[0] not in "{ \t":
            raise _unreadable(f"line {number} is no sample")
        raw = name.group()
        if raw not in self._target.known_names:
            self._wanted[raw] = False
            return None
        if not rest.startswith("{"):
            return self._target.intern(raw, {}), rest
        labels, after = _labels(rest, number)
        series = self._target.intern(raw, labels)
        key = line[: len(line) - len(after)]
        if key == line[: line.rfind("}") + 1]:
            self._series[key] = series
        return series, after


def _labels(text: str, number: int) -> tuple[dict[str, str], str]:
    """The labels of `{…} rest`, and the rest."""
    labels: dict[str, str] = {}
    position = 1
    while not (end := _END.match(text, position)):
        label = _LABEL.match(text, position)
        if label is None:
            raise _unreadable(f"line {number} has labels that cannot be read")
        name, value, _ = label.groups()
        if name in labels:
            raise _unreadable(f"line {number} names the label {name} twice")
        labels[name] = _ESCAPE.sub(lambda m: _ESCAPED[m.group(1)], value) if "\\" in value else value
        position = label.end()
    return {k: v for k, v in labels.items() if v}, text[end.end() :]


def _value(rest: str, number: int) -> float:
    """The number in `value`, `value timestamp` or either with an exemplar after it."""
    fields = rest.split("#", 1)[0].split()
    if not 1 <= len(fields) <= 2 or not _NUMBER.fullmatch(fields[0]):
        raise _unreadable(f"line {number} has no number for its value")
    if len(fields) == 2 and not _TIMESTAMP.fullmatch(fields[1]):
        raise _unreadable(f"line {number} has no number for its timestamp")
    return float(fields[0])


def _cut_or_html(text: str) -> str:
    if text.lstrip().startswith("<"):
        return "HTML instead of metrics"
    return "the page ends in the middle of a line"


def _unreadable(what: str) -> SourceError:
    return SourceError(MissingCode.PARSE, what)
