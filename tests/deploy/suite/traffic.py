"""Everybody at once: programs, people on Telegram and people who write mails, until it is enough."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.deploy.suite.post_office import PostOffice
from tests.deploy.suite.program import Program
from tests.deploy.suite.telephone import Telephone

PROGRAMS = 3
SECONDS_BETWEEN_MESSAGES, SECONDS_BETWEEN_MAILS = 0.5, 1.5
FIRST = 100
"""Below, people are of tests of their own."""
_QUESTIONS, _TALKERS, _WRITERS = (itertools.count(FIRST) for _ in range(3))
"""Nobody writes twice, so that everybody is owed one answer."""


@dataclass(slots=True)
class Written:
    """Who wrote, and is to be answered."""

    chats: int = 0
    messages: list[int] = field(default_factory=list)
    mails: list[int] = field(default_factory=list)


class Traffic:
    """Makes load, and says what came of it."""

    def __init__(self, program: Program, people: Telephone, post: PostOffice) -> None:
        self._program, self._people, self._post = program, people, post

    @contextmanager
    def running(self) -> Iterator[Written]:
        """While the block is; at its end everything has been handed over, and nothing more comes.

        Raises what a program or a sender could not get over.
        """
        written, over = Written(), threading.Event()
        with ThreadPoolExecutor(PROGRAMS + 2) as pool:
            lock = threading.Lock()

            def ask() -> None:
                number = next(_QUESTIONS)
                assert self._program.ask(f"Question {number} : quelle est la durée du travail ?")
                with lock:
                    written.chats += 1

            def message() -> None:
                number = next(_TALKERS)
                self._people.say(number, f"Bonjour, question {number} ?")
                written.messages.append(number)

            def mail() -> None:
                number = next(_WRITERS)
                self._post.send(
                    number, f"Bonjour, voici ma question {number}. Quelle est la durée du travail ?"
                )
                written.mails.append(number)

            work: list[Future[None]] = [pool.submit(_again, over, ask, 0.1) for _ in range(PROGRAMS)]
            work.append(pool.submit(_again, over, message, SECONDS_BETWEEN_MESSAGES))
            work.append(pool.submit(_again, over, mail, SECONDS_BETWEEN_MAILS))
            try:
                yield written
            finally:
                over.set()
            for one in work:
                one.result()

    def settle(self, written: Written) -> None:
        """Everybody has one answer, which is complete; nobody has two, or one and a beginning."""
        for person in written.messages:
            self._people.until(person)
        for person in written.mails:
            self._post.until(person)
        twice = [person for person in written.messages if len(self._people.shown(person)) > 1]
        twice += [person for person in written.mails if len(self._post.answers(person)) > 1]
        assert twice == []


def _again(over: threading.Event, work: Callable[[], None], pause: float) -> None:
    while not over.wait(pause):
        work()


def moment(seconds: float) -> None:
    """Let traffic flow."""
    time.sleep(seconds)
