"""What the API process and an engine process say to each other.

Frames travel over a Unix stream socket: four bytes of length (unsigned, big-endian), then one
MessagePack value. Both directions are tagged unions: :data:`ToEngine` and :data:`FromEngine`.
This module is the only one that both sides import.

Order on the wire, for one request::

    Submit -> [Read] -> Accepted | Refused
    Accepted -> Step(started) -> Step(deltas)* -> Step(finished | failed)

``Cancel`` is answered by ``Finished(reason="cancelled")`` within one step, unless the request
ended before. Every frame from the engine is a sign of life.
"""

from __future__ import annotations

import struct
from typing import Any, Literal

import msgspec

FRAME_HEADER = struct.Struct(">I")
MAX_FRAME_BYTES = 64 * 1024 * 1024

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
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "cancelled"]
"""``content_filter`` comes from the API process, which looks at answers on their way out."""


class Message(msgspec.Struct, frozen=True, tag_field="t"):
    """Base of everything on the wire."""


class AdapterFile(msgspec.Struct, frozen=True):
    """A LoRA adapter: a GGUF file, or a folder of PEFT's."""

    name: str
    path: str
    scale: float = 1.0


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How an engine process is started: ``python -m ai_core.engine FD JSON``, where FD is the engine's
    end of a stream socket pair and JSON is this structure."""

    backend: str = "llama_cpp"
    """``llama_cpp``, or ``scripted``: answers at once with the request's text, to measure the edge."""
    model_path: str
    adapters: list[AdapterFile] = []
    """Those that requests may name from the start."""
    converted_adapters: str = ""
    """A folder where adapters are kept in the form that the backend reads, once they were converted; empty:
    none is kept."""
    chat_template: str | None = None
    """Jinja, instead of the model's own."""
    device: str = "auto"
    """Where it is computed: ``auto``, ``cpu``, or what the backend calls its devices."""
    quantization: str = "none"
    """Of weights that are quantized while they are loaded: ``none``, ``int8`` or ``4bit``."""
    trust_remote_code: bool = False
    """Whether Python code from the model's folder may run (transformers)."""
    context_length: int = 0
    """0: the length the model was trained for, at most 8,192."""
    kv_cells: int = 0
    """Tokens that all sequences may hold together; 0: computed from context_length and max_sequences."""
    max_sequences: int = 16
    """Sequences decoding side by side."""
    max_waiting: int = 256
    threads: int = 0
    """0: one per core this process may run on."""
    itl_target_ms: float = 0.0
    """What prefill may stretch the time between two tokens of running streams to; 0: the default."""
    kv_type: str = "auto"
    """How keys and values are stored: ``f16``, ``bf16``, or ``auto``."""
    kernels: str = "auto"
    """``auto``: our own kernels where they run; ``ggml``: only ggml's."""
    converted_models: str = ""
    """A folder where models are kept in the form that the backend computes with (OpenVINO), once they were
    brought into it; empty: none is kept, and each load does it again."""
    converter: list[str] = []
    """A command that brings a folder of safetensors into OpenVINO's form, to be followed by the folder, the
    one that keeps converted models, and the quantization (``ai_core.catalog.conversion``). Empty: there is
    none."""
    precision: Literal["auto", "f32"] = "auto"
    """What OpenVINO computes in: what the processor is fastest with, or F32, to compare outputs."""
    prefill_chunk: int = 0
    """Tokens of a long prompt in a step beside running streams (OpenVINO); 0: what the target allows."""
    coalescing: bool = True
    """Whether a prefix that several need at the same time is computed once; off to measure what that is
    worth."""
    pause_bytes: int = 512 * 1024 * 1024
    """RAM for the state of paused sequences."""
    kind: Literal["auto", "generation", "embedding"] = "auto"
    """What the model does; ``auto``: as its metadata says."""
    pooling: Literal["auto", "mean", "cls", "last"] = "auto"
    """How an embedding model makes one vector of many; ``auto``: as its metadata says."""
    matryoshka: bool = False
    """Whether the first numbers of the model's vectors are vectors of their own, so that callers may ask
    for shorter ones (Matryoshka representation learning, arXiv 2205.13147). No metadata says so."""
    max_prompt_tokens: int = 0
    """Longer prompts are refused; 0: as long as the context allows."""
    log_level: str = "info"


class Tool(msgspec.Struct, frozen=True):
    """A function that the model may call."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}
    """A JSON schema of an object; empty: the function takes nothing."""
    strict: bool = False
    """Arguments must keep to ``parameters``, also where the model decides by itself to call."""


class ToolCall(msgspec.Struct, frozen=True):
    """A call of a function. ``arguments`` is what the model wrote: JSON, if it did well."""

    id: str
    name: str
    arguments: str


class ChatMessage(msgspec.Struct, frozen=True):
    """One turn of a conversation, as the chat template sees it. The fields after ``content`` are for
    assistants that called functions or thought aloud, and for the functions' results (role ``tool``)."""

    role: str
    content: str
    tool_calls: list[ToolCall] = []
    tool_call_id: str = ""
    name: str = ""
    """Of a result: the function's name."""
    reasoning: str = ""


class ChatOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What goes into a chat template beside the messages, and how calls of functions are asked for."""

    tools: list[Tool] = []
    tool_choice: Literal["auto", "required"] = "auto"
    forced_tool: str = ""
    """The name of the one function that must be called."""
    parallel_tool_calls: bool = True
    """False: an answer ends with its first call."""
    reasoning_effort: str = ""
    """``none`` switches thinking off; other words are for templates that know them."""
    template_options: dict[str, bool | int | float | str] = {}
    """Variables of the template, e.g. ``enable_thinking``; one that it does not read is refused."""


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How the next token is chosen. Ranges are checked by the API before they come here.

    ``temperature`` 0 is greedy. ``top_k`` 0 and ``top_p`` 1 switch these filters off; a request with
    ``top_p`` < 1 and no ``top_k`` is cut to the 1,000 likeliest tokens first, because sorting a whole
    vocabulary per token and sequence costs up to 11 ms. Penalties look at the generated tokens,
    as OpenAI's do (``repeat_penalty`` at the last 64 of them).
    """

    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repeat_penalty: float = 1.0
    seed: int | None = None
    logit_bias: dict[int, float] = {}
    ignore_eos: bool = False


class Grammar(msgspec.Struct, frozen=True):
    """What an answer has to look like; the engine compiles it before it accepts the request."""

    kind: Literal["json_object", "json_schema", "gbnf", "calls"]
    """``calls``: text, and calls of functions whose arguments keep to schemas; made by the engine itself."""
    text: str = ""
    """The schema as JSON text, or the grammar; empty for ``json_object``."""


class Submit(Message, frozen=True, kw_only=True, tag="submit"):
    """A request. Exactly one of ``messages`` (the chat template applies), ``prompt`` (raw text) and
    ``inputs`` (texts or token ids to be embedded)."""

    id: int
    messages: list[ChatMessage] | None = None
    prompt: str | None = None
    inputs: list[str | list[int]] | None = None
    dimensions: int | None = None
    """Length of the vectors for ``inputs``; None: the model's own."""
    sampling: Sampling = Sampling()
    max_tokens: int = 512
    stop: list[str] = []
    """Looked for in the text only, not in reasoning and calls."""
    chat: ChatOptions = ChatOptions()
    grammar: Grammar | None = None
    logprobs: int | None = None
    """How many of the likeliest tokens are reported beside each generated one (0: only that one);
    None: no probabilities at all."""
    priority: int = 0
    """Higher goes first. 0 is the default class."""
    fairness_key: str = ""
    """Waiting requests of equal priority take turns by this key (an API key, a pseudonym)."""
    timeout: float | None = None
    """Seconds from arrival in the engine until a request that is still waiting fails."""
    adapter: str = ""
    """The LoRA adapter to answer with; empty: none."""
    namespace: str = ""
    """Cached prefixes are shared only within a namespace; different adapters never share one."""
    alone: bool = False
    """Run with nothing else in the batch: set when a request is suspected of killing the engine."""


class Cancel(Message, frozen=True, tag="cancel"):
    """The caller left. Unknown or finished ids are ignored."""

    id: int


class SetThreads(Message, frozen=True, tag="set_threads"):
    """Threads for decode and prefill, applied between two steps."""

    decode: int
    batch: int


class LoadAdapter(Message, frozen=True, tag="load_adapter"):
    """Make a LoRA adapter known, and load it. Answered by :class:`AdapterReply` with the same id."""

    id: int
    adapter: AdapterFile


class UnloadAdapter(Message, frozen=True, tag="unload_adapter"):
    """Forget a LoRA adapter that no request uses. Answered by :class:`AdapterReply` with the same id."""

    id: int
    name: str


class Rest(Message, frozen=True, tag="rest"):
    """Give back the memory of keys and values, and keep the weights, if nobody is being answered. Answered by
    :class:`Rested`. The next request takes the memory again, by itself."""


class Shutdown(Message, frozen=True, tag="shutdown"):
    """End the process now; what is running is lost."""


ToEngine = Submit | Cancel | SetThreads | LoadAdapter | UnloadAdapter | Rest | Shutdown


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
    missing: list[str] = []
    """What requests may not ask of this engine, by the names of ``backends.port.Feature``."""
    adapters: list[str] = []
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


class Alternative(msgspec.Struct, frozen=True, array_like=True):
    """A token that might have come. ``logprob`` is the natural logarithm of its probability by the
    model's raw logits: temperature 1, before filters, biases, penalties and grammars."""

    token: bytes
    """May end inside a UTF-8 character. Of a control token: the text that stands for it in templates."""
    logprob: float
    control: bool = False


