"""Two hundred mails that nobody should send, and the state that each must end in.

``answered``: readable, or at least from somebody who can be told why not. ``ignored``: answering would be a
loop, a mistake, or of no use. ``dead``: no mail at all. Every mail has a sender and a Message-ID of its own
unless that is its point, and everything is the same in each run.
"""

from __future__ import annotations

import base64
import gzip
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

US = "neo@example.test"
"""The mailbox; ``raw`` puts another in its place."""
QUESTION = "Bonjour, combien de jours de congés payés ai-je en CDI ?"
ANSWERED, IGNORED, DEAD = "answered", "ignored", "dead"
MANY = 5_000
LONG_LINE = 100_000_000
"""Bytes."""


@dataclass(frozen=True, slots=True)
class Hostile:
    """One mail."""

    name: str
    state: str
    make: Callable[[], bytes]
    sender: str

    def raw(self, us: str = US) -> bytes:
        """Its bytes, addressed to this mailbox."""
        return self.make().replace(US.encode(), us.encode())


def hostile() -> list[Hostile]:
    """All of them; names and senders are unique."""
    groups = (_charsets, _headers, _mime, _bodies, _files, _loops, _senders, _no_mails)
    found: list[Hostile] = []
    for group in groups:
        for name, state, make in group():
            found.append(_numbered(f"{group.__name__[1:]}: {name}", state, make, len(found)))
    return found


Made = bytes | Callable[[], bytes]
Row = tuple[str, str, Made]


def _numbered(name: str, state: str, made: Made, number: int) -> Hostile:
    sender = f"h{number:03}@people.test"

    def make() -> bytes:
        raw = made() if callable(made) else made
        return raw.replace(b"WRITER", sender.encode()).replace(b"NUMBER", str(number).encode())

    return Hostile(name, state, make, sender)


def _mail(*headers: str | bytes, body: str | bytes = QUESTION, without: str = "") -> bytes:
    """With the usual headers, but for those given or named in ``without``."""
    lines = [line.encode() if isinstance(line, str) else line for line in headers]
    usual = {
        "From": "Anne <WRITER>",
        "To": US,
        "Subject": "Question sur mes congés",
        "Date": "Sat, 21 Nov 2026 20:00:00 +0100",
        "Message-ID": "<hostile-NUMBER@people.test>",
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=utf-8",
    }
    given = {line.partition(b":")[0].strip().lower() for line in lines} | set(
        without.encode().lower().split()
    )
    lines = [
        f"{key}: {value}".encode() for key, value in usual.items() if key.lower().encode() not in given
    ] + lines
    return b"\r\n".join([*lines, b"", body.encode() if isinstance(body, str) else body, b""])


def _part(content_type: str, body: str | bytes, *headers: str) -> bytes:
    lines = "\r\n".join((f"Content-Type: {content_type}", *headers, "", ""))
    return lines.encode() + (body.encode() if isinstance(body, str) else body)


def _multipart(
    *parts: bytes, kind: str = "mixed", more: str = "", end: bool = True, headers: tuple[str, ...] = ()
) -> bytes:
    body = b"".join(b"--frontier\r\n" + part + b"\r\n" for part in parts) + (
        b"--frontier--\r\n" if end else b""
    )
    return _mail(f'Content-Type: multipart/{kind}; boundary="frontier"{more}', *headers, body=body)


_TEXT = _part("text/plain; charset=utf-8", QUESTION)


def _file(content: bytes, name: str, content_type: str = "application/octet-stream") -> bytes:
    return _part(
        content_type,
        base64.encodebytes(content),
        f'Content-Disposition: attachment; filename="{name}"',
        "Content-Transfer-Encoding: base64",
    )


