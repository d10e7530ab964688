"""The async port through which the API process speaks to whatever computes answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from ai_core.engine.messages import Delta, Finished, Ready, Stats, Submit


class Answer(Protocol):
    """One accepted request and the text that comes back for it."""

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt, chat template included."""

    @property
    def started(self) -> bool:
        """Its turn has come: it does not wait in the engine any more."""

    def __aiter__(self) -> AsyncIterator[Delta | Finished]:
        """Deltas in order, then exactly one ``Finished``.

        Raises:
            NeoError: the answer broke off (``EngineUnavailable``, ``DeadlineExceeded``,
                ``GenerationFailed``, ``RequestQuarantined``).
        """

    def cancel(self) -> None:
        """The caller left: stop computing at the next step. May be called at any time, repeatedly."""


class Engine(Protocol):
    """Something that answers for one model."""

    async def submit(self, request: Submit) -> Answer:
        """Queue a request; returns once the engine has accepted it. ``request.id`` is ignored:
        the engine client numbers requests itself.

        Raises:
            InvalidRequest: refused, with the parameter at fault.
            Overloaded: the engine's queue is full.
            EngineUnavailable: not ready in time, or lost.
            RequestQuarantined: an identical request killed engines before.
        """

    @property
    def ready(self) -> Ready | None:
        """What the engine said about its model, or None while there is no engine process."""

    @property
    def stats(self) -> Stats:
        """The last snapshot; zeros before the first."""

    async def set_threads(self, decode: int, batch: int) -> None:
        """Threads for decode and prefill, from the next step on."""

    async def close(self) -> None:
        """End the engine. Requests still running fail with ``EngineUnavailable``."""
