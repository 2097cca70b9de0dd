"""How a second terminal talks to a running demo: one JSON line each way over a unix socket."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from copilot.core.errors import CopilotError, StartError

SLOWEST_DEED_SEC = 120.0


class Wish(BaseModel):
    """What is asked for. Clearing without a fault clears all; neither: only say which faults are on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fault: str | None = None
    clear: bool = False


class Answer(BaseModel):
    """Whether it was done, the reason or what was done, and the faults that are on now."""

    model_config = ConfigDict(frozen=True)

    done: bool
    text: str
    active: list[str]


@contextlib.asynccontextmanager
async def listening(socket: Path, grant: Callable[[Wish], Awaitable[Answer]]) -> AsyncIterator[None]:
    """Grant wishes that arrive at `socket` while the context is open."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            try:
                answer = await grant(Wish.model_validate_json(line))
            except ValidationError as error:
                answer = Answer(done=False, text=f"not understood: {error.errors()[0]['msg']}", active=[])
            writer.write(answer.model_dump_json().encode() + b"\n")
            with contextlib.suppress(OSError):
                await writer.drain()
        finally:
            writer.close()

    # Only this user: nobody else may enter the folder's private parts, nor write to a socket made under this mask.
    mask = os.umask(0o177)
    try:
        server = await asyncio.start_unix_server(serve, socket)
    finally:
        os.umask(mask)
    try:
        yield
    finally:
        server.close()


async def ask(socket: Path, wish: Wish) -> Answer:
    """Send a wish to a running demo and wait for the answer. StartError if it does not answer."""
    try:
        reader, writer = await asyncio.open_unix_connection(socket)
        try:
            writer.write(wish.model_dump_json().encode() + b"\n")
            line = await asyncio.wait_for(reader.readline(), SLOWEST_DEED_SEC)
            return Answer.model_validate_json(line)
        finally:
            writer.close()
    except (OSError, TimeoutError, ValidationError) as error:
        raise StartError(f"the demo at {socket} does not answer: {error!r}") from error


def refusal(error: CopilotError, active: list[str]) -> Answer:
    """The answer that says why not."""
    return Answer(done=False, text=str(error), active=active)
