"""The port behind which a backend keeps LoRA adapters that come and go while it runs.

A backend that takes its adapters only when it is loaded does without it: requests may then name what
``Capabilities.adapters`` lists.
"""

from __future__ import annotations

from typing import Protocol

from ai_core.engine.messages import AdapterFile


class BadAdapter(Exception):
    """This adapter cannot be used with this model; the text is written for people."""


class Adapters(Protocol):
    """All methods belong to the thread that drives the backend, between two steps."""

    def names(self) -> tuple[str, ...]:
        """What sequences may name, loaded or not."""

    def prepare(self, name: str) -> None:
        """Load an adapter if it is not loaded yet. What failed once is not tried again.

        Raises:
            BadAdapter: it does not fit the model, or its files are broken.
            KeyError: there is none of this name.
        """

    def add(self, file: AdapterFile) -> None:
        """Load an adapter, to be named from now on.

        Raises:
            BadAdapter: as for :meth:`prepare`, or its name is taken.
        """

    def remove(self, name: str) -> None:
        """Unload an adapter that no sequence uses, and forget what was computed with it.

        Raises:
            KeyError: there is none of this name.
        """
