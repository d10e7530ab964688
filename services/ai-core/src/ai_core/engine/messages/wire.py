"""Frames: four bytes of length (unsigned, big-endian), then one MessagePack value."""

from __future__ import annotations

import struct

import msgspec

from ai_core.engine.messages.base import Message
from ai_core.engine.messages.replies import FromEngine
from ai_core.engine.messages.requests import ToEngine

FRAME_HEADER = struct.Struct(">I")

MAX_FRAME_BYTES = 64 * 1024 * 1024

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
