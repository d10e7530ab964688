"""What a pull is told and what it tells: JSON lines between the process that fetches and who started it."""

from __future__ import annotations

from typing import Literal

import msgspec

from ai_core.catalog.hub.choice import Form

Problem = Literal[
    "not_found",
    "gated",
    "token_refused",
    "nothing_to_fetch",
    "does_not_fit",
    "disk_full",
    "checksum_mismatch",
    "hub_unavailable",
    "hub_busy",
    "stalled",
    "failed",
]
"""Why a pull ended without its model."""
Activity = Literal["downloading", "verifying"]


class Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One model of one repository, and where it goes."""

    repository: str
    revision: str = "main"
    form: Form | None = None
    pattern: str = ""
    quantization: str = "none"
    remote_code: bool = False
    budget: int = 0
    """Bytes of memory that the model may take; 0: not known."""
    folder: str
    """Where its files get their names once they are complete."""
    endpoint: str = "https://huggingface.co"
    token: str | None = None
    attempts: int = 5
    """In a row without a byte, before it is given up."""

    def __repr__(self) -> str:
        # Never the token.
        return f"Order({self.repository!r}, {self.revision!r})"


class Planned(msgspec.Struct, frozen=True, tag="planned"):
    """It is known what comes."""

    commit: str
    files: int
    total: int
    """Bytes of all files."""
    have: int
    """Bytes of them that are here already."""
    said: str
    """Which files, and why."""


class Moved(msgspec.Struct, frozen=True, tag="moved"):
    """How far it is. ``done`` and ``total``: bytes of all files together, for this activity."""

    activity: Activity
    file: str
    done: int
    total: int


class Waiting(msgspec.Struct, frozen=True, tag="waiting"):
    """Nothing happens for a while, for a reason."""

    why: str
    seconds: float


class Completed(msgspec.Struct, frozen=True, tag="completed"):
    """The model is there and checked."""

    opened: str
    """What an engine opens: a file, or a folder."""
    form: Form
    commit: str
    total: int
    said: str
    already: bool
    """It was there before."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The model is not there; what has come is kept and need not come again."""

    problem: Problem
    message: str
    retry_after: float | None = None
    """Seconds."""


Event = Planned | Moved | Waiting | Completed | Failed
Final = Completed | Failed
EVENTS: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
