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


class ContentFiltered(InvalidRequest):
    """The operator's lists forbid something in the prompt."""

    code = "content_filtered"


class Unauthorized(NeoError):
    """No API key, or none that is valid. ``browser``: a person may be asked for it in a dialogue."""

    code = "invalid_api_key"
    browser = False


class Forbidden(NeoError):
    """The API key is valid, and does not open this."""

    code = "insufficient_scope"


class ModelNotFound(NeoError):
    """No model of that name is configured."""

    code = "model_not_found"


class KeyNotFound(NeoError):
    """No API key has this id."""

    code = "key_not_found"


class Overloaded(NeoError):
    """Too much is waiting; ``retry_after`` is computed from the queue."""

    code = "overloaded"


class EngineUnavailable(NeoError):
    """The engine is loading, restarting, was lost under this request, or is shutting down."""

    code = "engine_unavailable"


class AdapterNotFound(NeoError):
    """The model has no LoRA adapter of this name."""

    code = "adapter_not_found"


class AdapterBusy(NeoError):
    """Requests are being answered with this LoRA adapter."""

    code = "adapter_busy"


class ModelNotFetched(EngineUnavailable):
    """The model is configured, and its files are not on this server."""

    code = "model_not_fetched"


class ModelsFileInvalid(InvalidRequest):
    """The models file was to be read again, and cannot be used; the models of before are served."""

    code = "invalid_models_file"


class ModelBusy(NeoError):
    """The model is answering, and what was asked would break that off."""

    code = "model_busy"


class DeadlineExceeded(NeoError):
    """The request waited longer than its deadline allows."""

    code = "deadline_exceeded"


class RequestQuarantined(NeoError):
    """This very request killed an engine more than once and is refused for a while."""

    code = "request_quarantined"


class GenerationFailed(NeoError):
    """The engine failed while computing this request."""

    code = "generation_failed"


class StorageUnavailable(NeoError):
    """The database cannot be reached, and this request needs it."""

    code = "storage_unavailable"


class StoreUnavailable(StorageUnavailable):
    """What keeps conversations and cached answers (Redis, or memory) cannot be used, and this request
    needs it."""

    code = "store_unavailable"


class SessionNotFound(NeoError):
    """There is no such conversation, or it is another key's."""

    code = "session_not_found"


class BatchNotFound(NeoError):
    """There is no such batch, or it is another key's."""

    code = "batch_not_found"


class SessionBusy(NeoError):
    """Another request to this conversation is still being answered."""

    code = "session_busy"


class NotConfigured(NeoError):
    """The operator has not switched this on."""

    code = "not_configured"


class UpstreamFailed(NeoError):
    """A remote server that this request needs answered with nonsense, or refused this server."""

    code = "upstream_error"


class UpstreamUnavailable(NeoError):
    """A remote server that this request needs is away or broken at present."""

    code = "upstream_unavailable"


class DiskFull(NeoError):
    """The disk has no room for what this request would put there."""

    code = "disk_full"