def _charsets() -> Iterator[Row]:
    encoded = {
        "utf-8": "utf-8", "iso-8859-1": "latin-1", "iso-8859-15": "iso8859-15", "windows-1252": "cp1252",
        "windows-1258": "cp1252", "x-mac-roman": "mac_roman", "macintosh": "mac_roman", "utf-16": "utf-16",
        "cp850": "cp850", "UTF8": "utf-8", "latin1": "latin-1", "ibm850": "cp850", "gb18030": "gb18030",
    }  # fmt: skip
    for label, codec in encoded.items():
        yield (
            label,
            ANSWERED,
            _mail(f"Content-Type: text/plain; charset={label}", body=QUESTION.encode(codec)),
        )
    latin = QUESTION.encode("latin-1")
    wrong = (
        *(
            "utf-8",
            "unknown-8bit",
            "us-ascii",
            "x-unknown",
            "iso-8859-8-i",
            "ks_c_5601-1987",
            "gb2312",
            "big5",
        ),
        *("shift_jis", "iso-2022-jp", "utf-7", "rot13", "zlib", "unicode_escape", "idna", "../../etc/passwd"),
        *("", '"', "utf-8; charset=latin-1", "x" * 5_000, "utf-16le", "hex", "undefined", "_"),
    )
    for label in wrong:
        yield (
            f"latin-1 as {label[:20]!r}",
            ANSWERED,
            _mail(f"Content-Type: text/plain; charset={label}", body=latin),
        )
    yield (
        "odd bytes in gb2312",
        ANSWERED,
        _mail(
            "Content-Type: text/plain; charset=gb2312",
            body="年假多少天？".encode("gb18030") + b"\xff\xfe? CDI\x80",
        ),
    )
    yield (
        "korean",
        ANSWERED,
        _mail("Content-Type: text/plain; charset=ks_c_5601-1987", body="휴가?".encode("cp949")),
    )
    yield (
        "hebrew",
        ANSWERED,
        _mail("Content-Type: text/plain; charset=iso-8859-8-i", body="חופשה?".encode("iso8859-8")),
    )
    yield (
        "utf-7 markup",
        ANSWERED,
        _mail("Content-Type: text/html; charset=utf-7", body="+ADw-script+AD4- CDI ?"),
    )
    yield "charset by RFC 2231", ANSWERED, _mail("Content-Type: text/plain; charset*=us-ascii'en'utf%2D8")
    yield "NUL in the charset", ANSWERED, _mail(b"Content-Type: text/plain; charset=ut\x00f-8")


