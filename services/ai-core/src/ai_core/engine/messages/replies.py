"""What an engine process says."""

from __future__ import annotations

from typing import Literal

import msgspec

from ai_core.engine.messages.answers import Delta, Failed, Finished
from ai_core.engine.messages.base import Message

RefusalCode = Literal[
    "context_length_exceeded",
    "template_error",
    "tools_not_supported",
    "template_option_not_supported",
    "invalid_parameter",
    "invalid_prompt",
    "invalid_json_schema",
    "invalid_grammar",
    "model_not_capable",
    "unknown_adapter",
    "unusable_adapter",
    "queue_full",
]


class Loading(Message, frozen=True, tag="loading"):
    """Progress of loading the weights, 0 to 1."""

    progress: float


class Ready(Message, frozen=True, kw_only=True, tag="ready"):
    """The model is resident and requests are served."""

    backend: str
    description: str
    context_length: int
    """Tokens that prompt and answer of one sequence may have together."""
    kv_cells: int
    max_sequences: int
    vocabulary: int
    parameters: int
    has_chat_template: bool
    supports_tools: bool = False
    """The chat template takes functions, and we can read the calls that such models write."""
    supports_reasoning: bool = False
    """The chat template knows thoughts; they come apart from the text."""
    prefix: Literal["any", "snapshot", "none"]
    load_seconds: float
    weights_bytes: int
    missing: list[str] = msgspec.field(default_factory=list)
    """What requests may not ask of this engine, by the names of ``backends.port.Feature``."""
    adapters: list[str] = msgspec.field(default_factory=list)
    """LoRA adapters that requests may name."""
    can_rest: bool = False
    """:class:`Rest` gives memory back."""
    kind: Literal["generation", "embedding"] = "generation"
    dimensions: int = 0
    """Length of an embedding model's vectors."""
    pooling: str = ""
    """Of an embedding model: ``mean``, ``cls`` or ``last``."""


class LoadFailed(Message, frozen=True, tag="load_failed"):
    """The model cannot be served; the process ends after this frame."""

    code: str
    message: str


class Read(Message, frozen=True, tag="read"):
    """The request is understood, but not accepted yet: what its answer has to look like is being compiled."""

    id: int


class Accepted(Message, frozen=True, tag="accepted"):
    """The request is well formed and queued."""

    id: int
    prompt_tokens: int


class Refused(Message, frozen=True, kw_only=True, tag="refused"):
    """The request can never be answered as it stands (a 400 for the caller)."""

    id: int
    code: RefusalCode
    parameter: str | None
    message: str


class AdapterReply(Message, frozen=True, kw_only=True, tag="adapter_reply"):
    """What became of :class:`LoadAdapter` or :class:`UnloadAdapter`."""

    id: int
    adapters: list[str]
    """What requests may name from now on."""
    problem: Literal["", "unusable", "unknown", "busy", "not_supported"] = ""
    """Empty: it is done."""
    message: str = ""


class Rested(Message, frozen=True, tag="rested"):
    """What became of :class:`Rest`."""

    done: bool
    """False: there is work, or nothing to give back."""


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot for metrics. Counters count from the start of the process."""

    running: int = 0
    waiting: int = 0
    paused: int = 0
    kv_cells_used: int = 0
    kv_cells_cached: int = 0
    """Of the used ones: held only by finished sequences, free to be evicted."""
    kv_cells: int = 0
    prefix_queries: int = 0
    """Prompt tokens of all requests admitted."""
    prefix_hits: int = 0
    """Of these: not computed again."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    steps: int = 0
    step_seconds: float = 0.0
    pauses: int = 0
    evictions: int = 0
    resident_bytes: int = 0


class Step(Message, frozen=True, kw_only=True, tag="step"):
    """Everything that one step brought, for all requests together."""

    started: list[int] = msgspec.field(default_factory=list)
    """Requests that are in a batch from this step on: suspects, if this process dies."""
    deltas: list[Delta] = msgspec.field(default_factory=list)
    finished: list[Finished] = msgspec.field(default_factory=list)
    failed: list[Failed] = msgspec.field(default_factory=list)
    stats: Stats | None = None


class Heartbeat(Message, frozen=True, tag="heartbeat"):
    """Sent at least once a second while there is nothing else to say."""

    stats: Stats


FromEngine = (
    Loading | Ready | LoadFailed | Read | Accepted | Refused | AdapterReply | Rested | Step | Heartbeat
)
