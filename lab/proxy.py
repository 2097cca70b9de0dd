"""The proxy between server and database of a lab cluster: `python -m lab.proxy PORT DATABASE_PORT MODE`.

A process of its own, as the lab's reads pages and judges, and would make the database look slow. MODE is a JSON file
that is read again ten times a second.
"""

import asyncio
import itertools
import sys
from pathlib import Path

from copilot.demo.load import Followed
from copilot.demo.watched import CHUNK_BYTES, MetricsRelay
from copilot.embedded.signals import run_until_signal

READ_EVERY_SEC = 0.1


class Mode(Followed):
    """What the proxy does to the connections. `cut`: none is accepted, and those there are end. `delay_sec`: all that
    passes is held back so long, in each direction. `hang_every`: the database does not get what is sent on every n-th
    connection, so that the sender waits (1: on all; None: on none); afterwards such a connection ends."""

    cut: bool = False
    delay_sec: float = 0.0
    hang_every: int | None = None


class DatabaseProxy(MetricsRelay):
    """A relay in front of the database with a mode."""

    def __init__(self, port: int, target_port: int) -> None:
        super().__init__(port, target_port)
        self._mode = Mode()
        self._numbers = itertools.count()
        self._hung: set[asyncio.StreamWriter] = set()

    async def apply(self, mode: Mode) -> None:
        """Work in this mode from now on."""
        self._mode = mode
        await (self.cut() if mode.cut else self.restore())
        if mode.hang_every is None:
            for writer in self._hung:
                writer.transport.abort()
            self._hung.clear()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, requests: bool = False
    ) -> None:
        number = next(self._numbers) if requests else None
        try:
            while data := await reader.read(CHUNK_BYTES):
                if number is not None and self._mode.hang_every and number % self._mode.hang_every == 0:
                    self._hung.add(writer)
                    continue
                if self._mode.delay_sec:
                    await asyncio.sleep(self._mode.delay_sec)
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
        except OSError:
            writer.transport.abort()
        finally:
            self._hung.discard(writer)


async def run(port: int, database_port: int, file: Path) -> None:
    """Relay until cancelled, in the mode that the file says."""
    async with DatabaseProxy(port, database_port) as proxy:
        while True:
            await proxy.apply(Mode.read(file))
            await asyncio.sleep(READ_EVERY_SEC)


if __name__ == "__main__":
    run_until_signal(run(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
