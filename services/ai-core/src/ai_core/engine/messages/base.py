"""What everything on the wire has in common."""

from __future__ import annotations

import msgspec


class Message(msgspec.Struct, frozen=True, tag_field="t"):
    """Base of everything on the wire."""
