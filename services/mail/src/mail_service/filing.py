"""What is kept of a letter in the history. Pure."""

from __future__ import annotations

from mail_service.deciding.likeness import essence
from mail_service.letters import Letter
from mail_service.storage.correspondence import Written

MAX_KEPT_CHARACTERS = 100_000
"""Of a mail's text in the history; the model reads less."""


def written(letter: Letter) -> Written:
    """A letter as it is kept in the history."""
    sender = letter.sender
    return Written(
        message_id=letter.message_id,
        address=sender.address if sender is not None else "",
        name=sender.name if sender is not None else "",
        subject=letter.subject,
        text=letter.text[:MAX_KEPT_CHARACTERS],
        references=letter.references,
        date=letter.date,
        essence=essence(letter),
    )
