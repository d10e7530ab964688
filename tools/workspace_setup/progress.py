"""Showing how far a compilation is."""

from __future__ import annotations

import re
import time
from typing import Callable, TextIO

BAR_WIDTH = 30
LINE_INTERVAL = 10.0  # s; between two lines where there is no terminal to draw on
_NINJA_STEP = re.compile(r"^\s*\[(\d+)/(\d+)\] ")


def ninja_step(line: str) -> tuple[int, int] | None:
    """(steps begun, all steps), if this is a line in which ninja says so."""
    found = _NINJA_STEP.match(line)
    if found is None:
        return None
    done, total = int(found.group(1)), int(found.group(2))
    return (done, total) if 0 < done <= total else None


def clock_text(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"


class CompileProgress:
    """Draws a bar on a terminal; elsewhere prints a line now and then."""

    def __init__(self, label: str, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._label = label
        self._stream = stream
        self._clock = clock
        self._began = clock()
        self._live = stream.isatty()
        self._last_line = self._began
        self._step = (0, 0)

    def line(self, text: str) -> None:
        """Take notice of a line of the compilation's output."""
        step = ninja_step(text)
        if step is not None:
            self._step = step
        now = self._clock()
        if self._live:
            if step is not None or now - self._last_line >= 1:
                self._last_line = now
                self._stream.write(f"\r\033[K{self._label}  {self._state(now)}")
                self._stream.flush()
        elif now - self._last_line >= LINE_INTERVAL:
            self._last_line = now
            self._stream.write(f"{self._label}  {self._state(now)}\n")
            self._stream.flush()

    def close(self) -> None:
        """Leave the terminal on an empty line."""
        if self._live:
            self._stream.write("\r\033[K")
            self._stream.flush()

    def _state(self, now: float) -> str:
        done, total = self._step
        if total == 0:
            return f"preparing  {clock_text(now - self._began)}"
        share = done / total
        filled = int(share * BAR_WIDTH)
        bar = f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}]  " if self._live else ""
        return f"{bar}{share:4.0%}  {clock_text(now - self._began)}"
