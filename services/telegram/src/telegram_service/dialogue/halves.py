"""Telegram's clients divide what is too long for one message: which messages belong together. Pure."""

from __future__ import annotations

from telegram_service.dialogue.incoming import Content, Said
from telegram_service.formatting.messages import units

SPLIT_UNITS = 4000
"""A text of this length is likely to be the first half of a longer one."""
APART_SECONDS = 2
"""Halves are sent at once. What comes later is something else, however long the first has waited."""


def may_continue(content: Content) -> bool:
    """Whether a second half may follow."""
    return isinstance(content, Said) and units(content.text) >= SPLIT_UNITS


def is_continued(content: Content, following: Content) -> bool:
    """Whether what the same person sent next is its second half."""
    return (
        may_continue(content)
        and isinstance(content, Said)
        and isinstance(following, Said)
        and abs(following.sent_at - content.sent_at) <= APART_SECONDS
    )
