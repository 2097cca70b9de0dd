"""The proxy between server and database of a lab cluster: `python -m lab.proxy PORT DATABASE_PORT MODE`.

A process of its own, as the lab's reads pages and judges, and would make the database look slow. MODE is a JSON file
that is read again ten times a second.
"""

import asyncio
import itertools
import sys
from pathlib import Path
from typing import cast

from copilot.demo.load import Followed
from copilot.embedded.ports import LOOPBACK
from copilot.embedded.signals import run_until_signal

READ_EVERY_SEC = 0.1


class Mode(Followed):
    """What the proxy does to the connections. `cut`: none is accepted, and those there are end. `delay_sec`: all that
    passes is held back so long, in each direction. `hang_every`: the database does not get what is sent on every n-th
    connection, so that the sender waits (1: on all; None: on none); afterwards such a connection ends."""

    cut: bool = False
    delay_sec: float = 0.0
    hang_every: int | None = None


class DatabaseProxy:
    """Listens on `port`, from the first mode on, and passes on to the database. Without streams: it must cost little,
    as all queries wait for it."""

    def __init__(self, port: int, database_port: int) -> None:
        self.mode = Mode()
        self.numbers = itertools.count()
        self.ends: set[_End] = set()
        self._port, self._database_port = port, database_port
        self._server: asyncio.Server | None = None
        self._dialing: set[asyncio.Task[None]] = set()

    async def apply(self, mode: Mode) -> None:
        """Work in this mode from now on."""
        self.mode = mode
        if self._server is None and not mode.cut:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: _End(self), LOOPBACK, self._port)
        if self._server is not None and mode.cut:
            self._server.close()
            self._server = None
        for end in list(self.ends):
            if mode.cut or (end.hung and mode.hang_every is None):
                end.transport.abort()

    def connect(self, end: "_End") -> None:
        """Connect a process of the server with the database; end its connection if that is not to be had."""
        task = asyncio.ensure_future(self._dial(end))
        self._dialing.add(task)
        task.add_done_callback(self._dialing.discard)

    async def _dial(self, end: "_End") -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: _End(self, end), LOOPBACK, self._database_port)
        except OSError:
            end.transport.abort()


class _End(asyncio.Protocol):
    """One end of a connection: a process of the server, or the database, which comes second and knows the other."""

    transport: asyncio.Transport

    def __init__(self, proxy: DatabaseProxy, other: "_End | None" = None) -> None:
        self.proxy, self.other, self.hung = proxy, other, False
        self.number = next(proxy.numbers) if other is None else None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.proxy.ends.add(self)
        if self.other is None:
            self.transport.pause_reading()
            self.proxy.connect(self)
        elif self.other.transport.is_closing():
            self.transport.abort()
        else:
            self.other.other = self
            self.other.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        mode = self.proxy.mode
        if self.number is not None and mode.hang_every and self.number % mode.hang_every == 0:
            self.hung = True
        elif self.other is not None and mode.delay_sec:
            asyncio.get_running_loop().call_later(mode.delay_sec, self.other.transport.write, data)
        elif self.other is not None:
            self.other.transport.write(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self.proxy.ends.discard(self)
        if self.other is not None:
            self.other.transport.close()


async def run(port: int, database_port: int, file: Path) -> None:
    """Relay until cancelled, in the mode that the file says."""
    proxy = DatabaseProxy(port, database_port)
    while True:
        await proxy.apply(Mode.read(file))
        await asyncio.sleep(READ_EVERY_SEC)


if __name__ == "__main__":
    run_until_signal(run(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
