"""The port behind which speech becomes text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Literal, Protocol

TranscriptFormat = Literal["json", "text", "srt", "verbose_json", "vtt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Audio as it was uploaded: open for reading, at its beginning. ``suffix`` tells the container's kind
    (``mp3``); it may be empty."""

    file: BinaryIO
    size: int
    suffix: str
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionRequest:
    """What a caller wants. ``model`` is the name by which the transcriber knows it."""

    recording: Recording
    model: str
    format: TranscriptFormat = "json"
    language: str | None = None
    """ISO 639-1, or 639-3."""
    prompt: str | None = None
    """Names and words that may occur."""
    temperature: float | None = None
    """0 to 1."""
    granularities: tuple[Literal["word", "segment"], ...] = ()
    """For ``verbose_json``: of what the times are told."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """A body in the format asked for, ready to be sent."""

    content: bytes
    media_type: str


class Transcriber(Protocol):
    """Turns recordings into text."""

    @property
    def own_model(self) -> str | None:
        """The one model that there is; None: callers name whichever they like."""

    def model_for(self, name: str | None) -> str:
        """The model that a caller's name means; None: the caller names none.

        Raises:
            ModelNotFound, InvalidRequest: there is no such model, or one has to be named.
        """

    async def transcribe(self, request: TranscriptionRequest) -> Transcript:
        """The text of a recording.

        Raises:
            InvalidRequest: the recording or a parameter cannot be used.
            Overloaded, UpstreamFailed, UpstreamUnavailable, DeadlineExceeded: as the names say.
        """
