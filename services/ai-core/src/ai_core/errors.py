"""The errors that a caller can meet. What they mean in HTTP is decided in one place, in ``api``."""

from __future__ import annotations


class NeoError(Exception):
    """Something went wrong that the caller can understand.

    Attributes:
        code: a stable identifier for programs, e.g. ``model_not_found``.
        message: one or two sentences that say what to do next.
        parameter: the request field concerned, if there is one.
        retry_after: seconds after which trying again makes sense, if it does.
    """

    code = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        parameter: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.parameter = parameter
        self.retry_after = retry_after
        if code is not None:
            self.code = code


class InvalidRequest(NeoError):
    """The request can never succeed as it stands."""

    code = "invalid_request"


class ModelNotFound(NeoError):
    """No model of that name is configured."""

    code = "model_not_found"


class Overloaded(NeoError):
    """Too much is waiting; ``retry_after`` is computed from the queue."""

    code = "overloaded"


class EngineUnavailable(NeoError):
    """The engine is loading, restarting, was lost under this request, or is shutting down."""

    code = "engine_unavailable"


class DeadlineExceeded(NeoError):
    """The request waited longer than its deadline allows."""

    code = "deadline_exceeded"


class RequestQuarantined(NeoError):
    """This very request killed an engine more than once and is refused for a while."""

    code = "request_quarantined"


class GenerationFailed(NeoError):
    """The engine failed while computing this request."""

    code = "generation_failed"
