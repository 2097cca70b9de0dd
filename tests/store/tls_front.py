"""TLS before a PostgreSQL whose build has none (as pgbouncer or a load balancer would do it)."""

import asyncio
import contextlib
import ssl
from threading import Thread

from tests.store.dsql_standin import SSL_REQUEST


class TlsFront:
    """Listens at `port`, in a thread of its own; what comes in by TLS goes to PostgreSQL's port in the clear."""

    def __init__(self, backend_port: int, tls: ssl.SSLContext) -> None:
        self._backend_port = backend_port
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result()
        self.port = int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Close everything."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            try:
                first = await reader.readexactly(8)
                if int.from_bytes(first[4:]) == SSL_REQUEST:
                    writer.write(b"S")
                    await writer.start_tls(self._tls)
                    first = b""
                answers, backend = await asyncio.open_connection("127.0.0.1", self._backend_port)
                backend.write(first)
                try:
                    await asyncio.gather(_pipe(reader, backend), _pipe(answers, writer))
                finally:
                    backend.close()
            finally:
                writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()
