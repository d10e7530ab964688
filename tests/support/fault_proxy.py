"""A TCP proxy before the real mail servers that does what networks and servers do on bad days.

Each connection follows a :class:`Script`; those that have none are passed through. TLS, with STARTTLS or
without, ends here, so that faults can be put at any command; behind it the server is spoken to in plain text.
``SmtpProxy`` keeps the books of what the server took, and of how often it cut off the server's last word.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import struct
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Self

from servers import HOST

LIMIT = 64 * 1024 * 1024
"""Bytes of a mail."""
CONNECT = "CONNECT"
"""Before anything is said; with TLS, in the middle of its handshake."""
CUT_AT = 300
"""Bytes of an answer that are heard before it is cut."""
END = "."
"""The dot after a mail."""


class Act(Enum):
    """What happens at a command."""

    RESET = auto()
    """The connection breaks, and the server does not hear of the command; in IDLE, once it has begun."""
    SILENCE = auto()
    """Nothing is heard any more, but the connection stays."""
    REPLY = auto()
    """The proxy answers in the server's place."""
    REPLY_AND_CLOSE = auto()
    """It does, and hangs up: a BYE, or a 421."""
    LOSE_REPLY = auto()
    """The server does it, and the connection breaks before anybody hears of it."""
    CUT_INSIDE = auto()
    """The connection breaks in the middle of what follows: a mail, or a literal."""


@dataclass(frozen=True, slots=True)
class Fault:
    """``at`` is a command, as IDLE, FETCH, MAIL; or CONNECT, END."""

    at: str
    act: Act
    reply: str = ""
    """For IMAP without the tag, unless it begins with ``*``; there ``{tag}`` stands for it."""
    skip: int = 0
    """So many of these commands pass before."""


@dataclass(frozen=True, slots=True)
class Script:
    """Of one connection."""

    faults: tuple[Fault, ...] = ()
    seconds_per_byte: float = 0.0
    """Of what the server says."""