def _headers() -> Iterator[Row]:
    yield "no Message-ID", ANSWERED, _mail(without="Message-ID")
    for name, value in {
        "empty Message-ID": "", "a Message-ID without brackets": "abc@people.test", "two in one": "<a@b> <c@d>",
        "a long Message-ID": f"<{'x' * 5_000}@people.test>", "a Message-ID of quotes": '<"> <b>"@x>',
        "a Message-ID with a header": "<a@b>\x0bBcc: victim@elsewhere.test",
    }.items():  # fmt: skip
        yield name, ANSWERED, _mail(f"Message-ID: {value}")
    for name, value in {
        "none": "", "words": "hier soir", "far away": "Sat, 21 Nov 99999 20:00:00 +0000", "a wild zone":
        "Sat, 21 Nov 2026 20:00:00 +9999999", "negative": "Sat, -1 Nov -2026 -1:00:00 -0000", "long": "1" * 9_000,
    }.items():  # fmt: skip
        yield f"date: {name}", ANSWERED, _mail(f"Date: {value}")
    subjects = {
        "none": b"", "a header in it": b"=?utf-8?q?Conges=0D=0ABcc:_victim@elsewhere.test?=",
        "a body in it": b"=?utf-8?b?" + base64.b64encode(b"x\r\n\r\n<script>alert(1)</script>") + b"?=",
        "a folded header": b"Conges\r\n Bcc: victim@elsewhere.test", "bare CR": b"Conges\rBcc: victim@elsewhere.test",
        "NUL": b"Con\x00ges", "raw latin-1": "Congés payés".encode("latin-1"), "raw UTF-8": "Congés".encode(),
        "long": b"conges " * 20_000, "broken words": b"=?utf-8?q?Cong=C3=A9s =?utf-8?b?w6k?= =?x?y?z?= =?",
        "a word in a wrong charset": b"=?klingon?q?Conges=E9?=", "a cut character":
        b"=?utf-8?q?Cong=C3?= =?utf-8?q?=A9s?=", "direction marks": "Cong\u202es\u2066".encode(), "a template":
        b"{{ config }} {% for x in y %} ${7*7}", "markup": b"<img src=http://evil.test/x onerror=alert(1)>",
        "formats": b"%s%n%d {0} {sender_name.__class__}", "many words": b"=?utf-8?q?a?= " * 3_000, "emoji":
        "🔥 congés 🔥".encode(),
    }  # fmt: skip
    for name, subject in subjects.items():
        yield f"subject: {name}", ANSWERED, _mail(b"Subject: " + subject)
    names = {
        "a header": b"=?utf-8?q?Anne=0D=0ABcc:_victim@elsewhere.test?= <WRITER>", "markup":
        b'"<script>alert(1)</script>" <WRITER>', "long": b"A" * 9_000 + b" <WRITER>", "ours": b'"neo@example.test" <WRITER>',
        "another address": b'"boss@allowed.test" <WRITER>', "a quote that stays open": b'"Anne <x> \\" <WRITER>" <WRITER>',
        "comments": b"(a (nested) comment) <WRITER> (and another", "raw bytes": b"Ann\xe9 \xff <WRITER>", "direction":
        "\u202eenna <WRITER>".encode(), "a template": b"{{ 7*7 }} <WRITER>", "CR": b"Anne\r <WRITER>",
    }  # fmt: skip
    for name, value in names.items():
        yield f"name: {name}", ANSWERED, _mail(b"From: " + value)
    yield "no name at all", ANSWERED, _mail("From: WRITER")
    yield "many headers", ANSWERED, _mail(*(f"X-{number}: x" for number in range(MANY)))
    yield "a long header", ANSWERED, _mail("X-Long: " + "x" * 90_000)
    yield "a header folded often", ANSWERED, _mail("X-Folded: x" + "\r\n x" * 4_000)
    yield "lines that are no headers", ANSWERED, _mail(b"\xff\xfe garbage", "no colon here", ": no name")
    yield "line feeds only", ANSWERED, lambda: _mail().replace(b"\r\n", b"\n")
    yield "carriage returns before them", ANSWERED, lambda: _mail().replace(b"\r\n", b"\r\r\n")
    yield "an mbox line on top", ANSWERED, b"From WRITER Sat Nov 21 20:00:00 2026\r\n" + _mail()
    yield "references without end", ANSWERED, _mail("References: " + "<a@b.test> " * 5_000)
    yield (
        "in reply to everything",
        ANSWERED,
        _mail("In-Reply-To: " + " ".join(f"<{n}@x.test>" for n in range(2_000))),
    )
    yield "several recipients", ANSWERED, _mail(f"To: {US}, a@people.test, b@people.test")
    yield (
        "a thousand recipients",
        ANSWERED,
        _mail("To: " + ", ".join(f"p{n}@people.test" for n in range(1_000)), f"Cc: {US}"),
    )
    yield "we are in Cc", ANSWERED, _mail("To: boss@elsewhere.test", f"Cc: {US}")
    yield "to nobody", ANSWERED, _mail("To: undisclosed-recipients:;")
    yield "no To", ANSWERED, _mail(without="To")
    yield "an answer for somebody else", ANSWERED, _mail("Reply-To: victim@elsewhere.test")
    yield "answers for many", ANSWERED, _mail("Reply-To: a@elsewhere.test, b@elsewhere.test")
    yield (
        "authenticated by itself",
        ANSWERED,
        _mail("Authentication-Results: evil.test; dmarc=pass header.from=people.test"),
    )
    yield "broken results", ANSWERED, _mail("Authentication-Results: ;;; =(((" + "(" * 500)
    yield (
        "a broken signature",
        ANSWERED,
        _mail("DKIM-Signature: v=1; a=rsa-sha256; d=people.test; s=x; h=from; bh=!; b=!"),
    )


