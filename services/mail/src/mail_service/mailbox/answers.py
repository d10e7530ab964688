"""What an IMAP server says, as values (RFC 3501, section 7). Lines come without their line ends."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from mail_service.mailbox.port import Box

TAKEN_KEYWORD = "$NeoDone"
ANSWERED_FLAG = "\\Answered"

_VALIDITY = re.compile(rb"\[UIDVALIDITY (\d+)\]", re.IGNORECASE)
_PERMANENT_FLAGS = re.compile(rb"\[PERMANENTFLAGS \(([^)]*)\)\]", re.IGNORECASE)
_NUMBERS = re.compile(rb"(?:\d+ ?)*")
_LISTED = re.compile(rb"\d+ FETCH \((.*)\)$", re.IGNORECASE | re.DOTALL)
_UID = re.compile(rb"\bUID (\d+)", re.IGNORECASE)
_SIZE = re.compile(rb"\bRFC822\.SIZE (\d+)", re.IGNORECASE)
_FLAGS = re.compile(rb"\bFLAGS \(([^)]*)\)", re.IGNORECASE)
_DATE = re.compile(rb'\bINTERNALDATE "([^"]*)"', re.IGNORECASE)
_QUOTED_CONTENT = re.compile(rb'\bBODY\[[^]]*\](?:<\d+>)? "((?:[^"\\]|\\.)*)"', re.IGNORECASE)
_FOLDER = re.compile(rb'\(([^)]*)\) (?:"(?:\\.|[^"\\])"|NIL) (.*)$', re.IGNORECASE | re.DOTALL)
_RESPONSE_CODE = re.compile(rb"\[([A-Z-]+)", re.IGNORECASE)

# RFC 5530: what passes by itself.
_PASSING = frozenset({b"UNAVAILABLE", b"INUSE", b"SERVERBUG", b"LIMIT"})
_SPECIAL_USE = {Box.SENT: "\\sent", Box.DRAFTS: "\\drafts"}
# Where nothing is marked, in what English and French mail programs call them.
_USUAL_NAMES = {
    Box.SENT: ("sent", "sent items", "sent messages", "sent mail", "envoy&AOk-s", "messages envoy&AOk-s"),
    Box.DRAFTS: ("drafts", "draft", "brouillons"),
}


@dataclass(frozen=True, slots=True)
class Selected:
    """A folder that is open."""

    uid_validity: int
    takes_keywords: bool
    """Whether new ones may be made up."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A mail, before it is fetched."""

    uid: int
    size: int
    arrived_at: datetime | None
    taken: bool
    """Whether it carries our mark."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of the account."""

    name: str
    """As the server writes it: modified UTF-7 (RFC 3501, 5.1.3)."""
    attributes: frozenset[str]
    """In lower case, each with its backslash."""


def read_selected(lines: Iterable[bytes]) -> Selected | None:
    """From the answer to SELECT; None: the server keeps no lasting UIDs, or none that can be read."""
    text = b"\n".join(bytes(line) for line in lines)
    validity, flags = _VALIDITY.search(text), _PERMANENT_FLAGS.search(text)
    if validity is None:
        return None
    permanent = flags.group(1).split() if flags is not None else []
    known = TAKEN_KEYWORD.lower().encode() in (flag.lower() for flag in permanent)
    return Selected(int(validity.group(1)), takes_keywords=known or b"\\*" in permanent)


def read_uids(lines: Sequence[bytes], after: int) -> list[int]:
    """From the answer to ``UID SEARCH UID n:*``, in order.

    A server answers that with its last mail even where its UID is below n, since ``*`` stands for that mail
    and the ends of a range may stand either way round (RFC 3501, 6.4.8 and 9): such are left out.
    """
    # The last line is the end of the command.
    numbers = (line.split() for line in lines[:-1] if _NUMBERS.fullmatch(bytes(line)))
    return sorted({uid for line in numbers for uid in map(int, line) if uid > after})


def read_listed(lines: Iterable[bytes], mark: str) -> list[Listed]:
    """From the answer to ``UID FETCH … (UID FLAGS INTERNALDATE RFC822.SIZE)``, by UID.

    Args:
        mark: the flag or keyword that says that a mail was taken.
    """
    found = {}
    for line in lines:
        match = _LISTED.match(bytes(line))
        uid, size = (pattern.search(match.group(1)) if match else None for pattern in (_UID, _SIZE))
        if match is None or uid is None or size is None:
            # News about other mails, which servers may put in between.
            continue
        flags, date = _FLAGS.search(match.group(1)), _DATE.search(match.group(1))
        names = (
            {flag.lower() for flag in flags.group(1).decode("ascii", "replace").split()} if flags else set()
        )
        number = int(uid.group(1))
        found[number] = Listed(
            number, int(size.group(1)), _date(date.group(1) if date else b""), mark.lower() in names
        )
    return [found[uid] for uid in sorted(found)]


def read_content(lines: Iterable[bytes | bytearray]) -> bytes | None:
    """The bytes in the answer to a FETCH of one body or head; None: there are none."""
    for line in lines:
        if isinstance(line, bytearray):
            return bytes(line)
        quoted = _QUOTED_CONTENT.search(line)
        if quoted is not None:
            return re.sub(rb"\\(.)", rb"\1", quoted.group(1), flags=re.DOTALL)
    return None


def read_folders(lines: Sequence[bytes | bytearray]) -> list[Folder]:
    """From the answer to LIST."""
    found = []
    for number, line in enumerate(lines[:-1]):
        match = _FOLDER.match(bytes(line)) if isinstance(line, bytes) else None
        if match is None:
            continue
        name = match.group(2).strip()
        following = lines[number + 1]
        if name.startswith(b"{") and isinstance(following, bytearray):
            name = bytes(following)
        elif name.startswith(b'"'):
            name = re.sub(rb"\\(.)", rb"\1", name[1:-1])
        attributes = match.group(1).decode("ascii", "replace").lower().split()
        found.append(Folder(name.decode("utf-8", "replace"), frozenset(attributes)))
    return found


def folder_for(box: Box, folders: Sequence[Folder]) -> str | None:
    """The folder with this special use (RFC 6154), else one with a usual name; None: there is neither."""
    for folder in folders:
        if _SPECIAL_USE[box] in folder.attributes:
            return folder.name
    usual = [name.lower() for name in _USUAL_NAMES[box]]
    for folder in folders:
        last = re.split(r"[/.]", folder.name)[-1].lower()
        if last in usual and "\\noselect" not in folder.attributes:
            return folder.name
    return None


def is_passing(lines: Sequence[bytes]) -> bool:
    """Whether a NO is about the server's state just now, and not about what we asked."""
    code = _RESPONSE_CODE.search(bytes(lines[-1])) if lines else None
    return code is not None and code.group(1).upper() in _PASSING


def _date(value: bytes) -> datetime | None:
    try:
        return datetime.strptime(value.decode("ascii").strip(), "%d-%b-%Y %H:%M:%S %z")
    except ValueError:
        return None
