"""What can go wrong with a request, by what its caller can do about it."""

from __future__ import annotations


class AiCoreError(Exception):
    """Base of them all. The text is for operators."""


class Busy(AiCoreError):
    """Not now: a limit is reached, or the model is still loading (429, 503).

    Attributes:
        retry_after: seconds after which trying again makes sense; None: nobody said.
    """

    def __init__(self, message: str, retry_after: float | None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unreachable(AiCoreError):
    """Nobody answers, or the answer broke off: trying again may help."""


class ModelMissing(AiCoreError):
    """There is no such model, or this key may not use it (404), or none for such a task (501)."""


class Refused(AiCoreError):
    """It will never be answered as it stands (other 4xx).

    Attributes:
        code: the server's word for it, e.g. ``context_length_exceeded``.
    """

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class NotAllowed(AiCoreError):
    """The key is missing, wrong, or lacks a scope (401, 403): the operator has to act."""


class Failed(AiCoreError):
    """The server tried and could not (500): trying again once may help."""
