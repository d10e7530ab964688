"""Where a remote model is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ai_core.errors import UpstreamUnavailable

MAX_KEY_BYTES = 4_096
OPERATOR_SECONDS = 300.0
"""Where only a person can help, nobody is told to try again at once."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A server with OpenAI's API. ``url`` ends before ``/chat/completions`` (usually in ``/v1``)."""

    url: str
    model: str
    """Its name there."""
    key_file: Path | None = None
    """Holds the API key; read for each request, so that a new key counts at once."""
    timeout: float = 120.0
    """Seconds without a byte after which an answer is given up."""


def headers_of(upstream: Upstream) -> dict[str, str]:
    """What every request to it carries.

    Raises:
        UpstreamUnavailable: the file of its key cannot be used. What is in it is in no message.
    """
    if upstream.key_file is None:
        return {}
    try:
        with upstream.key_file.open("rb") as file:
            key = file.read(MAX_KEY_BYTES + 1).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(upstream) from error
    if not key or len(key) > MAX_KEY_BYTES or not key.isprintable() or " " in key:
        raise _unusable(upstream)
    return {"authorization": f"Bearer {key}"}


def _unusable(upstream: Upstream) -> UpstreamUnavailable:
    return UpstreamUnavailable(
        f"The key for the remote model '{upstream.model}' cannot be read; the operator must check its "
        "'key_file'.",
        code="upstream_key_unusable",
        retry_after=OPERATOR_SECONDS,
    )
