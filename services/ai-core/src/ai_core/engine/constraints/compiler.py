"""Compiling grammars beside the engine's steps."""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from contextlib import suppress

from llguidance import LLTokenizer

from ai_core.engine.backends.port import Constraint
from ai_core.engine.constraints.bad_grammar import BadGrammar
from ai_core.engine.constraints.compiling import compile_grammar
from ai_core.engine.constraints.matcher import Matcher
from ai_core.engine.constraints.vetting import Vetter
from ai_core.engine.fair_share import FairShare
from ai_core.engine.messages import Grammar

STACK_BYTES = 16 << 20
NICENESS = 10

_Compiled = Constraint | BadGrammar


class GrammarCompiler:
    """Implements :class:`.port.Compiler`.

    A thread waits for the vetting process and compiles what that found good. It holds the GIL for
    microseconds only: the process does the checking, and llguidance releases the GIL. Whoever sends
    many grammars gets one turn like everybody else.

    Args:
        tokenizer: of the model's vocabulary.
        vocabulary: how many tokens there are.
    """

    def __init__(self, tokenizer: LLTokenizer, vocabulary: int) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._vetter = Vetter()
        self._waiting: dict[str, deque[tuple[int, Grammar]]] = {}
        self._turns = FairShare()
        self._under_way: int | None = None
        self._dropped: set[int] = set()
        self._orders: queue.SimpleQueue[Grammar | None] = queue.SimpleQueue()
        self._results: deque[_Compiled] = deque()
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)
        self._thread: threading.Thread | None = None

    def fileno(self) -> int:
        """Becomes readable when :meth:`finished` has something to give."""
        return self._wake_reader

    def start(self, request_id: int, grammar: Grammar, fairness_key: str) -> None:
        """Begin to compile; the result comes through :meth:`finished`."""
        self._waiting.setdefault(fairness_key, deque()).append((request_id, grammar))
        self._next()

    def drop(self, request_id: int) -> None:
        """Nobody wants this one any more."""
        for waiting in self._waiting.values():
            for entry in waiting:
                if entry[0] == request_id:
                    waiting.remove(entry)
                    return
        if self._under_way == request_id:
            self._dropped.add(request_id)

    def finished(self) -> list[tuple[int, _Compiled]]:
        """Whatever was compiled or refused since the last call."""
        if not self._results:
            return []
        with suppress(BlockingIOError):
            os.read(self._wake_reader, 4096)
        found: list[tuple[int, _Compiled]] = []
        while self._results:
            result, request_id = self._results.popleft(), self._under_way
            assert request_id is not None
            self._under_way = None
            if request_id not in self._dropped:
                found.append((request_id, result))
            self._dropped.discard(request_id)
            self._next()
        return found

    def close(self) -> None:
        """End the process and the thread; no call may follow."""
        self._orders.put(None)
        self._vetter.kill()
        if self._thread is not None:
            self._thread.join()
        self._vetter.close()
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    def _next(self) -> None:
        waiting = [key for key, entries in self._waiting.items() if entries]
        if self._under_way is not None or not waiting:
            return
        key = min(waiting, key=self._turns.start)
        self._under_way, grammar = self._waiting[key].popleft()
        if not self._waiting[key]:
            del self._waiting[key]
        self._turns.charge(key, 1, waiting)
        if self._thread is None:
            self._thread = self._start_thread()
        self._orders.put(grammar)

    def _start_thread(self) -> threading.Thread:
        usual = threading.stack_size(STACK_BYTES)
        try:
            thread = threading.Thread(target=self._work, name="grammars", daemon=True)
            thread.start()
        finally:
            threading.stack_size(usual)
        return thread

    def _work(self) -> None:
        # Of this thread alone: niceness belongs to threads on Linux.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while (grammar := self._orders.get()) is not None:
            self._results.append(self._compile(grammar))
            with suppress(BlockingIOError, OSError):
                os.write(self._wake_writer, b"\0")

    def _compile(self, grammar: Grammar) -> _Compiled:
        try:
            text = self._vetter.vet(grammar)
            return Matcher(compile_grammar(self._tokenizer, text), self._vocabulary)
        except BadGrammar as error:
            return error
        except Exception as error:  # noqa: BLE001 - whatever it was, somebody waits for an answer
            return BadGrammar(f"it could not be compiled: {type(error).__name__}")
