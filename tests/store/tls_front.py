"""TLS before a PostgreSQL whose build has none (as pgbouncer or a load balancer would do it)."""

import asyncio
import ssl

from tests.fakes.serving import ThreadedServer, closed
from tests.store.dsql_standin import SSL_REQUEST


class TlsFront(ThreadedServer):
    """Decrypts what comes in and passes it on to PostgreSQL's port."""

    def __init__(self, backend_port: int, tls: ssl.SSLContext) -> None:
        self._backend_port = backend_port
        self._tls = tls
        super().__init__()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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
            await closed(backend)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()
