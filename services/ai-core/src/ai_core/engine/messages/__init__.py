"""What the API process and an engine process say to each other.

Frames travel over a Unix stream socket: four bytes of length (unsigned, big-endian), then one
MessagePack value. Both directions are tagged unions: :data:`ToEngine` and :data:`FromEngine`.
This package is the only one that both sides import.

Order on the wire, for one request::

    Submit -> [Read] -> Accepted | Refused
    Accepted -> Step(started) -> Step(deltas)* -> Step(finished | failed)

``Cancel`` is answered by ``Finished(reason="cancelled")`` within one step, unless the request
ended before. Every frame from the engine is a sign of life.
"""

from __future__ import annotations

from ai_core.engine.messages.answers import (
    Alternative,
    CallPiece,
    Delta,
    Failed,
    Finished,
    FinishReason,
    TokenLogprob,
)
from ai_core.engine.messages.base import Message
from ai_core.engine.messages.configuration import AdapterFile, EngineConfig
from ai_core.engine.messages.quantizing import Quantize, QuantizeEnd, QuantizeProgress
from ai_core.engine.messages.replies import (
    Accepted,
    AdapterReply,
    FromEngine,
    Heartbeat,
    LoadFailed,
    Loading,
    Read,
    Ready,
    RefusalCode,
    Refused,
    Rested,
    Stats,
    Step,
)
from ai_core.engine.messages.requests import (
    Cancel,
    ChatMessage,
    ChatOptions,
    Grammar,
    LoadAdapter,
    Rest,
    Sampling,
    SetThreads,
    Shutdown,
    Submit,
    ToEngine,
    Tool,
    ToolCall,
    UnloadAdapter,
)
from ai_core.engine.messages.wire import (
    FRAME_HEADER,
    MAX_FRAME_BYTES,
    FrameReader,
    decode_from_engine,
    decode_to_engine,
    encode,
)

__all__ = [
    "FRAME_HEADER",
    "MAX_FRAME_BYTES",
    "Accepted",
    "AdapterFile",
    "AdapterReply",
    "Alternative",
    "CallPiece",
    "Cancel",
    "ChatMessage",
    "ChatOptions",
    "Delta",
    "EngineConfig",
    "Failed",
    "FinishReason",
    "Finished",
    "FrameReader",
    "FromEngine",
    "Grammar",
    "Heartbeat",
    "LoadAdapter",
    "LoadFailed",
    "Loading",
    "Message",
    "Quantize",
    "QuantizeEnd",
    "QuantizeProgress",
    "Read",
    "Ready",
    "RefusalCode",
    "Refused",
    "Rest",
    "Rested",
    "Sampling",
    "SetThreads",
    "Shutdown",
    "Stats",
    "Step",
    "Submit",
    "ToEngine",
    "TokenLogprob",
    "Tool",
    "ToolCall",
    "UnloadAdapter",
    "decode_from_engine",
    "decode_to_engine",
    "encode",
]