def _nested(depth: int) -> bytes:
    head = b"".join(
        b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (level, level + 1)
        for level in range(depth)
    )
    inner = b"--b%d\r\n" % depth + _TEXT + b"\r\n"
    return _mail(
        "Content-Type: multipart/mixed; boundary=b0", body=QUESTION.encode() + b"\r\n" + head + inner
    )


def _mime() -> Iterator[Row]:
    yield "no last boundary", ANSWERED, _multipart(_TEXT, end=False)
    yield "a boundary that never comes", ANSWERED, _mail("Content-Type: multipart/mixed; boundary=nowhere")
    yield (
        "an empty boundary",
        ANSWERED,
        _mail('Content-Type: multipart/mixed; boundary=""', body="--\r\n\r\nCDI ?\r\n----"),
    )
    yield "no boundary", ANSWERED, _mail("Content-Type: multipart/mixed")
    yield (
        "a boundary of a megabyte",
        ANSWERED,
        _mail(f"Content-Type: multipart/mixed; boundary={'b' * 1_000_000}"),
    )
    yield "a part without a head", ANSWERED, _multipart(QUESTION.encode())
    yield (
        "the same boundary within",
        ANSWERED,
        _multipart(_part("multipart/mixed; boundary=frontier", b"x"), _TEXT),
    )
    yield "thousands of parts", ANSWERED, lambda: _multipart(*[_TEXT] * MANY)
    yield "thousands of files", ANSWERED, lambda: _multipart(_TEXT, *[_file(b"x", "x.txt")] * MANY)
    yield "deeper than anybody looks", ANSWERED, lambda: _nested(15)
    yield "a thousand levels", ANSWERED, lambda: _nested(1_000)
    yield (
        "an alternative without text",
        ANSWERED,
        _multipart(
            _part("text/plain", ""),
            _part("text/html; charset=utf-8", f"<p>{QUESTION}</p>"),
            kind="alternative",
        ),
    )
    yield (
        "a stub of a text",
        ANSWERED,
        _multipart(
            _part("text/plain", "Please view this mail as HTML."),
            _part("text/html; charset=utf-8", QUESTION),
            kind="alternative",
        ),
    )
    yield "two Content-Types", ANSWERED, _mail("Content-Type: text/plain", "Content-Type: image/png")
    for content_type in (
        "text",
        "TEXT/PLAIN;;;;=",
        "text/plain; " + "x=y;" * 2_000,
        "nonsense",
        "a/b/c",
        "\x00",
        "text/vnd.odd",
    ):
        yield f"type {content_type[:15]!r}", ANSWERED, _mail(f"Content-Type: {content_type}")
    for encoding in ("klingon", "base64", "quoted-printable; x", "7bit (oh)", "uuencode", "binary, base64"):
        yield f"encoding {encoding}", ANSWERED, _mail(f"Content-Transfer-Encoding: {encoding}")
    cut = base64.b64encode(QUESTION.encode())[:-3] + b"?!\xff"
    yield "broken base64", ANSWERED, _mail("Content-Transfer-Encoding: base64", body=cut)
    yield (
        "broken quoted-printable",
        ANSWERED,
        _mail("Content-Transfer-Encoding: quoted-printable", body="Cong=C3=A9s =ZZ =\r\n= =3D=?\r\n="),
    )
    yield "an encoded multipart", ANSWERED, _mail(
        'Content-Type: multipart/mixed; boundary="frontier"', "Content-Transfer-Encoding: base64",
        body=b"--frontier\r\n" + _TEXT + b"\r\n--frontier--",
    )  # fmt: skip
    yield "a mail in a mail", ANSWERED, _multipart(_part("message/rfc822", _mail()))
    deep = QUESTION.encode()
    for _ in range(200):
        deep = b"Content-Type: message/rfc822\r\n\r\n" + deep
    yield "mails in mails in mails", ANSWERED, _mail("Content-Type: message/rfc822", body=deep)
    yield "a part of a mail", ANSWERED, _mail("Content-Type: message/partial; id=1; number=1; total=9")
    yield (
        "a body elsewhere",
        ANSWERED,
        _multipart(_TEXT, _part("message/external-body; access-type=URL; URL=http://evil.test/x", "")),
    )
    yield "a digest", ANSWERED, _multipart(_mail(), _mail(), kind="digest")


