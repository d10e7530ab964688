"""llama.cpp's own log lines, as one JSON object each on standard error."""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import llama_cpp.llama_cpp as lib

_BY_DESIGN = ("n_ctx_train",)
"""All sequences share one cache, which is larger than any of them may become: no reason to warn."""
_LEVELS = {1: "debug", 2: "info", 3: "warning", 4: "error"}
_ORDER = ("debug", "info", "warning", "error")


def forward_llama_logs(level: str) -> None:
    """Pass on warnings and errors; everything when the level is ``debug``.

    llama.cpp calls its own chatter ``info``; an operator at ``info`` does not want it.
    """
    threshold = _ORDER.index("debug" if level == "debug" else "warning")

    def write(severity: int, text: bytes, _user_data: ctypes.c_void_p) -> None:
        name = _LEVELS.get(severity, "debug")
        message = text.decode(errors="replace").strip()
        if name == "error":
            for listener in _listeners:
                listener.append(message)
        if any(word in message for word in _BY_DESIGN):
            name = "debug"
        if message and _ORDER.index(name) >= threshold:
            line = json.dumps({"level": name, "logger": "llama.cpp", "event": message})
            sys.stderr.write(line + "\n")

    callback = lib.llama_log_callback(write)
    lib.llama_log_set(callback, ctypes.c_void_p(0))
    _keep_alive.append(callback)


@contextmanager
def errors_said() -> Iterator[list[str]]:
    """What llama.cpp logs as errors meanwhile: its interface only says that something failed, not why."""
    said: list[str] = []
    _listeners.append(said)
    try:
        yield said
    finally:
        _listeners.remove(said)


_listeners: list[list[str]] = []
_keep_alive: list[object] = []
"""llama.cpp keeps a bare pointer to the callback."""
