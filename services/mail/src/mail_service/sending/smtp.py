"""The port over SMTP: a few sessions, each used for one mail after another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mail_service.sending.checking import problem_of
from mail_service.sending.port import Access, NotSent, OutgoingMail, Refused
from mail_service.sending.session import Session, SmtpServer, Timing
from mail_service.signing_in import NoToken

SESSIONS = 4
"""At once; servers allow few from one address."""


class SmtpOutlet:
    """Implements :class:`mail_service.sending.port.Outlet`."""

    def __init__(self, server: SmtpServer, *, timing: Timing | None = None, sessions: int = SESSIONS) -> None:
        self._server = server
        self._timing = timing or Timing()
        self._turns = asyncio.Semaphore(sessions)
        self._idle: list[Session] = []
        self._busy: set[Session] = set()
        self._access: Access | None = None

    @property
    def access(self) -> Access | None:
        return self._access

    async def send(self, mail: OutgoingMail) -> None:
        if (problem := problem_of(mail)) is not None:
            raise Refused(f"the mail is not sent: {problem}")
        async with self._session() as session:
            await session.deliver(mail)

    async def ping(self) -> float:
        began = time.perf_counter()
        async with self._session():
            return time.perf_counter() - began

    async def look(self) -> Access:
        async with self._turns:
            try:
                session = await self._open()
            except NotSent as error:
                return _access_after(error)
            try:
                await session.close()
            except BaseException:
                session.abort()
                raise
        return Access.OK

    async def close(self) -> None:
        for session in self._busy:
            session.abort()
        while self._idle:
            await self._idle.pop().close()

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Session]:
        async with self._turns:
            session = await self._kept() or await self._open()
            self._busy.add(session)
            try:
                yield session
            except (NotSent, Refused):
                self._put_back(session)
                raise
            except BaseException:
                # Unknown, or cut off in the middle.
                session.abort()
                raise
            else:
                self._put_back(session)
            finally:
                self._busy.discard(session)

    async def _open(self) -> Session:
        try:
            session = await Session.open(self._server, self._timing)
        except NotSent as error:
            self._access = _access_after(error)
            raise
        self._access = Access.OK
        return session

    async def _kept(self) -> Session | None:
        """One that the server still knows: it was asked, and has forgotten all of the mail before."""
        while self._idle:
            session = self._idle.pop()
            if not session.usable:
                session.abort()
                continue
            try:
                await session.check()
            except (NotSent, Refused):
                session.abort()
                continue
            except BaseException:
                session.abort()
                raise
            return session
        return None

    def _put_back(self, session: Session) -> None:
        if session.usable:
            self._idle.append(session)
        else:
            session.abort()


def _access_after(error: NotSent) -> Access:
    """Who says anything is there. A token that we do not get keeps us out as a wrong password does."""
    spoke = error.code is not None or isinstance(error.__cause__, NoToken)
    return Access.REFUSED if spoke else Access.UNREACHABLE