def _bodies() -> Iterator[Row]:
    yield "empty", ANSWERED, _mail("Subject: x", body="")
    yield "only blanks", ANSWERED, _mail("Subject: x", body=" \t\r\n\u00a0\u200b\r\n" * 50)
    yield "NULs between", ANSWERED, _mail(body="\0".join(QUESTION))
    yield "all bytes", ANSWERED, _mail(body=bytes(range(256)) * 20)
    yield "control characters", ANSWERED, _mail(body="\x1b[2J\x1b]0;x\x07" + QUESTION)
    yield "one line without end", ANSWERED, lambda: _mail(body=b"a" * LONG_LINE)
    yield "a million lines", ANSWERED, lambda: _mail(body=b"?\r\n" * 1_000_000)
    yield "quotations without end", ANSWERED, lambda: _mail(body=QUESTION.encode() + b"\r\n> > >" * 100_000)
    yield "heads of quotations without end", ANSWERED, lambda: _mail(body=b"Le le on On wrote\r\n" * 20_000)
    yield "Outlook heads without end", ANSWERED, lambda: _mail(body=b"De :\r\nFrom: x\r\nSent\r\n" * 20_000)
    yield "only quoted", ANSWERED, _mail(body="> " + QUESTION)
    yield "only a signature", ANSWERED, _mail("Subject: x", body="-- \r\nAnne")
    yield (
        "flowed",
        ANSWERED,
        _mail("Content-Type: text/plain; format=flowed; delsp=yes", body=" \r\n" * 9_000 + QUESTION),
    )
    pages = {
        "script": f"<script>while(1);</script><p>{QUESTION}</p>", "open comment": f"<p>{QUESTION}</p><!-- ",
        "open tag": f"<p>{QUESTION}</p><a href='", "no tags": QUESTION, "only hidden":
        f"<div style='display:none'>{QUESTION}</div>", "frames": f"<iframe src=http://evil.test></iframe>{QUESTION}",
        "remote images": f"{QUESTION}<img src=http://evil.test/pixel.gif>", "odd references": "&#99999999999; &#x; &bogus; CDI ?",
        "a number without end": "&#" + "9" * 50_000 + "; CDI ?", "a style without end": f"<p>{QUESTION}</p><style>" + "p{" * 9_000,
        "XML": f"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'b'>]><p>&a;{QUESTION}</p>", "base":
        f"<base href=http://evil.test><form action=/x><input name=a></form>{QUESTION}",
    }  # fmt: skip
    for name, page in pages.items():
        yield f"HTML: {name}", ANSWERED, _mail("Content-Type: text/html; charset=utf-8", body=page)
    for name, piece in {
        "deep": "<div>",
        "angles": "<",
        "attributes": '<a b="',
        "quotes": "<blockquote>x",
        "comments": "<!--x",
    }.items():
        yield (
            f"HTML: {name} without end",
            ANSWERED,
            (
                lambda piece=piece: _mail(
                    "Content-Type: text/html", body=QUESTION.encode() + piece.encode() * 200_000
                )  # type: ignore[misc]
            ),
        )
    yield (
        "PGP in the text",
        ANSWERED,
        _mail("Subject: x", body="-----BEGIN PGP MESSAGE-----\r\n\r\nhQEMA\r\n-----END PGP MESSAGE-----"),
    )
    yield (
        "signed with PGP",
        ANSWERED,
        _mail(
            body=f"-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA256\r\n\r\n{QUESTION}\r\n-----BEGIN PGP SIGNATURE-----\r\nx"
        ),
    )


