"""From bytes to a letter."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from mail_service.letters import Address, Letter, Remark
from mail_service.reading.addresses import addresses, only_address
from mail_service.reading.body import read_body
from mail_service.reading.headers import Headers, decode_words, every, first
from mail_service.reading.mime import Part, Walk, parse
from mail_service.reading.quotes import separate

LARGEST = 64 * 1024 * 1024
"""Bytes that are looked at; the digest is of all."""
MOST_REFERENCES = 100
LONGEST_ID = 500
"""Characters; a longer Message-ID could not stand on one line of our answer (RFC 5322, 2.1.1)."""
LONGEST_SUBJECT = 500

_ID = re.compile(rf"<[!-;=?-~]{{1,{LONGEST_ID}}}>")
_BARE_ID = re.compile(rf"[!-;=?-~]{{1,{LONGEST_ID}}}@[!-;=?-~]{{1,250}}\Z")


def read(raw: bytes) -> Letter:
    """The letter in these bytes; never raises, whatever they are."""
    walk = Walk()
    digest = hashlib.sha256(raw).hexdigest()
    part = parse(raw[:LARGEST], walk)
    body = read_body(part, walk)
    remarks = body.remarks | _remarks(part, raw, walk)
    written = separate(body.text)
    if written.is_sealed:
        remarks.add(Remark.ENCRYPTED)
    headers = part.headers
    return Letter(
        message_id=_own_id(first(headers, "message-id"), digest),
        in_reply_to=_ids(every(headers, "in-reply-to")),
        references=_ids(every(headers, "references")),
        sender=_sender(headers),
        reply_to=_single(headers, "reply-to"),
        to=_all(headers, "to"),
        cc=_all(headers, "cc"),
        subject=decode_words(first(headers, "subject"), LONGEST_SUBJECT),
        date=_date(first(headers, "date")),
        text=written.text,
        quoted="\n\n".join(filter(None, (written.quoted, *body.forwarded))),
        attachments=tuple(body.attachments),
        headers=headers,
        digest=digest,
        size=len(raw),
        signature=written.signature,
        links=body.links,
        remarks=frozenset(remarks),
    )


def _remarks(part: Part, raw: bytes, walk: Walk) -> set[Remark]:
    found = {
        Remark.BROKEN: walk.broken,
        Remark.CUT: walk.cut or len(raw) > LARGEST,
        Remark.NO_MESSAGE_ID: not _ids(every(part.headers, "message-id")[:1]),
        Remark.SEVERAL_AUTHORS: _several_authors(part.headers),
        Remark.NO_MAIL: not {"from", "to", "subject", "date", "received"}
        & {name for name, _ in part.headers},
    }
    return {remark for remark, holds in found.items() if holds}


def _several_authors(headers: Headers) -> bool:
    values = every(headers, "from")
    return len(values) > 1 or any(len(addresses(value)) > 1 for value in values)


def _sender(headers: Headers) -> Address | None:
    return _single(headers, "from")


def _single(headers: Headers, name: str) -> Address | None:
    values = every(headers, name)
    return only_address(values[0]) if len(values) == 1 else None


def _all(headers: Headers, name: str) -> tuple[Address, ...]:
    return tuple(address for value in every(headers, name) for address in addresses(value))


def _ids(values: list[str]) -> tuple[str, ...]:
    found = [match for value in values for match in _ID.findall(value)]
    if not found and len(values) == 1 and _BARE_ID.match(values[0].strip()):
        found = [f"<{values[0].strip()}>"]
    unique = list(dict.fromkeys(found))
    return tuple(unique[:1] + unique[1:][-MOST_REFERENCES:])


def _own_id(value: str, digest: str) -> str:
    return next(iter(_ids([value])), f"<{digest[:40]}@no-message-id.invalid>")


def _date(value: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(value[:200])
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
