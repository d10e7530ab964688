"""A last look at the bytes of every mail: it goes to the one who was decided, and to nobody else. Pure.

It reads the mail anew, as a server would. Whatever a model, a stranger's name or a mistake of ours has done
to it, a mail that does not pass never goes out.
"""

from __future__ import annotations

import re
from email import message_from_bytes
from email.policy import default
from email.utils import getaddresses

from mail_service.sending.port import OutgoingMail

_MAY_STAND = {
    *("from", "to", "subject", "date", "message-id", "in-reply-to", "references", "auto-submitted"),
    *("x-auto-response-suppress", "mime-version", "content-type", "content-transfer-encoding"),
    "dkim-signature",
}
_LINE_BREAK = re.compile(rb"\r\n|\r|\n")


class GuardFailed(Exception):
    """A mail is not what was decided; the text says how and holds nothing of it."""


def inspect(mail: OutgoingMail, *, sender: str, recipient: str) -> None:
    """Raises GuardFailed unless a mail goes from one address of ours to one recipient, in headers that are
    known, each there once, and in the envelope."""
    if mail.recipient != recipient:
        raise GuardFailed("the envelope has another recipient")
    if _LINE_BREAK.search(mail.sender.encode() + mail.recipient.encode()) or " " in mail.recipient:
        raise GuardFailed("the envelope is malformed")
    head = message_from_bytes(mail.content, policy=default)
    names = [name.lower() for name in head.keys()]  # noqa: SIM118 - a name for each header, also of the same
    for name in names:
        if name not in _MAY_STAND:
            raise GuardFailed("there is a header that we do not write")
        if names.count(name) > 1:
            raise GuardFailed("a header is there twice")
    if _addresses(head, "to") != [recipient]:
        raise GuardFailed("the header has another recipient")
    if _addresses(head, "from") != [sender]:
        raise GuardFailed("the header has another sender")
    if str(head["auto-submitted"]) != "auto-replied":
        raise GuardFailed("it does not say that it was written automatically")
    if head.defects:
        raise GuardFailed("it is malformed")


def _addresses(head: object, name: str) -> list[str]:
    values = [str(value) for value in head.get_all(name, [])]  # type: ignore[attr-defined]
    return [address for _, address in getaddresses(values)]
