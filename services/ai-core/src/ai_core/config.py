"""The settings of the AI core: one field per environment variable, with its range and its default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator
from pydantic.networks import IPvAnyNetwork

from ai_core.quantities import bytes_in, seconds_in
from ai_core.standard_places import MODELS_FILE
from servicekit.logging import LogFormat, LogLevel
from servicekit.settings import ServiceSettings


def _words(value: Any) -> Any:
    """A list that stands in one variable, with commas in between."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _origin(value: str) -> str:
    """RFC 6454: scheme, host and port, as browsers send it."""
    parts = urlsplit(value)
    if value == "*":
        raise ValueError("name each origin; * would let every web page in")
    if parts.scheme not in {"http", "https"} or value != f"{parts.scheme}://{parts.netloc}" or "@" in value:
        raise ValueError("an origin is like https://example.org or http://localhost:3000, without a path")
    return value.lower()


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("expected an address like http://127.0.0.1:9000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("the address may hold no name, password, query or fragment")
    return value.rstrip("/")


def _redis_url(value: SecretStr) -> SecretStr:
    parts = urlsplit(value.get_secret_value())
    if parts.scheme not in {"redis", "rediss", "unix"} or not (parts.hostname or parts.path):
        raise ValueError("expected an address like redis://127.0.0.1:6379/0")
    return value


Origin = Annotated[str, AfterValidator(_origin)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class Settings(ServiceSettings):
    """Read once, in ``__main__``, and handed down as an argument from there."""

    api_host: str = "127.0.0.1"
    api_port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    """0 takes any free port."""
    api_workers: int = 1
    cors_origins: Annotated[tuple[Origin, ...], BeforeValidator(_words)] = ()
    """Web pages of these origins may call the API from a browser; empty: none."""
    content_filter_path: Path | None = None
    """Lists of words and patterns that prompts or answers may not hold."""
    transcription_url: Annotated[str, AfterValidator(_base_url)] | None = None
    """An OpenAI-compatible server for /v1/audio/transcriptions; None: that route says 501."""
    transcription_api_key: SecretStr | None = None
    transcription_model: str | None = None
    """What that server calls its model; None: callers name one."""
    transcription_timeout: Seconds = 300.0
    max_audio_size: Annotated[int, Field(ge=1_024, le=1_073_741_824)] = 26_214_400
    """Bytes of an uploaded recording."""
    max_body_bytes: Annotated[int, Field(ge=1_024, le=1_073_741_824)] = 2_097_152
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], BeforeValidator(_words)] = ()
    """Whose X-Forwarded-For is believed."""
    drain_timeout: Seconds = 30.0
    """How long running answers may take after SIGTERM."""

    debug: bool = False
    """Shorthand for LOG_LEVEL=debug."""
    log_level: LogLevel = "info"
    log_format: LogFormat = "json"

    otel_exporter_otlp_endpoint: Annotated[str, AfterValidator(_base_url)] | None = None
    """Base address of an OpenTelemetry collector (OTLP over HTTP); None: no traces."""

    api_key_header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")] = "X-API-Key"
    """Beside ``Authorization: Bearer``, which always works."""
    local_key_path: Path = Path("var/local.key")
    """Where the key of the first start is kept, for ``ai-core chat``."""
    rate_limit_per_minute: Annotated[int, Field(ge=0, le=1_000_000)] = 60
    """Requests per minute of new keys that are given no limit of their own; 0: none."""

    database_url: SecretStr = SecretStr("sqlite:///var/ai-core.db")
    db_user: str | None = None
    db_password: SecretStr | None = None

    redis_url: Annotated[SecretStr, AfterValidator(_redis_url)] | None = None
    """Shared by replicas: limits, cached answers, conversations. None: all of that stays in this process."""
    redis_password: SecretStr | None = None

    secret_key: Annotated[SecretStr, Field(min_length=16)] | None = None
    """Seals conversations and cached answers where they are stored; None: they are stored as they are."""
    cache_ttl: Annotated[float, Field(ge=0, le=31_536_000, allow_inf_nan=False)] = 86_400.0
    """Seconds that an answer is kept for those who ask the same again; 0: none is kept."""
    cache_max_bytes: Annotated[int, Field(ge=0, le=1_099_511_627_776)] = 67_108_864
    """For all cached answers together, where there is no Redis."""
    cache_shared: bool = False
    """A cached answer serves every API key, not only the one that asked first."""
    session_ttl: Annotated[float, Field(ge=1, le=31_536_000, allow_inf_nan=False)] = 86_400.0
    """Seconds that a conversation is kept after its last answer."""
    session_max_turns: Annotated[int, Field(ge=1, le=10_000)] = 50
    """Then its oldest quarter goes; earlier, if the model's context is full."""
    session_max_bytes: Annotated[int, Field(ge=0, le=1_099_511_627_776)] = 67_108_864
    """For all conversations together, where there is no Redis: the one not used for longest goes first."""

    batch_concurrency: Annotated[int, Field(ge=0, le=128)] = 0
    """Requests of batches that are answered at once, by this process; 0: a quarter of MAX_SEQUENCES."""
    batch_retention_days: Annotated[int, Field(ge=1, le=3_650)] = 30
    """Then a batch that has ended is deleted, with its requests and results."""
    max_batch_bytes: Annotated[int, Field(ge=1_024, le=1_073_741_824)] = 33_554_432
    """Of one batch; each of its requests is bounded by MAX_BODY_BYTES."""

    default_model: str | None = None
    model_config_path: Path = MODELS_FILE
    model_cache_dir: Path = Path("var/models")
    """Where the relative paths of the models file begin."""
    adapter_folders: Annotated[tuple[Path, ...], BeforeValidator(_words)] = ()
    """Where adapters may be loaded from over HTTP, beside MODEL_CACHE_DIR."""
    model_path: Path | None = None
    model_name: str | None = None
    hf_endpoint: Annotated[str, AfterValidator(_base_url)] = "https://huggingface.co"
    """The hub that models are fetched from."""
    huggingface_token: SecretStr | None = None
    """For repositories that are private or gated."""

    context_length: Annotated[int, Field(ge=0, le=1_048_576)] = 0
    """Tokens of prompt and answer together; 0: what the model was trained for, at most 8,192."""
    kv_cells: Annotated[int, Field(ge=0, le=67_108_864)] = 0
    """Tokens that all sequences hold together; 0: computed from the two around it."""
    max_sequences: Annotated[int, Field(ge=1, le=128)] = 16
    threads: Annotated[int, Field(ge=0, le=1_024)] = 0
    """0: all cores."""
    itl_target_ms: Annotated[float, Field(ge=0, le=60_000, allow_inf_nan=False)] = 0.0
    """Inter-token time of running streams that prefill keeps to; 0: the engine's default."""
    kv_type: Literal["auto", "f16", "bf16"] = "auto"
    """How keys and values are stored: ``auto`` takes what makes running streams fastest here."""
    engine_kernels: Literal["auto", "ggml"] = "auto"
    """``auto`` computes with kernels of our own where the processor has AVX-512 VNNI; ``ggml`` never does."""
    engine_precision: Literal["auto", "f32"] = "auto"
    """What OpenVINO computes in: ``auto``, what the processor is fastest with (BF16 where it has it)."""
    engine_prefill_chunk: Annotated[int, Field(ge=0, le=4_096)] = 0
    """Tokens of a long prompt that OpenVINO reads in a step beside running streams; 0: what ``itl_target_ms``
    allows."""
    engine_coalescing: bool = True
    """Whether a prefix that several need at the same time is computed once; off only to measure it."""
    engine_backend: Literal["auto", "llama_cpp", "openvino", "scripted"] = "auto"
    """What computes GGUF models for which the models file names no engine; ``auto``: what is faster here.
    ``scripted`` computes nothing: it measures the edge."""
    engine_stall_timeout: Seconds = 30.0
    """Silence after which an engine counts as hanging and is replaced."""

    model_memory_budget: Annotated[int, BeforeValidator(bytes_in), Field(ge=0)] = 0
    """Bytes that the engines of all models may hold together; 0: computed from the cgroup, or the RAM."""
    model_keep_alive: Annotated[float, BeforeValidator(seconds_in)] = 3_600.0
    """Seconds that a model stays in memory unused; negative: for ever. At half of them it gives back its
    cache of keys and values."""
    model_swap_wait: Annotated[float, Field(ge=0, le=3_600, allow_inf_nan=False)] = 5.0
    """Seconds that a model keeps its place, once loaded, while others wait for it and it is used."""

    max_prompt_length: Annotated[int, Field(ge=0, le=1_048_576)] = 0
    """Tokens; longer prompts, and longer inputs of embeddings, are refused; 0: as the context allows."""
    max_queued_requests: Annotated[int, Field(ge=0, le=100_000)] = 256
    """Requests per model that may wait beside the MAX_SEQUENCES that run."""
    max_queued_requests_per_key: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Of these, what a single key may take; 0: half of them."""
    request_timeout: Seconds = 300.0
    """How long a request may wait before its first token is computed."""

    @field_validator("api_workers")
    @classmethod
    def _one_process_per_host(cls, value: int) -> int:
        if value != 1:
            raise ValueError(
                "must be 1. One API process per host serves all requests, because it owns the engines "
                "and their queues; to serve more, run replicas on further hosts"
            )
        return value

    @property
    def effective_log_level(self) -> LogLevel:
        """What DEBUG and LOG_LEVEL mean together."""
        return "debug" if self.debug else self.log_level
