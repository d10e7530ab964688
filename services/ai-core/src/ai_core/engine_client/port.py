"""The async port through which the API process speaks to whatever computes answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

from ai_core.engine.messages import AdapterFile, Delta, Finished, Ready, Stats, Submit
from ai_core.errors import EngineUnavailable


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


@runtime_checkable
class Residing(Protocol):
    """An engine whose model may be put out of memory while nobody uses it."""

    def visit(self, keep_alive: float | None) -> AbstractContextManager[None]:
        """For the length of a request, whatever answers it. ``keep_alive``: seconds that the model stays
        after its end; negative: for ever; None: as before."""

    def delay(self) -> EngineUnavailable | None:
        """What to tell somebody who does not want to wait any longer until the model may be used; None: it
        may be used."""


@runtime_checkable
class Adaptable(Protocol):
    """An engine whose LoRA adapters can be changed while requests run."""

    @property
    def adapters(self) -> tuple[AdapterFile, ...]:
        """What requests may name: those of the models file, and what was changed since."""

    async def load_adapter(self, file: AdapterFile) -> None:
        """Make an adapter known. Where the model is resident it is loaded at once, else with the model.

        Raises:
            InvalidRequest: its name is taken, it does not fit the model, or this kind of engine takes
                adapters only when it is loaded.
            EngineUnavailable: the model was just being loaded, and was not ready in time.
        """

    async def unload_adapter(self, name: str) -> None:
        """Forget an adapter, until the model is configured anew.

        Raises:
            AdapterNotFound: there is none of this name.
            AdapterBusy: requests use it.
            InvalidRequest, EngineUnavailable: as for :meth:`load_adapter`.
        """