class TokenLogprob(Alternative, frozen=True, array_like=True):
    """A generated token; ``top`` are the likeliest ones in its place, likeliest first."""

    top: list[Alternative] = []


class CallPiece(msgspec.Struct, frozen=True, array_like=True):
    """A piece of a function call. A call's first piece has its name, and each may have more of its
    arguments; calls come one after the other."""

    index: int
    """Of the call in its answer, from 0."""
    name: str = ""
    arguments: str = ""


class Delta(msgspec.Struct, frozen=True, array_like=True):
    """New text of one request in this step. ``text`` may be empty while text is held back.

    ``logprobs`` belongs to the text: a token's entry comes with its last character; None unless the
    request asks for it.
    """

    id: int
    text: str
    tokens: int
    logprobs: list[TokenLogprob] | None = None
    reasoning: str = ""
    """Comes before any text."""
    calls: list[CallPiece] = []


class Finished(msgspec.Struct, frozen=True, array_like=True):
    """The end of one request. ``text`` is what was still held back."""

    id: int
    reason: FinishReason
    text: str
    prompt_tokens: int
    completion_tokens: int
    cached_prompt_tokens: int
    queue_seconds: float
    prefill_seconds: float
    logprobs: list[TokenLogprob] | None = None
    """As in :class:`Delta`, for ``text``."""
    reasoning: str = ""
    calls: list[CallPiece] = []
    reasoning_tokens: int = 0
    """Of ``completion_tokens``."""
    vectors: bytes = b""
    """For ``inputs``: one vector of length 1 after the other, as 32-bit floats in this machine's order."""


class Failed(msgspec.Struct, frozen=True, array_like=True):
    """The engine could not finish this request; others are not concerned."""

    id: int
    code: Literal["timeout", "decode_error", "grammar_too_complex", "shutting_down"]
    message: str
    parameter: str | None = None
    """The field at fault, where the request itself is (``grammar_too_complex``)."""


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

    started: list[int] = []
    """Requests that are in a batch from this step on: suspects, if this process dies."""
    deltas: list[Delta] = []
    finished: list[Finished] = []
    failed: list[Failed] = []
    stats: Stats | None = None


class Heartbeat(Message, frozen=True, tag="heartbeat"):
    """Sent at least once a second while there is nothing else to say."""

    stats: Stats


FromEngine = (
    Loading | Ready | LoadFailed | Read | Accepted | Refused | AdapterReply | Rested | Step | Heartbeat
)

_encoder = msgspec.msgpack.Encoder()
_to_engine: msgspec.msgpack.Decoder[ToEngine] = msgspec.msgpack.Decoder(ToEngine)
_from_engine: msgspec.msgpack.Decoder[FromEngine] = msgspec.msgpack.Decoder(FromEngine)


def encode(message: Message) -> bytes:
    """One frame, header included.

    Raises:
        ValueError: the frame would exceed :data:`MAX_FRAME_BYTES`.
    """
    body = _encoder.encode(message)
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {len(body)} bytes exceeds the limit of {MAX_FRAME_BYTES}")
    return FRAME_HEADER.pack(len(body)) + body


def decode_to_engine(body: bytes) -> ToEngine:
    """The message in a frame's body, engine side. Raises ``msgspec.DecodeError``."""
    return _to_engine.decode(body)


def decode_from_engine(body: bytes) -> FromEngine:
    """The message in a frame's body, API side. Raises ``msgspec.DecodeError``."""
    return _from_engine.decode(body)


class FrameReader:
    """Cuts a byte stream into frame bodies, whatever the pieces in which it arrives."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Add received bytes; returns the bodies completed by them, in order.

        Raises:
            ValueError: a header announces more than :data:`MAX_FRAME_BYTES`.
        """
        self._buffer += data
        bodies: list[bytes] = []
        start = 0
        while len(self._buffer) - start >= FRAME_HEADER.size:
            (length,) = FRAME_HEADER.unpack_from(self._buffer, start)
            if length > MAX_FRAME_BYTES:
                raise ValueError(f"a frame of {length} bytes exceeds the limit of {MAX_FRAME_BYTES}")
            end = start + FRAME_HEADER.size + length
            if len(self._buffer) < end:
                break
            bodies.append(bytes(self._buffer[start + FRAME_HEADER.size : end]))
            start = end
        del self._buffer[:start]
        return bodies


class Quantize(msgspec.Struct, frozen=True):
    """To the process that quantizes (``python -m ai_core.engine.quantizer``), as a line of JSON."""

    source: str
    target: str
    file_type: int
    """llama.cpp's ``llama_ftype``."""
    threads: int = 0
    """0: all cores."""


class QuantizeProgress(msgspec.Struct, frozen=True, tag="progress"):
    """From there, as lines of JSON."""

    tensor: int
    tensors: int


class QuantizeEnd(msgspec.Struct, frozen=True, tag="end"):
    """The last line. ``problem`` is empty when the file is written."""

    problem: str = ""
