"""What callers are told while a store is away."""

from __future__ import annotations

from typing import Protocol


class StoreUnavailable(Exception):
    """What may be lost cannot be kept or read just now.

    Attributes:
        retry_after: seconds after which trying again makes sense.
    """

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(Protocol):
    """Makes the error that callers see while a store is away."""

    def __call__(self, message: str, *, retry_after: float) -> Exception:
        """``retry_after`` is in seconds."""
