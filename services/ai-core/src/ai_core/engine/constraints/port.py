"""What the host needs of whatever compiles grammars."""

from __future__ import annotations

from typing import Protocol

from ai_core.engine.backends.port import Constraint
from ai_core.engine.constraints.bad_grammar import BadGrammar
from ai_core.engine.messages import Grammar


class Compiler(Protocol):
    """Takes grammars, and gives constraints or reasons some time later. Nothing here ever blocks."""

    def start(self, request_id: int, grammar: Grammar, fairness_key: str) -> None:
        """Begin to compile; the result comes through :meth:`finished`. Keys take turns."""

    def drop(self, request_id: int) -> None:
        """Nobody wants this one any more: :meth:`finished` will not give it."""

    def finished(self) -> list[tuple[int, Constraint | BadGrammar]]:
        """Whatever was compiled or refused since the last call, by request id."""
