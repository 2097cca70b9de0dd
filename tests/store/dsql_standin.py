"""Aurora DSQL's front door before a real PostgreSQL: TLS, IAM tokens, one database, DSQL's limits, and its accidents.

It speaks PostgreSQL's wire protocol on both sides, records every statement that comes in, and translates what only DSQL
has: `CREATE INDEX ASYNC`, which gives a job, and the schema `sys`.
"""

import asyncio
import re
import ssl
import struct
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from whenever import Instant

from tests.fakes.serving import ThreadedServer, closed
from tests.store.dsql_rules import is_ddl, is_dml
from tests.store.dsql_token import Refused, Token, checked

SSL_REQUEST = 80877103
INDEX = re.compile(r"\s*(CREATE (?:UNIQUE )?INDEX) ASYNC\b", re.IGNORECASE)
Moment = Literal["statement", "before commit", "after commit"]

SYS = Path(__file__).with_name("dsql_sys.sql").read_text(encoding="utf-8")


@dataclass(eq=False)
class Session:
    """One connection and the transaction it is in."""

    client: asyncio.StreamWriter
    open: bool = False
    texts: dict[bytes, str] = field(default_factory=dict)
    statements: list[str] = field(default_factory=list)
    rows: int = 0
    size: int = 0
    refusal: tuple[str, str] | None = None
    drop_after_commit: bool = False


