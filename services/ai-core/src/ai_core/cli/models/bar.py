"""Progress for a person: a bar with rate and time left, or plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from ai_core.catalog.hub.progress import Rate
from ai_core.catalog.hub.sizes import in_words

LINE_SECONDS = 5.0
"""Between two plain lines."""


class Bar(Protocol):
    """Where progress is shown."""

    def moved(self, what: str, done: int, total: int) -> None:
        """So many of so many bytes."""

    def say(self, sentence: str) -> None:
        """Something worth a line of its own."""


@contextmanager
def progress_bar() -> Iterator[Bar]:
    """On standard error, so that standard output keeps what a script wants."""
    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield _Drawn(progress)


class _Drawn:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None
        self._what = ""

    def moved(self, what: str, done: int, total: int) -> None:
        if self._task is None or what != self._what:
            # What is here from the start is no progress: the rate would be too good to be true.
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._what = what
            self._task = self._progress.add_task(what, total=total, completed=done)
        self._progress.update(self._task, completed=done, total=total)

    def say(self, sentence: str) -> None:
        self._progress.console.print(sentence, markup=False, highlight=False)


class _Lines:
    def __init__(self) -> None:
        self._rate = Rate()
        self._what = ""
        self._said = 0.0

    def moved(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what != self._what:
            self._what, self._rate = what, Rate()
        self._rate.moved(now, done)
        if now - self._said >= LINE_SECONDS or done == total:
            self._said = now
            self.say(plain_line(what, done, total, self._rate))

    def say(self, sentence: str) -> None:
        print(sentence, file=sys.stderr, flush=True)


def plain_line(what: str, done: int, total: int, rate: Rate) -> str:
    """``downloading m.gguf: 12 % of 5.1 GB, 11.0 MB/s, 6 min left``."""
    percent = 100 * done // total if total else 100
    parts = [f"{what}: {percent} % of {in_words(total)}"]
    if rate.per_second:
        parts.append(f"{in_words(round(rate.per_second))}/s")
    left = rate.seconds_left(total)
    if left and done < total:
        parts.append(f"{left / 60:.0f} min left" if left >= 90 else f"{left:.0f} s left")
    return ", ".join(parts)
