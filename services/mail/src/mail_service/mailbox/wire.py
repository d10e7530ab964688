"""One connection to an IMAP server: every wait on it ends, and nothing that the server says reaches a log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from mail_service.mailbox import answers
from mail_service.mailbox.answers import ANSWERED_FLAG, TAKEN_KEYWORD, Folder, Listed, Selected
from mail_service.mailbox.client import AUTH, Client, ClientError, Protocol, quoted
from mail_service.mailbox.port import MailboxRefused, MailboxUnavailable, Mark, SignInRefused
from mail_service.signing_in import AccessTokens, NoToken, Password

SLOWEST_BYTES_PER_SECOND = 5_000
"""A server that sends a mail more slowly counts as hanging."""
HEAD_BYTES = 65_536
"""Of the head of a mail whose body is not fetched."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ImapServer:
    """Where an account is, and how to get in."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    """None: without TLS, which is for servers on this machine."""
    signing_in: Password | AccessTokens


class Connection:
    """Signed in. One command at a time; after a MailboxUnavailable that is not the server's own word, every
    other fails at once."""

    def __init__(self, server: ImapServer, patience: float) -> None:
        # Our own waits end first, so that each failure takes the same way.
        self._client = Client(server.host, server.port, timeout=10 * patience, ssl_context=server.tls)
        self._wire: Protocol = self._client.protocol
        self._patience = patience
        self._server = server
        self._folder: tuple[str, Selected] | None = None

    @classmethod
    async def open(cls, server: ImapServer, patience: float) -> Connection:
        """Connect and sign in.

        Args:
            patience: seconds that an answer may take.

        Raises:
            MailboxUnavailable, SignInRefused.
        """
        # What it logs are mails and passwords.
        logging.getLogger("aioimaplib").setLevel(logging.CRITICAL)
        connection = cls(server, patience)
        try:
            await connection._answer(connection._client.wait_hello_from_server())
            await connection._sign_in()
            # Some can do more once they know who asks.
            await connection._answer(connection._wire.capability())
        except BaseException:
            connection.abort()
            raise
        return connection

    @property
    def can_idle(self) -> bool:
        return bool(self._client.has_capability("IDLE"))

    @property
    def selected(self) -> Selected | None:
        return self._folder[1] if self._folder is not None else None

    def abort(self) -> None:
        """Hang up without a word."""
        self._client._client_task.cancel()
        self._wire.hang_up()
        for task in (*self._client.tasks, *self._wire.tasks):
            task.cancel()

    async def close(self) -> None:
        """Take leave, if the server listens."""
        with contextlib.suppress(MailboxUnavailable):
            await self._answer(self._client.logout())
        self.abort()

    async def select(self, folder: str) -> Selected:
        """Open a folder, unless it is open. Raises MailboxRefused, MailboxUnavailable."""
        if self._folder is None or self._folder[0] != folder:
            self._folder = None
            lines = await self._done(self._client.select(quoted(folder)), "open the folder")
            selected = answers.read_selected(lines)
            if selected is None:
                raise MailboxRefused("the server numbers no mails: it has no UIDVALIDITY for this folder")
            self._folder = (folder, selected)
        return self._folder[1]

    def forget_news(self) -> None:
        """From here on, mail that is announced counts as new."""
        self._wire.news.clear()
        while not self._wire.idle_queue.empty():
            self._wire.idle_queue.get_nowait()

    @property
    def has_news(self) -> bool:
        return self._wire.news.is_set()

    async def uids_after(self, uid: int) -> list[int]:
        """All UIDs above this one."""
        # Without a charset: Exchange refuses UTF-8 here.
        search = self._client.uid_search("UID", f"{uid + 1}:*", charset=None)
        return answers.read_uids(await self._done(search, "search"), uid)

    async def existing(self, uids: Sequence[int]) -> list[int]:
        """Those of these mails that are still there."""
        search = self._client.uid_search("UID", ",".join(map(str, uids)), charset=None)
        return answers.read_uids(await self._done(search, "search"), 0)

    async def listed(self, uids: Sequence[int]) -> list[Listed]:
        """What is known of these mails before they are fetched; those that are gone are left out."""
        fields = "(UID FLAGS INTERNALDATE RFC822.SIZE)"
        fetch = self._client.uid("fetch", ",".join(map(str, uids)), fields)
        return answers.read_listed(await self._done(fetch, "list mails"), self._flag(Mark.TAKEN))

    async def content(self, uid: int, max_bytes: int, size: int) -> bytes | None:
        """A mail, or its beginning; None: it is gone, or the server does not give it out.

        Args:
            size: bytes that are expected.
        """
        return await self._fetched(uid, f"(BODY.PEEK[]<0.{max_bytes}>)", size)

    async def head(self, uid: int) -> bytes | None:
        """Its header fields, or their beginning; None: as for :meth:`content`."""
        return await self._fetched(uid, f"(BODY.PEEK[HEADER]<0.{HEAD_BYTES}>)", HEAD_BYTES)

    async def mark(self, uids: Sequence[int], mark: Mark) -> None:
        """Mark mails of the open folder; those that are gone are left out."""
        store = self._client.uid("store", ",".join(map(str, uids)), "+FLAGS.SILENT", f"({self._flag(mark)})")
        await self._done(store, "mark mails")

    async def folders(self) -> list[Folder]:
        """Those with a special use; all of them, where the server knows no special use."""
        where = '(SPECIAL-USE) ""' if self._client.has_capability("SPECIAL-USE") else '""'
        return answers.read_folders(await self._done(self._client.list(where, '"*"'), "list folders"))

    async def create(self, folder: str) -> None:
        await self._done(self._client.create(quoted(folder)), "make a folder")

    async def has(self, message_id: str) -> bool:
        """Whether the open folder holds a mail with this Message-ID."""
        header = f"HEADER Message-ID {quoted(message_id)}"
        search = self._client.uid_search(header, charset=None)
        return bool(answers.read_uids(await self._done(search, "search"), 0))

    async def append(self, folder: str, content: bytes, flags: str) -> None:
        append = self._client.append(content, quoted(folder), flags)
        await self._done(append, "keep a copy", len(content), uploading=True)

    async def noop(self) -> None:
        await self._done(self._client.noop(), "answer")

    async def news(self, seconds: float) -> None:
        """Until mail is announced, or so long; the server has answered when this returns, if it can IDLE."""
        if not self.can_idle:
            with contextlib.suppress(TimeoutError):
                await self._until(seconds=seconds)
            return
        idling = asyncio.ensure_future(self._client.idle())
        begun = asyncio.ensure_future(self._wire.wait_for_idle_response())
        announced = asyncio.ensure_future(self._wire.news.wait())
        try:
            await self._until(idling, begun, seconds=self._patience)
            if idling.done():
                raise MailboxUnavailable("the server refuses to IDLE")
            with contextlib.suppress(TimeoutError):
                await self._until(idling, announced, seconds=seconds)
            self._client.idle_done()
            await self._answer(idling)
        except TimeoutError as error:
            self._wire.hang_up()
            raise MailboxUnavailable("the server is silent") from error
        finally:
            for task in (idling, begun, announced):
                task.cancel()

    async def _sign_in(self) -> None:
        who = self._server.signing_in
        if self._client.get_state() == AUTH:
            return
        if isinstance(who, Password):
            login = self._client.login(quoted(who.user), who.password)
            response = await self._answer(login)
        else:
            try:
                token = await who.token()
            except NoToken as error:
                raise (SignInRefused if error.refused else MailboxUnavailable)(str(error)) from error
            response = await self._answer(self._client.xoauth2(who.user, token))
            if response.result != "OK":
                who.refused(token)
        if response.result != "OK":
            passing = answers.is_passing(response.lines)
            raise (MailboxUnavailable if passing else SignInRefused)("the server refuses to let us in")

    async def _fetched(self, uid: int, what: str, size: int) -> bytes | None:
        fetch = self._client.uid("fetch", str(uid), what)
        return answers.read_content(await self._done(fetch, "hand over a mail", size))

    def _flag(self, mark: Mark) -> str:
        keywords = self.selected is not None and self.selected.takes_keywords
        return TAKEN_KEYWORD if mark is Mark.TAKEN and keywords else ANSWERED_FLAG

    async def _done(
        self, command: Awaitable[Any], deed: str, size: int = 0, *, uploading: bool = False
    ) -> Sequence[Any]:
        """The lines of an answer that says OK; ``size`` is the bytes that go over the wire for it."""
        seconds = self._patience + size / SLOWEST_BYTES_PER_SECOND
        response = await self._answer(command, seconds, silence=seconds if uploading else self._patience)
        if response.result == "OK":
            return cast(Sequence[Any], response.lines)
        if answers.is_passing(response.lines):
            raise MailboxUnavailable("the server is busy")
        raise MailboxRefused(f"the server refuses to {deed}")

    async def _answer(
        self, work: Awaitable[_T], seconds: float | None = None, *, silence: float | None = None
    ) -> _T:
        """What a command brings, after at most ``seconds``, of which ``silence`` without a byte."""
        task = asyncio.ensure_future(work)
        try:
            async with asyncio.timeout(self._patience if seconds is None else seconds):
                heard = -1
                while heard != self._wire.heard:
                    heard = self._wire.heard
                    with contextlib.suppress(TimeoutError):
                        await self._until(task, seconds=self._patience if silence is None else silence)
                        return task.result()
            self._wire.hang_up()
            raise MailboxUnavailable("the server is silent")
        except (OSError, ClientError) as error:
            self._wire.hang_up()
            raise MailboxUnavailable("the server cannot be reached or understood") from error
        except ValueError as error:
            raise MailboxRefused("this cannot be said in IMAP") from error
        finally:
            task.cancel()

    async def _until(self, *waits: asyncio.Future[Any], seconds: float) -> None:
        """Until one of them is done. Raises MailboxUnavailable when the connection is lost, TimeoutError."""
        if self._wire.lost.is_set() and not any(one.done() for one in waits):
            raise MailboxUnavailable("the server hung up")
        lost = asyncio.ensure_future(self._wire.lost.wait())
        try:
            done, _ = await asyncio.wait({*waits, lost}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()
        if not done:
            raise TimeoutError
        if done == {lost}:
            raise MailboxUnavailable("the server hung up")