class DsqlStandIn(ThreadedServer):
    """Listens at 127.0.0.1:port, before the database `postgres`, in which `SYS` was run. `secrets` are the keys it
    knows (id → secret)."""

    def __init__(self, backend_port: int, tls: ssl.SSLContext) -> None:
        self.backend_port = backend_port
        self._tls = tls
        self._sessions: set[Session] = set()
        self.forget({})
        super().__init__()

    def forget(self, secrets: dict[str, str]) -> None:
        """Begin again, with these keys."""
        self.secrets = secrets
        self.logins: list[tuple[str, Token]] = []
        self.refused: list[str] = []
        self.statements: Counter[str] = Counter()
        self.transactions: set[tuple[str, ...]] = set()
        self.violations: list[str] = []
        self.row_limit = 3_000
        self.byte_limit = 10 * 2**20
        self.largest_rows = self.largest_bytes = 0
        self.commits_to_refuse: list[str] = []
        self.drops: list[Moment] = []

    def end_sessions(self) -> int:
        """Close every session without a word, as after 60 minutes; how many there were."""

        async def end() -> int:
            ended = list(self._sessions)
            for session in ended:
                session.client.transport.abort()
            return len(ended)

        return asyncio.run_coroutine_threadsafe(end(), self.loop).result()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(writer)
        backend = await self._let_in(reader, writer)
        if backend is None:
            return
        self._sessions.add(session)
        try:
            await self._relay(session, reader, *backend)
        finally:
            self._sessions.discard(session)
            await closed(backend[1])

    async def _let_in(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        length, code = struct.unpack("!ii", await reader.readexactly(8))
        if code != SSL_REQUEST:
            return _turned_away(writer, "28000", "TLS is needed")
        writer.write(b"S")
        await writer.start_tls(self._tls)
        (length,) = struct.unpack("!i", await reader.readexactly(4))
        words = (await reader.readexactly(length - 4))[4:].split(b"\0")
        said = {k.decode(): v.decode() for k, v in zip(words[::2], words[1::2], strict=False)}
        writer.write(b"R" + struct.pack("!ii", 8, 3))
        _, password = await _message(reader)
        try:
            token = checked(password[:-1].decode(), self.secrets, Instant.now())
            if token.action != ("DbConnectAdmin" if said["user"] == "admin" else "DbConnect"):
                raise Refused(f"{token.action} is not for {said['user']}")
        except Refused as why:
            self.refused.append(str(why))
            return _turned_away(writer, "28000", "unable to accept connection, access denied")
        if said.get("database") != "postgres":
            return _turned_away(writer, "3D000", f"database {said.get('database')} does not exist")
        self.logins.append((said["user"], token))
        backend = await asyncio.open_connection("127.0.0.1", self.backend_port)
        said |= {"user": "copilot"}
        body = struct.pack("!i", 196608) + b"".join(f"{k}\0{v}\0".encode() for k, v in said.items() if k) + b"\0"
        backend[1].write(struct.pack("!i", len(body) + 4) + body)
        return backend

    async def _relay(
        self,
        session: Session,
        client: asyncio.StreamReader,
        answers: asyncio.StreamReader,
        backend: asyncio.StreamWriter,
    ) -> None:
        back = asyncio.create_task(self._relay_back(session, answers))
        try:
            while True:
                kind, body = await _message(client)
                if kind == b"X":
                    return
                if (known := self._heard(session, kind, body)) is None:
                    session.client.transport.abort()
                    return
                backend.write(kind + struct.pack("!i", len(known) + 4) + known)
        finally:
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)

    def _heard(self, session: Session, kind: bytes, body: bytes) -> bytes | None:
        """What PostgreSQL is told in place of a message; None: the connection breaks now."""
        if kind == b"Q":
            text = body[:-1].decode()
            return self._stated(session, text, b"") and self._translated(session, text).encode() + b"\0"
        if kind == b"P":
            name, stated, types = body.split(b"\0", 2)
            session.texts[name] = stated.decode()
            self.statements[stated.decode()] += 1
            return name + b"\0" + self._translated(session, stated.decode()).encode() + b"\0" + types
        if kind == b"B":
            _, name, _ = body.split(b"\0", 2)
            return self._stated(session, session.texts[name], body)
        return body

    def _stated(self, session: Session, text: str, body: bytes) -> bytes | None:
        self.statements[text] += 1
        word = text.split(maxsplit=1)[0].rstrip(";").upper()
        if word == "BEGIN":
            session.open, session.statements, session.rows, session.size = True, [], 0, 0
        session.statements.append(text.rstrip(";"))
        session.size += len(body) if is_dml(text) else 0
        if word in ("COMMIT", "ROLLBACK") or not session.open:
            self._judge(session, word)
            session.open = False
        if word == "COMMIT":
            if self._dropped("before commit"):
                return None
            session.drop_after_commit = self._dropped("after commit")
        elif word not in ("BEGIN", "ROLLBACK", "RESET") and self._dropped("statement"):
            return None
        return body or b"-"

    def _dropped(self, moment: Moment) -> bool:
        if self.drops[:1] != [moment]:
            return False
        self.drops.pop(0)
        return True

    def _judge(self, session: Session, word: str) -> None:
        ddl = sum(map(is_ddl, session.statements))
        if ddl > 1 or (ddl and any(map(is_dml, session.statements))):
            self.violations.append(f"schema and rows, or two of schema, in one transaction: {session.statements}")
        self.transactions.add(tuple(dict.fromkeys(session.statements)))
        if word != "COMMIT":
            return
        self.largest_rows = max(self.largest_rows, session.rows)
        self.largest_bytes = max(self.largest_bytes, session.size)
        if session.rows > self.row_limit or session.size > self.byte_limit:
            session.refusal = ("54000", f"transaction row limit exceeded ({session.rows} rows, {session.size} bytes)")
            self.violations.append(session.refusal[1])
        elif self.commits_to_refuse:
            code = self.commits_to_refuse.pop(0)
            session.refusal = (code, "change conflicts with another transaction, please retry: (OC000)")

    def _translated(self, session: Session, text: str) -> str:
        if session.refusal and text.rstrip(";").upper() == "COMMIT":
            return "ROLLBACK"
        if not INDEX.match(text):
            return text
        name = re.sub(r"(?i)^.*?ASYNC\s+(?:IF NOT EXISTS\s+)?(\w+).*$", r"\1", text, flags=re.DOTALL)
        return f"SELECT job_id FROM sys.create_index($x${INDEX.sub(chr(92) + '1', text)}$x$, '{name}')"

    async def _relay_back(self, session: Session, answers: asyncio.StreamReader) -> None:
        while True:
            kind, body = await _message(answers)
            if kind == b"C" and (done := re.fullmatch(rb"(?:INSERT 0|UPDATE|DELETE) (\d+)\0", body)):
                session.rows += int(done[1])
            if kind == b"C" and body == b"COMMIT\0" and session.drop_after_commit:
                session.client.transport.abort()
                return
            if kind == b"C" and session.refusal:
                session.client.write(_error(*session.refusal))
                session.refusal = None
            else:
                session.client.write(kind + struct.pack("!i", len(body) + 4) + body)


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    kind = await reader.readexactly(1)
    (length,) = struct.unpack("!i", await reader.readexactly(4))
    return kind, await reader.readexactly(length - 4)


def _turned_away(writer: asyncio.StreamWriter, code: str, why: str) -> tuple[Any, Any] | None:
    writer.write(_error(code, why, "FATAL"))
    return None


def _error(code: str, why: str, severity: str = "ERROR") -> bytes:
    fields = b"".join(
        k + v.encode() + b"\0" for k, v in ((b"S", severity), (b"V", severity), (b"C", code), (b"M", why))
    )
    return b"E" + struct.pack("!i", len(fields) + 5) + fields + b"\0"