def _zip(name: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return packed.getvalue()


def _picture(width: int, height: int) -> bytes:
    """A PNG that claims to be so large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack("!L", len(content)) + kind + content + struct.pack("!L", zlib.crc32(kind + content))
        )

    head = chunk(b"IHDR", struct.pack("!LLBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 9_000)) + chunk(b"IEND", b"")


def _bomb() -> bytes:
    content = b"\0" * 20_000_000
    for level in range(3):
        content = _zip(f"{level}.zip", content)
    return content


def _files() -> Iterator[Row]:
    contents: dict[str, tuple[str, str, Callable[[], bytes]]] = {
        "zip bomb": ("bombe.zip", "application/zip", _bomb),
        "a document that is a bomb": ("contrat.docx", "application/msword", lambda: _zip("word/document.xml", b" " * 50_000_000)),
        "a huge picture": ("scan.png", "image/png", lambda: _picture(60_000, 60_000)),
        "no PDF": ("contrat.pdf", "application/pdf", lambda: b"%PDF-1.7\n" + bytes(range(256)) * 40),
        "a PDF of bytes": ("contrat.pdf", "application/pdf", lambda: random.Random(1).randbytes(50_000)),
        "no DOC": ("lettre.doc", "application/msword", lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"x" * 9_000),
        "an empty file": ("vide.pdf", "application/pdf", lambda: b""),
        "a program": ("facture.pdf.exe", "application/x-msdownload", lambda: b"MZ" + b"\0" * 500),
        "winmail": ("winmail.dat", "application/ms-tnef", lambda: b"\x78\x9f\x3e\x22" + b"x" * 500),
        "a gzip bomb": ("x.gz", "application/gzip", lambda: gzip.compress(b"\0" * 10_000_000)),
        "more than is taken": ("grand.txt", "text/plain", lambda: b"x " * 6_000_000),
    }  # fmt: skip
    for name, (file_name, kind, content) in contents.items():
        yield name, ANSWERED, lambda f=file_name, k=kind, c=content: _multipart(_TEXT, _file(c(), f, k))  # type: ignore[misc]
    for file_name in (
        "../../etc/passwd",
        "/etc/shadow",
        "a\x00.pdf",
        "x" * 3_000 + ".pdf",
        "con.pdf\r\nBcc: x",
        "<b>.pdf",
        "",
    ):
        yield (
            f"called {file_name[:16]!r}",
            ANSWERED,
            _multipart(_TEXT, _file(b"Bonjour", file_name, "text/plain")),
        )
    yield "only a picture", ANSWERED, _multipart(_file(_picture(200, 100), "scan.png", "image/png"))
    yield (
        "only a picture, and nothing around",
        ANSWERED,
        _mail(
            "Content-Type: image/png",
            "Content-Transfer-Encoding: base64",
            body=base64.encodebytes(_picture(200, 100)),
        ),
    )
    invitation = "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:1\r\nEND:VEVENT\r\nEND:VCALENDAR"
    yield "an invitation", ANSWERED, _mail("Content-Type: text/calendar; method=REQUEST", body=invitation)
    yield (
        "an invitation with words",
        ANSWERED,
        _multipart(_TEXT, _part("text/calendar; method=REQUEST", invitation), kind="alternative"),
    )
    yield (
        "an answer to an invitation",
        IGNORED,
        _mail("Content-Type: text/calendar; method=REPLY", body=invitation),
    )
    sealed = "application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m"
    yield (
        "S/MIME, sealed",
        ANSWERED,
        _mail(f"Content-Type: {sealed}", "Content-Transfer-Encoding: base64", body="MIIB"),
    )
    yield (
        "S/MIME, signed",
        ANSWERED,
        _multipart(
            _TEXT,
            _file(b"0\x82", "smime.p7s", "application/pkcs7-signature"),
            kind="signed",
            more="; micalg=sha-256",
        ),
    )
    yield "PGP/MIME, sealed", ANSWERED, _multipart(
        _part("application/pgp-encrypted", "Version: 1"), _part("application/octet-stream", "-----BEGIN PGP MESSAGE-----"),
        kind="encrypted",
    )  # fmt: skip
    yield (
        "PGP/MIME, signed",
        ANSWERED,
        _multipart(_TEXT, _part("application/pgp-signature", "x"), kind="signed"),
    )


def _loops() -> Iterator[Row]:
    headers = {
        *("Auto-Submitted: auto-replied", "Auto-Submitted: AUTO-GENERATED", "Auto-Submitted: auto-notified; x=y"),
        *("Auto-Submitted: ", "X-Auto-Response-Suppress: All", "X-Auto-Response-Suppress: DR, OOF", "List-Id: <x.y>"),
        *("List-Unsubscribe: <mailto:x@y>", "Precedence: bulk", "Precedence: JUNK", "Precedence: list"),
        *("Precedence: auto_reply", "X-Autoreply: yes", "X-Autorespond: away", "X-Auto-Reply: 1", "Return-Path: <>"),
        *("Return-Path: <MAILER-DAEMON@people.test>", f"Return-Path: <{US}>", "Return-Path: <x-bounces@people.test>"),
    }  # fmt: skip
    for header in sorted(headers):
        yield header, IGNORED, _mail(header)
    for report in ("delivery-status", "disposition-notification", "feedback-report"):
        yield (
            f"a report: {report}",
            IGNORED,
            _multipart(
                _TEXT,
                _part(f"message/{report}", "Action: failed"),
                kind="report",
                more=f"; report-type={report}",
            ),
        )
    yield "from us", IGNORED, _mail(f"From: {US}")
    yield "from us, under another name", IGNORED, _mail(f"From: Anne <{US}>")
    yield "answers go to us", IGNORED, _mail(f"Reply-To: {US}")
    for subject in (
        "Out of office",
        "Réponse automatique : Re: x",
        "Automatic reply: Re: x",
        "Absence du bureau",
    ):
        yield f"subject {subject}", IGNORED, _mail(f"Subject: {subject}", body="Je ne suis pas là.")


def _senders() -> Iterator[Row]:
    rows = {
        "two addresses": "From: a@people.test, b@people.test", "two headers": "From: a@people.test\r\nFrom: b@people.test",
        "none": "From:", "a name alone": "From: Anne", "a group": "From: undisclosed:;", "an empty angle": "From: <>",
        "no domain": "From: <anne>", "no local part": "From: <@people.test>", "a space": "From: <an ne@people.test>",
        "two angles": "From: <a@people.test> <b@people.test>", "a line in it": 'From: <"a\\\nb"@people.test>',
        "a bad domain": "From: <a@people..test>", "a long address": f"From: <{'a' * 500}@people.test>", "an address literal":
        "From: <a@[127.0.0.1]>", "brackets": "From: <<a@people.test>>", "semicolon": "From: a@people.test; b@people.test",
        "a mail system": "From: MAILER-DAEMON@people.test", "a postmaster": "From: postmaster@people.test", "no reply":
        "From: no-reply@people.test", "ne pas répondre": "From: ne-pas-repondre@people.test", "an owner":
        "From: owner-list@people.test", "a bounce": "From: bounce+x=y@people.test",
    }  # fmt: skip
    for name, header in rows.items():
        yield name, IGNORED, _mail(header)
    yield "no From", IGNORED, _mail(without="From")


def _no_mails() -> Iterator[Row]:
    yield "noise", DEAD, random.Random(7).randbytes(20_000)
    yield "line ends only", DEAD, b"\r\n" * 500
    yield "NULs", DEAD, b"\0" * 5_000
    yield "a web page", DEAD, b"<!DOCTYPE html><html><body>Bonjour</body></html>"
    yield "a picture", DEAD, _picture(10, 10)
    yield "an archive", DEAD, gzip.compress(b"From: a@people.test")
    yield "a request", DEAD, b"GET / HTTP/1.1\r\nHost: example.test\r\n\r\n"
    yield "a line without end", DEAD, lambda: b"x" * 3_000_000
    yield "headers of nothing", DEAD, b"X-A: 1\r\nX-B: 2\r\n\r\nBonjour"
