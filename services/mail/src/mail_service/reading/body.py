"""Which parts of a mail are its text, and which are files."""

from __future__ import annotations

from dataclasses import dataclass, field

from mail_service.letters import Attached, Remark
from mail_service.reading.charsets import one_line
from mail_service.reading.hypertext import to_text
from mail_service.reading.mime import LONGEST_FILE_NAME, Part, Walk, parse

LONGEST_TEXT = 200_000
"""Characters, of all text together."""
LARGEST_TEXT_PART = 2_000_000
"""Bytes, decoded."""
MOST_ATTACHMENTS = 50
DEEPEST_FORWARD = 2
"""Mails in mails whose text is read."""

_SIGNATURES = frozenset(
    {"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"}
)
_SEALED = frozenset({"application/pkcs7-mime", "application/x-pkcs7-mime", "application/pgp-encrypted"})
_TEXTS = frozenset({"text/plain", "text/html", "text/enriched", "text/x-amp-html", "text/markdown"})


@dataclass(slots=True)
class Body:
    """What was found."""

    texts: list[str] = field(default_factory=list)
    forwarded: list[str] = field(default_factory=list)
    attachments: list[Attached] = field(default_factory=list)
    remarks: set[Remark] = field(default_factory=set)
    links: int = 0

    @property
    def text(self) -> str:
        return "\n\n".join(filter(None, (text.strip("\n") for text in self.texts)))


def read_body(part: Part, walk: Walk, depth: int = DEEPEST_FORWARD) -> Body:
    """Everything that is in the tree."""
    body = Body()
    _Reader(body, walk, depth).visit(part)
    if walk.cut:
        body.remarks.add(Remark.CUT)
    return body


class _Reader:
    def __init__(self, body: Body, walk: Walk, depth: int) -> None:
        self._body = body
        self._walk = walk
        self._depth = depth

    def visit(self, part: Part) -> None:
        kind = part.content_type
        if part.parts:
            self._visit_multipart(part)
        elif kind in _SIGNATURES:
            self._body.remarks.add(Remark.SIGNED)
        elif kind in _SEALED:
            self._body.remarks.add(Remark.ENCRYPTED)
            self._attach(part)
        elif kind == "message/rfc822":
            self._visit_mail(part)
        elif kind in _TEXTS and part.disposition != "attachment" and not _is_file(part):
            self._add_text(self._read_text(part))
        else:
            if kind == "text/calendar":
                self._body.remarks.add(Remark.CALENDAR)
                if part.parameters.get("method", "").lower() in {"reply", "counter", "declinecounter"}:
                    self._body.remarks.add(Remark.CALENDAR_REPLY)
            self._attach(part)

    def _visit_multipart(self, part: Part) -> None:
        kind = part.content_type
        if kind == "multipart/encrypted":
            self._body.remarks.add(Remark.ENCRYPTED)
        elif kind == "multipart/report":
            self._body.remarks.add(Remark.REPORT)
        if kind == "multipart/alternative":
            self._visit_alternative(part)
        else:
            for child in part.parts:
                self.visit(child)

    def _visit_alternative(self, part: Part) -> None:
        """The plain one, unless it only says that there is another; files in it are taken all the same."""
        texts = [(child, self._inner(child)) for child in part.parts]
        best = max(texts, key=lambda found: _worth(found[1]), default=None)
        for child, found in texts:
            if best is not None and child is best[0]:
                self._add_text(found.text)
            self._body.attachments += found.attachments[: MOST_ATTACHMENTS - len(self._body.attachments)]
            self._body.remarks |= found.remarks
            self._body.forwarded += found.forwarded
            self._body.links = max(self._body.links, found.links)

    def _inner(self, part: Part) -> Body:
        body = Body()
        _Reader(body, self._walk, self._depth).visit(part)
        return body

    def _visit_mail(self, part: Part) -> None:
        self._attach(part)
        if not self._depth:
            return
        inner = parse(part.content(LARGEST_TEXT_PART), self._walk)
        found = read_body(inner, self._walk, self._depth - 1)
        self._body.forwarded += [found.text, *found.forwarded]

    def _read_text(self, part: Part) -> str:
        text = part.text(LARGEST_TEXT_PART)
        if part.content_type == "text/html":
            text, links = to_text(text)
            self._body.links += links
        else:
            self._body.links += text.count("https://") + text.count("http://")
            if part.parameters.get("format", "").lower() == "flowed":
                text = _unfolded(text, part.parameters.get("delsp", "").lower() == "yes")
        return text

    def _add_text(self, text: str) -> None:
        room = LONGEST_TEXT - sum(map(len, self._body.texts))
        if len(text) > room:
            self._body.remarks.add(Remark.CUT)
        if text.strip() and room > 0:
            self._body.texts.append(text[:room])

    def _attach(self, part: Part) -> None:
        if len(self._body.attachments) >= MOST_ATTACHMENTS:
            self._body.remarks.add(Remark.CUT)
            return
        name = one_line(part.name, LONGEST_FILE_NAME)
        self._body.attachments.append(Attached(name, part.content_type, part.content()))


def _is_file(part: Part) -> bool:
    """A text that has a name is a file, but for HTML, to which some mailers give one."""
    return bool(part.name) and part.content_type != "text/html"


def _worth(found: Body) -> tuple[bool, bool]:
    """Plain text comes first, so it wins over its equal; a stub of it loses to a real text."""
    text = found.text.strip()
    stub = len(text) < 200 and any(word in text.lower() for word in ("html", "view this", "navigateur"))
    return bool(text), not stub


def _unfolded(text: str, deletes_space: bool) -> str:
    """RFC 3676, 4.1: a line that ends with a space goes on in the next."""
    lines: list[str] = []
    flows = False
    for line in text.split("\n"):
        unstuffed = line.removeprefix(" ")
        if flows and not unstuffed.startswith(">") and unstuffed != "-- ":
            lines[-1] += unstuffed
        else:
            lines.append(unstuffed)
        flows = lines[-1].endswith(" ") and lines[-1] != "-- " and not lines[-1].startswith(">")
        if flows and deletes_space:
            lines[-1] = lines[-1][:-1]
    return "\n".join(lines)
