"""Asking a process of its own whether a grammar can be compiled (see ``__main__``)."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections import OrderedDict
from typing import IO

import msgspec

from ai_core.engine.constraints.bad_grammar import BadGrammar
from ai_core.engine.messages import Grammar

CPU_SECONDS = 0.5
"""Of the processor's time, for one grammar."""
REMEMBERED = 64
"""Grammars whose verdict is kept."""
_REMEMBERED_BYTES = 64 * 1024
_LENGTH = struct.Struct(">I")


class Verdict(msgspec.Struct, frozen=True):
    """What came of it: either the compiler's notation, or what is wrong."""

    text: str = ""
    problem: str = ""


class Vetter:
    """Starts the process when it is first needed, and again when a grammar has killed it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._known: OrderedDict[Grammar, Verdict] = OrderedDict()

    def vet(self, grammar: Grammar) -> str:
        """The grammar in the compiler's notation. Blocks until there is a verdict.

        Raises:
            BadGrammar: it cannot be used.
        """
        verdict = self._known.get(grammar)
        if verdict is None:
            verdict = self._ask(grammar)
            if len(grammar.text) <= _REMEMBERED_BYTES:
                self._known[grammar] = verdict
                if len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
        else:
            self._known.move_to_end(grammar)
        if verdict.problem:
            raise BadGrammar(verdict.problem)
        return verdict.text

    def kill(self) -> None:
        """End the process, whatever it is doing; another thread may be waiting for it."""
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """End the process and let go of it."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _ask(self, grammar: Grammar) -> Verdict:
        if self._process is None:
            self._process = _start()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            write_frame(self._process.stdin, msgspec.msgpack.encode(grammar))
            body = read_frame(self._process.stdout)
        except (BrokenPipeError, ValueError):
            body = None
        if body is None:
            self.close()
            return Verdict(problem="it is too complex: compiling it takes too much time or memory")
        return msgspec.msgpack.decode(body, type=Verdict)


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "ai_core.engine.constraints"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"},
    )


def write_frame(stream: IO[bytes], body: bytes) -> None:
    """Length and value, at once."""
    stream.write(_LENGTH.pack(len(body)) + body)
    stream.flush()


def read_frame(stream: IO[bytes]) -> bytes | None:
    """The next value; None at the end of the stream, even in the middle of a value."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    body = stream.read(length)
    return body if len(body) == length else None
