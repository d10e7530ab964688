"""The shape of what the routes for operators answer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ai_core.access.caller import Scope
from ai_core.api.description.answer_shapes import Shape

EngineState = Literal["stopped", "loading", "ready", "restarting", "parked", "not_fetched"]
ModelType = Literal["gguf", "transformers", "onnx", "remote"]


class ModelFacts(Shape):
    """One model. What only a resident model knows is null until then."""

    name: str
    aliases: list[str]
    default: bool
    type: ModelType
    engine: Literal["llama.cpp", "openvino", "transformers", "onnxruntime", "remote", "scripted"] | None
    engine_reason: str | None
    state: EngineState
    load_progress: float
    adapters: list[str]
    memory_bytes: int | None
    last_used_at: str | None
    kind: Literal["generation", "embedding"] | None
    context_length: int | None
    max_sequences: int | None
    parameters: int | None
    has_chat_template: bool | None
    supports_tools: bool | None
    supports_reasoning: bool | None
    dimensions: int | None
    pooling: str | None
    description: str | None


class FileFacts(Shape):
    """What a model's files say of it."""

    format: Literal["gguf", "safetensors", "openvino", "onnx", "unknown"]
    architecture: str | None
    quantization: str | None
    trained_context: int | None
    size_bytes: int
    problem: str | None


class ModelMemory(Shape):
    """What a model holds and may hold."""

    resident_bytes: int
    weights_bytes: int | None
    max_bytes: int | None


class ModelRequests(Shape):
    """How many requests a model has."""

    running: int
    waiting: int


class ModelSettings(Shape):
    """What the models file says; null: the server's default."""

    context_length: int | None
    threads: int | None
    device: str
    quantization: str
    max_sequences: int | None
    keep_alive: float | None
    pinned: bool
    preload: bool
    weight: float
    own_chat_template: bool
    trust_remote_code: bool


class ModelDetails(ModelFacts):
    """Everything about one model."""

    fallback: str | None
    files: FileFacts | None
    repository: str | None
    revision: str | None
    path: str | None
    upstream_url: str | None
    missing: list[str] | None
    prefix: Literal["any", "snapshot", "none"] | None
    load_seconds: float | None
    memory: ModelMemory
    requests: ModelRequests
    settings: ModelSettings
    sampling: dict[str, float]
    system_prompt: str | None


class ModelChanges(Shape):
    """What became of the models, by name."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    unchanged: list[str]


class ModelRemoved(Shape):
    """A model's files are gone."""

    name: str
    was_here: bool
    freed_bytes: int


class ModelList(Shape):
    """All models that the key may use."""

    models: list[ModelFacts]


class ResidencyFacts(Shape):
    """How a model stands in memory."""

    model: str
    state: EngineState
    load_progress: float
    memory_bytes: int
    requests: int
    pinned: bool
    keep_alive: float | None
    resting: bool
    load_seconds: float | None


class AdapterFacts(Shape):
    """A LoRA adapter of a model."""

    name: str
    format: Literal["gguf", "peft"]
    scale: float


class AdapterList(Shape):
    """All adapters of a model."""

    adapters: list[AdapterFacts]


class ApiState(Shape):
    """The process that speaks HTTP."""

    accepting: bool
    requests_open: int


class EngineFacts(Shape):
    """The engine of one model."""

    state: EngineState
    load_progress: float
    backend: str | None
    running: int
    waiting: int
    kv_cells: int
    kv_cells_used: int
    restarts: int


class StoreFacts(Shape):
    """A database or a key-value store."""

    state: Literal["ok", "unavailable"]
    latency_ms: float | None


class Parts(Shape):
    """All that the service is made of."""

    api: ApiState
    engines: dict[str, EngineFacts]
    stores: dict[str, StoreFacts]


class Health(Shape):
    """The state of the service."""

    status: Literal["ok", "degraded", "unavailable", "shutting_down"]
    version: str
    uptime_seconds: float
    parts: Parts


class Alive(Shape):
    """The process answers."""

    status: Literal["alive"]


class Readiness(Shape):
    """Requests are taken."""

    status: Literal["ready"]


class KeyFacts(Shape):
    """A key without its secret."""

    id: str
    name: str
    state: Literal["active", "expired", "revoked"]
    scopes: list[Scope]
    requests_per_minute: int | None
    tokens_per_minute: int | None
    tokens_per_day: int | None
    concurrent_requests: int | None
    allowed_models: list[str]
    default_model: str | None
    networks: list[str]
    priority: Literal["batch", "normal", "high"]
    fair_by_user: bool
    created_at: str
    rotated_at: str | None
    expires_at: str | None
    revoked_at: str | None


class IssuedKeyFacts(KeyFacts):
    """A key that was just made or rotated: the only time that its secret is shown."""

    key: str


class KeyList(Shape):
    """All keys."""

    keys: list[KeyFacts]


class UsageNumbers(Shape):
    """What was used."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    cached_prompt_tokens: int
    cached_answers: int
    total_tokens: int


class DayOfUse(UsageNumbers):
    """What was used on one day with one model."""

    day: str
    model: str


class UsageReport(Shape):
    """What a key has used."""

    key_id: str
    first: str = Field(alias="from")
    last: str = Field(alias="to")
    total: UsageNumbers
    days: list[DayOfUse]
