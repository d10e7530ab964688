"""The settings of the AI core: one field per environment variable, with its range and its default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic.networks import IPvAnyNetwork

from servicekit.logging import LogFormat, LogLevel
from servicekit.settings import ServiceSettings


def _words(value: Any) -> Any:
    """A list that stands in one variable, with commas in between."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class Settings(ServiceSettings):
    """Read once, in ``__main__``, and handed down as an argument from there."""

    api_host: str = "127.0.0.1"
    api_port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    """0 takes any free port."""
    api_workers: int = 1
    max_body_bytes: Annotated[int, Field(ge=1_024, le=1_073_741_824)] = 2_097_152
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], BeforeValidator(_words)] = ()
    """Whose X-Forwarded-For is believed."""
    drain_timeout: Seconds = 30.0
    """How long running answers may take after SIGTERM."""

    debug: bool = False
    """Shorthand for LOG_LEVEL=debug."""
    log_level: LogLevel = "info"
    log_format: LogFormat = "json"

    api_key_header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")] = "X-API-Key"
    """Beside ``Authorization: Bearer``, which always works."""
    local_key_path: Path = Path("var/local.key")
    """Where the key of the first start is kept, for ``ai-core chat``."""
    rate_limit_per_minute: Annotated[int, Field(ge=0, le=1_000_000)] = 60
    """Requests per minute of new keys that are given no limit of their own; 0: none."""

    database_url: SecretStr = SecretStr("sqlite:///var/ai-core.db")
    db_user: str | None = None
    db_password: SecretStr | None = None

    default_model: str | None = None
    model_config_path: Path = Path("config/models.json")
    model_cache_dir: Path = Path("var/models")
    """Where the relative paths of the models file begin."""
    model_path: Path | None = None
    model_name: str | None = None

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
    engine_backend: Literal["llama_cpp", "scripted"] = "llama_cpp"
    """``scripted`` computes nothing: it measures the edge."""
    engine_stall_timeout: Seconds = 30.0
    """Silence after which an engine counts as hanging and is replaced."""

    max_prompt_length: Annotated[int, Field(ge=0, le=1_048_576)] = 0
    """Tokens; longer prompts, and longer inputs of embeddings, are refused; 0: as the context allows."""
    max_queued_requests: Annotated[int, Field(ge=0, le=100_000)] = 256
    """Requests per model that may wait beside the MAX_SEQUENCES that run."""
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
