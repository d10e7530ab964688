"""Asks once more for a mail that the server could not hand over when it came."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from mail_service.answering.envelopes import CameIn
from mail_service.mailbox.port import Cursor, Mailbox, MailboxError, Unread


async def whole(mailboxes: Mapping[str, Mailbox], came: CameIn) -> CameIn:
    """The mail with all of it, if only its head was to be had and the server gives it out now; else as it is.

    Args:
        mailboxes: by the names of folders.
    """
    mailbox = mailboxes.get(came.folder)
    if came.unread != Unread.UNREADABLE or mailbox is None:
        return came
    try:
        content = await mailbox.fetch(Cursor(came.uid_validity, came.uid))
    except MailboxError:
        return came
    if content is None:
        return came
    return msgspec.structs.replace(came, raw=content, size=len(content), unread="")
