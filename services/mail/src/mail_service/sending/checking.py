"""Whether a mail may go out as it is: the last look, however it was made."""

from __future__ import annotations

import re
from email.parser import BytesHeaderParser
from email.policy import compat32
from email.utils import getaddresses

from mail_service.sending.port import OutgoingMail

MAX_ADDRESS_CHARACTERS = 254
"""RFC 5321, 4.5.3.1.3, without the angle brackets."""

# No quoted local parts, though RFC 5321 has them: hardly anybody uses them, and they can hold anything.
_ADDRESS = re.compile(r"[^\s\x00-\x1f\x7f<>()\[\]\\,;:\"@]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:.*")
_CONTINUED = re.compile(rb"[ \t].*")
_LINE_END = re.compile(rb"\r\n|\r|\n")

_ONCE = frozenset({b"from", b"to", b"message-id", b"subject", b"date", b"in-reply-to", b"references"})
_NEEDED = frozenset({b"from", b"to", b"message-id"})
_NEVER = frozenset({b"bcc", b"cc", b"return-path"})


def problem_of(mail: OutgoingMail) -> str | None:
    """Why this mail must not go out; None: it may. The text holds nothing of the mail.

    A mail of ours has one recipient, in its ``To`` and in no other field, and a head in which every line is a
    field or goes on with one: whatever was smuggled into a value shows here.
    """
    for name, address in (("sender", mail.sender), ("recipient", mail.recipient)):
        if len(address) > MAX_ADDRESS_CHARACTERS or not _ADDRESS.fullmatch(address):
            return f"the envelope's {name} is no address"
    head = _head(mail.content)
    return _problem_of_head(head) or _problem_of_recipient(head, mail.recipient)


def prepared(content: bytes) -> bytes:
    """As it goes over the wire, but for the last dot: lines end with CRLF, and none is a dot alone.

    Every lone CR or LF becomes a line end of its own, so that no server along the way can see an end of the
    mail that another does not see (SMTP smuggling).
    """
    body = _LINE_END.sub(b"\r\n", content)
    if not body.endswith(b"\r\n"):
        body += b"\r\n"
    return re.sub(rb"(?m)^\.", b"..", body)


def _head(content: bytes) -> bytes:
    found = re.search(rb"\r\n\r\n|\n\n", content)
    return content[: found.start()] if found else content.removesuffix(b"\n").removesuffix(b"\r")


def _problem_of_head(head: bytes) -> str | None:
    ends = set(_LINE_END.findall(head))
    if b"\r" in ends or len(ends) > 1 or b"\0" in head:
        return "the head has line ends that are not its own"
    names = []
    for number, line in enumerate(_LINE_END.split(head)):
        field = _FIELD.fullmatch(line)
        if field is not None:
            names.append(field.group(1).lower())
        elif number == 0 or not _CONTINUED.fullmatch(line):
            return "the head has a line that is no field"
    if _NEVER & set(names) or any(name.startswith(b"resent-") for name in names):
        return "the head names somebody else"
    if not set(names) >= _NEEDED:
        return "the head is incomplete"
    if any(names.count(name) > 1 for name in _ONCE):
        return "the head has a field twice"
    return None


def _problem_of_recipient(head: bytes, recipient: str) -> str | None:
    fields = BytesHeaderParser(policy=compat32).parsebytes(head)
    named = [address.lower() for _, address in getaddresses([str(fields["To"])])]
    return None if named == [recipient.lower()] else "the head names somebody else"