class Proxy:
    """Listens on ``port`` between ``async with`` and its end."""

    def __init__(
        self, server_port: int, *, tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None
    ) -> None:
        """With ``tls`` or ``starttls``, the proxy is the TLS server."""
        self.port = 0
        self.scripts: deque[Script] = deque()
        """Of the next connections."""
        self.script_of: Callable[[int], Script] = self._next_script
        """By number, from 0: the default takes them from ``scripts``."""
        self.connections = 0
        self.refusing = False
        """Whether nobody seems to listen."""
        self.hit: list[Fault] = []
        """Faults that came to pass, in order."""
        self.on_command: Callable[[str], None] = lambda command: None
        """Called with each command of a client, and with END once the server has taken a mail."""
        self._server_port = server_port
        self._tls = tls
        self.starttls = starttls
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: set[Connection] = set()

    async def __aenter__(self) -> Self:
        self._listening = socket.create_server((HOST, 0), backlog=128)
        self.port = self._listening.getsockname()[1]
        self._listening.setblocking(False)
        self._start(self._accept())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._listening.close()
        self.reset_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def plan(self, *scripts: Script | Fault) -> None:
        """For the next connections; a fault alone is a script with one."""
        self.scripts.extend(one if isinstance(one, Script) else Script((one,)) for one in scripts)

    def reset_all(self) -> None:
        """Break every connection there is."""
        for connection in list(self._open):
            connection.reset()

    async def talk(self, connection: Connection) -> None:
        """What goes through one connection."""
        raise NotImplementedError

    def _next_script(self, number: int) -> Script:
        return self.scripts.popleft() if self.scripts else Script()

    def _start(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(self._listening)
            number, self.connections = self.connections, self.connections + 1
            self._start(self._serve(sock, number))

    async def _serve(self, sock: socket.socket, number: int) -> None:
        script = self.script_of(number)
        fault = next((one for one in script.faults if one.at == CONNECT), None)
        if self.refusing or fault is not None:
            if fault is not None:
                self.hit.append(fault)
                # A handshake begins, or the client waits for a greeting.
                with contextlib.suppress(TimeoutError, OSError):
                    async with asyncio.timeout(0.05 if fault.act is Act.RESET else None):
                        while await asyncio.get_running_loop().sock_recv(sock, 512):
                            if fault.act is Act.RESET:
                                break
            _reset(sock)
            sock.close()
            return
        connection = Connection(script, self.hit)
        self._open.add(connection)
        # Who breaks off, on whichever side and in whichever handshake, ends it for both.
        try:
            with contextlib.suppress(OSError, EOFError):
                await connection.open(sock, self._tls, self._server_port)
                await self.talk(connection)
        finally:
            self._open.discard(connection)
            connection.close()


class Connection:
    """A client and the server, each with a reader and a writer."""

    def __init__(self, script: Script, hit: list[Fault]) -> None:
        self._script = script
        self._hit = hit
        self._seen: Counter[str] = Counter()
        self._writers: list[asyncio.StreamWriter] = []

    async def open(self, sock: socket.socket, tls: ssl.SSLContext | None, server_port: int) -> None:
        """Both sides."""
        loop = asyncio.get_running_loop()
        self.client = asyncio.StreamReader(LIMIT)
        made: list[asyncio.StreamWriter] = []
        # With a callback, it counts as the server's side, which STARTTLS must know.
        protocol = asyncio.StreamReaderProtocol(self.client, lambda reader, writer: made.append(writer))
        await loop.connect_accepted_socket(lambda: protocol, sock, ssl=tls)
        (self.to_client,) = made
        self._writers.append(self.to_client)
        await self.open_server(server_port)

    async def open_server(self, port: int) -> None:
        """The server's side alone, anew."""
        self.server, self.to_server = await asyncio.open_connection(HOST, port, limit=LIMIT)
        self._writers.append(self.to_server)

    def fault_at(self, command: str) -> Fault | None:
        """The one whose turn has come."""
        seen, self._seen[command] = self._seen[command], self._seen[command] + 1
        found = next((one for one in self._script.faults if one.at == command and one.skip == seen), None)
        if found is not None:
            self._hit.append(found)
        return found

    def cuts_mail(self) -> bool:
        """Whether the next mail will be cut inside."""
        faults = (one for one in self._script.faults if one.at == END and one.skip == self._seen[END])
        return any(one.act is Act.CUT_INSIDE for one in faults)

    async def tell_client(self, data: bytes) -> None:
        """At the pace of the script."""
        if not self._script.seconds_per_byte:
            self.to_client.write(data)
            await self.to_client.drain()
            return
        for byte in data:
            self.to_client.write(bytes((byte,)))
            await self.to_client.drain()
            await asyncio.sleep(self._script.seconds_per_byte)

    async def tell_server(self, data: bytes) -> None:
        self.to_server.write(data)
        await self.to_server.drain()

    async def silence(self) -> None:
        """Until the client leaves."""
        while await self.client.read(65_536):
            pass

    def reset(self) -> None:
        """Both sides, as a cable that is cut: without a word, not even one of TLS."""
        for writer in self._writers:
            sock = writer.get_extra_info("socket")
            if sock is not None:
                with contextlib.suppress(OSError):
                    _reset(sock)
            writer.transport.abort()

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


def _reset(sock: socket.socket) -> None:
    # Lingering for no time, a close is a RST.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class ImapProxy(Proxy):
    """Before Dovecot's port without TLS."""

    async def talk(self, connection: Connection) -> None:
        answers = _Answers(connection)
        pump = asyncio.create_task(answers.pass_on())
        try:
            while line := await connection.client.readline():
                words = line.decode("latin-1").split()
                command = (words[1:2] or words or [""])[0].upper()
                command = words[2].upper() if command == "UID" and len(words) > 2 else command
                self.on_command(command)
                fault = connection.fault_at(command)
                if fault is None:
                    await connection.tell_server(line)
                    await self._pass_literal(connection, line)
                elif await self._happen(connection, answers, fault, line, words[0]):
                    return
        finally:
            pump.cancel()
            await asyncio.wait({pump})

    @staticmethod
    async def _pass_literal(connection: Connection, line: bytes, *, half: bool = False) -> bool:
        """Whether there is one after this line."""
        literal = re.search(rb"\{(\d+)\}\r\n$", line)
        if literal:
            size = int(literal.group(1)) // (2 if half else 1)
            await connection.tell_server(await connection.client.readexactly(size))
        return literal is not None

    async def _happen(
        self, connection: Connection, answers: _Answers, fault: Fault, line: bytes, tag: str
    ) -> bool:
        """Whether the connection ends with it."""
        if fault.act in {Act.REPLY, Act.REPLY_AND_CLOSE}:
            reply = fault.reply.replace("{tag}", tag)
            prefix = "" if reply.startswith("*") else f"{tag} "
            await connection.tell_client(f"{prefix}{reply}\r\n".encode())
            return fault.act is Act.REPLY_AND_CLOSE
        if fault.act is Act.SILENCE:
            answers.muted = True
            await connection.silence()
        elif fault.act is Act.LOSE_REPLY:
            answers.muted = True
            await connection.tell_server(line)
            await self._pass_literal(connection, line)
            await answers.until(tag.encode() + b" ")
            connection.reset()
        elif fault.act is Act.CUT_INSIDE:
            await connection.tell_server(line)
            if not await self._pass_literal(connection, line, half=True):
                answers.cut_at = CUT_AT
                await answers.cut.wait()
            connection.reset()
        else:
            if fault.at == "IDLE":
                await connection.tell_server(line)
                await answers.until(b"+ ")
            connection.reset()
        return True


class _Answers:
    """What the server says, to nobody in particular."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._said = b""
        self._heard = asyncio.Condition()
        self.muted = False
        self.cut_at: int | None = None
        self.cut = asyncio.Event()

    async def pass_on(self) -> None:
        with contextlib.suppress(OSError):
            while data := await self._connection.server.read(65_536):
                if self.cut_at is not None:
                    data, self.muted = data[: self.cut_at], False
                if not self.muted:
                    await self._connection.tell_client(data)
                if self.cut_at is not None:
                    self.cut.set()
                    return
                async with self._heard:
                    self._said = (self._said + data)[-65_536:]
                    self._heard.notify_all()
            self._connection.to_client.close()

    async def until(self, beginning: bytes) -> None:
        """Wait for a line that begins so."""

        def said() -> bool:
            return b"\n" + beginning in b"\n" + self._said

        self._said = b""
        async with self._heard:
            await self._heard.wait_for(said)


class SmtpProxy(Proxy):
    """Before Postfix's port without TLS; commands go one by one, since ours does not send more at once."""

    def __init__(
        self, server_port: int, *, tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(server_port, tls=tls, starttls=starttls)
        self.taken: Counter[str] = Counter()
        """How often the server took a mail, by Message-ID."""
        self.cuts = 0
        """How often it took one, and its last word was lost."""

    async def talk(self, connection: Connection) -> None:
        await connection.tell_client(await _reply(connection.server))
        while line := await connection.client.readline():
            command = line.split()[0].decode("latin-1").upper() if line.split() else ""
            if command == "STARTTLS" and self.starttls is not None:
                # Nothing may come in between, or it would be read as plain text.
                connection.to_client.write(b"220 2.0.0 Ready\r\n")
                await connection.to_client.start_tls(self.starttls)
                continue
            self.on_command(command)
            fault = connection.fault_at(command)
            if fault is not None:
                if await self._happen(connection, fault, line):
                    return
                continue
            await connection.tell_server(line)
            answer = self._advertised(command, await _reply(connection.server), connection)
            if command == "DATA" and connection.cuts_mail():
                connection.to_client.transport.pause_reading()  # type: ignore[attr-defined]
            await connection.tell_client(answer)
            if command == "DATA" and answer.startswith(b"354") and await self._mail(connection):
                return

    async def _mail(self, connection: Connection) -> bool:
        """The mail after a 354; whether the connection ends with it."""
        fault = connection.fault_at(END)
        if fault is not None and fault.act is Act.CUT_INSIDE:
            # What fits between the two stays there; of a larger one the end never leaves the client.
            await asyncio.sleep(0.05)
            connection.reset()
            return True
        content = await connection.client.readuntil(b"\r\n.\r\n")
        if fault is None or fault.act is Act.LOSE_REPLY:
            await connection.tell_server(content)
            answer = await _reply(connection.server)
            took = answer.startswith(b"250")
            if took:
                self.taken[_message_id(content)] += 1
                self.on_command(END)
            if fault is None:
                await connection.tell_client(answer)
                return False
            self.cuts += took
        return await self._happen(connection, fault, b"")

    async def _happen(self, connection: Connection, fault: Fault, line: bytes) -> bool:
        """Whether the connection ends with it."""
        if fault.act in {Act.REPLY, Act.REPLY_AND_CLOSE}:
            await connection.tell_client(f"{fault.reply}\r\n".encode())
            if fault.at == END:
                # The server still waits for a mail that will not come.
                connection.to_server.transport.abort()
                await connection.open_server(self._server_port)
                await _reply(connection.server)
                await connection.tell_server(b"EHLO proxy.test\r\n")
                await _reply(connection.server)
            return fault.act is Act.REPLY_AND_CLOSE
        if fault.act is Act.SILENCE:
            await connection.silence()
        elif fault.act is Act.LOSE_REPLY and line:
            await connection.tell_server(line)
            await _reply(connection.server)
        connection.reset()
        return True

    def _advertised(self, command: str, answer: bytes, connection: Connection) -> bytes:
        secured = connection.to_client.get_extra_info("sslcontext") is not None
        if command != "EHLO" or self.starttls is None or secured:
            return answer
        first, end, others = answer.partition(b"\r\n")
        return first + end + b"250-STARTTLS\r\n" + others


async def _reply(reader: asyncio.StreamReader) -> bytes:
    """All lines of one answer."""
    lines = []
    while line := await reader.readline():
        lines.append(line)
        if line[3:4] != b"-":
            break
    return b"".join(lines)


def _message_id(content: bytes) -> str:
    found = re.search(rb"(?im)^message-id:\s*(<[^>]*>)", content)
    return found.group(1).decode("latin-1") if found else ""
