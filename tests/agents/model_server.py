"""A server on this machine that speaks OpenAI's chat protocol, well or badly."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self

from tests.fakes.http import read_request
from tests.fakes.serving import serving

USAGE = {"prompt_tokens": 1_000, "completion_tokens": 200, "total_tokens": 1_200}


@dataclass(frozen=True)
class Wire:
    """An answer on the wire. `spoken`: the same for a request without tools. `drip_sec`: between two bytes; `hangs`:
    nothing is answered; `drops`: the connection is."""

    body: bytes = b""
    status: str = "200 OK"
    kind: str = "application/json"
    drip_sec: float = 0.0
    hangs: bool = False
    drops: bool = False
    spoken: bytes = b""


def answers(arguments: Any, tool: str = "final_result", finish: str = "tool_calls", **usage: int) -> Wire:
    """The model calls the output tool, or one that nobody offers. `arguments` is an object, or JSON text as it is."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    function = {"name": tool, "arguments": text}
    message = {"role": "assistant", "content": None,
               "tool_calls": [{"id": "call-1", "type": "function", "function": function}]}  # fmt: skip
    called = completion(message, finish, **usage)
    if tool != "final_result":
        return called
    text_finish = "stop" if finish == "tool_calls" else finish
    return replace(called, spoken=completion({"role": "assistant", "content": text}, text_finish, **usage).body)


def says(text: str | None, finish: str = "stop") -> Wire:
    """The model talks instead."""
    return completion({"role": "assistant", "content": text}, finish)


def completion(message: dict[str, Any], finish: str, **usage: int) -> Wire:
    body = {
        "id": "answer-1", "object": "chat.completion", "created": 1_795_348_800, "model": "stand-in",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": USAGE | usage,
    }  # fmt: skip
    return Wire(json.dumps(body).encode())


def refuses(status: str, *headers: str) -> Wire:
    """An error as OpenAI words it."""
    error = {"error": {"message": "no", "type": "error", "code": None}}
    return Wire(json.dumps(error).encode(), "\r\n".join((status, *headers)))


@dataclass
class ModelServer:
    """Answers quick and deep requests; by name those whose prompt has `case-name` in it. `requests`: the bodies."""

    quick: Wire = Wire(hangs=True)
    deep: Wire = Wire(hangs=True)
    cases: dict[str, Wire] = field(default_factory=dict)
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = json.loads((await read_request(reader)).body)
        self.requests.append(request)
        wire = self._wire(str(request["messages"]))
        if wire.hangs:
            await reader.read()
        elif not wire.drops:
            without_tools = "tools" not in request and wire.spoken
            await _write(writer, replace(wire, body=wire.spoken) if without_tools else wire)

    def _wire(self, messages: str) -> Wire:
        case = re.search(r"case-(\w+)", messages)
        default = self.deep if "all parts" in messages else self.quick
        return self.cases.get(case[1], default) if case else default

    @asynccontextmanager
    async def run(self) -> AsyncIterator[Self]:
        """Serve on a free port."""
        async with serving(self._answer) as port:
            self.url = f"http://127.0.0.1:{port}/v1"
            yield self


async def _write(writer: asyncio.StreamWriter, wire: Wire) -> None:
    size = f"Content-Length: {len(wire.body)}\r\nConnection: close"
    writer.write(f"HTTP/1.1 {wire.status}\r\nContent-Type: {wire.kind}\r\n{size}\r\n\r\n".encode())
    pieces = [wire.body[n : n + 1] for n in range(len(wire.body))] if wire.drip_sec else [wire.body]
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(wire.drip_sec)
