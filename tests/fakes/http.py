"""HTTP as stand-ins read and write it on a socket."""

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """One HTTP request; names of headers in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


async def read_request(reader: asyncio.StreamReader) -> Request:
    """The next request of a connection. IncompleteReadError when there is none."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Request(method, path, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


def response(status: str, body: bytes, *headers: str) -> bytes:
    """A whole HTTP response."""
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]).encode() + body
