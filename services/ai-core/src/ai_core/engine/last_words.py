"""What an engine process says when it ends by an error: where it happened, not what it worked on."""

from __future__ import annotations

import json
import sys
import traceback
from types import TracebackType


def keep_texts_out() -> None:
    """Write the error that ends this process as one JSON line, without its message: that may quote."""
    sys.excepthook = _write


def _write(_kind: type[BaseException], error: BaseException, _traceback: TracebackType | None) -> None:
    line = {"level": "error", "logger": "ai_core.engine", "event": "engine failed", "where": where(error)}
    sys.stderr.write(json.dumps(line) + "\n")


def where(error: BaseException) -> list[str]:
    """The traceback of an error and of those that led to it: types, places and code, no messages."""
    lines: list[str] = []
    link: BaseException | None = error
    while link is not None:
        lines += [type(link).__qualname__, *traceback.format_tb(link.__traceback__)]
        link = link.__cause__ or link.__context__
    return lines
