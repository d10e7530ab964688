"""Hostile by their bodies: structure, texts, pages and files."""

from __future__ import annotations

import base64
import gzip
import io
import zipfile
from collections.abc import Callable, Iterator

from hostile_parts import (
    ANSWERED,
    IGNORED,
    LONG_LINE,
    MANY,
    QUESTION,
    TEXT_PART,
    Row,
    a_file,
    a_mail,
    a_multipart,
    a_part,
    a_picture,
    noise,
)


def _nested(depth: int) -> bytes:
    head = b"".join(
        b"--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (level, level + 1)
        for level in range(depth)
    )
    inner = b"--b%d\r\n" % depth + TEXT_PART + b"\r\n"
    return a_mail(
        "Content-Type: multipart/mixed; boundary=b0", body=QUESTION.encode() + b"\r\n" + head + inner
    )


def mime() -> Iterator[Row]:
    yield "no last boundary", ANSWERED, a_multipart(TEXT_PART, end=False)
    yield "a boundary that never comes", ANSWERED, a_mail("Content-Type: multipart/mixed; boundary=nowhere")
    yield (
        "an empty boundary",
        ANSWERED,
        a_mail('Content-Type: multipart/mixed; boundary=""', body="--\r\n\r\nCDI ?\r\n----"),
    )
    yield "no boundary", ANSWERED, a_mail("Content-Type: multipart/mixed")
    yield (
        "a boundary of a megabyte",
        ANSWERED,
        a_mail(f"Content-Type: multipart/mixed; boundary={'b' * 1_000_000}"),
    )
    yield "a part without a head", ANSWERED, a_multipart(QUESTION.encode())
    yield (
        "the same boundary within",
        ANSWERED,
        a_multipart(a_part("multipart/mixed; boundary=frontier", b"x"), TEXT_PART),
    )
    yield "thousands of parts", ANSWERED, lambda: a_multipart(*[TEXT_PART] * MANY)
    yield "thousands of files", ANSWERED, lambda: a_multipart(TEXT_PART, *[a_file(b"x", "x.txt")] * MANY)
    yield "deeper than anybody looks", ANSWERED, lambda: _nested(15)
    yield "a thousand levels", ANSWERED, lambda: _nested(1_000)
    yield (
        "an alternative without text",
        ANSWERED,
        a_multipart(
            a_part("text/plain", ""),
            a_part("text/html; charset=utf-8", f"<p>{QUESTION}</p>"),
            kind="alternative",
        ),
    )
    yield (
        "a stub of a text",
        ANSWERED,
        a_multipart(
            a_part("text/plain", "Please view this mail as HTML."),
            a_part("text/html; charset=utf-8", QUESTION),
            kind="alternative",
        ),
    )
    yield "two Content-Types", ANSWERED, a_mail("Content-Type: text/plain", "Content-Type: image/png")
    for content_type in (
        "text",
        "TEXT/PLAIN;;;;=",
        "text/plain; " + "x=y;" * 2_000,
        "nonsense",
        "a/b/c",
        "\x00",
        "text/vnd.odd",
    ):
        yield f"type {content_type[:15]!r}", ANSWERED, a_mail(f"Content-Type: {content_type}")
    for encoding in ("klingon", "base64", "quoted-printable; x", "7bit (oh)", "uuencode", "binary, base64"):
        yield f"encoding {encoding}", ANSWERED, a_mail(f"Content-Transfer-Encoding: {encoding}")
    cut = base64.b64encode(QUESTION.encode())[:-3] + b"?!\xff"
    yield "broken base64", ANSWERED, a_mail("Content-Transfer-Encoding: base64", body=cut)
    yield (
        "broken quoted-printable",
        ANSWERED,
        a_mail("Content-Transfer-Encoding: quoted-printable", body="Cong=C3=A9s =ZZ =\r\n= =3D=?\r\n="),
    )
    yield (
        "an encoded multipart",
        ANSWERED,
        a_mail(
            'Content-Type: multipart/mixed; boundary="frontier"',
            "Content-Transfer-Encoding: base64",
            body=b"--frontier\r\n" + TEXT_PART + b"\r\n--frontier--",
        ),
    )
    yield "a mail in a mail", ANSWERED, a_multipart(a_part("message/rfc822", a_mail()))
    deep = QUESTION.encode()
    for _ in range(200):
        deep = b"Content-Type: message/rfc822\r\n\r\n" + deep
    yield "mails in mails in mails", ANSWERED, a_mail("Content-Type: message/rfc822", body=deep)
    yield "a part of a mail", ANSWERED, a_mail("Content-Type: message/partial; id=1; number=1; total=9")
    yield (
        "a body elsewhere",
        ANSWERED,
        a_multipart(TEXT_PART, a_part("message/external-body; access-type=URL; URL=http://evil.test/x", "")),
    )
    yield "a digest", ANSWERED, a_multipart(a_mail(), a_mail(), kind="digest")


def bodies() -> Iterator[Row]:
    yield "empty", ANSWERED, a_mail("Subject: x", body="")
    yield "only blanks", ANSWERED, a_mail("Subject: x", body=" \t\r\n\u00a0\u200b\r\n" * 50)
    yield "NULs between", ANSWERED, a_mail(body="\0".join(QUESTION))
    yield "all bytes", ANSWERED, a_mail(body=bytes(range(256)) * 20)
    yield "control characters", ANSWERED, a_mail(body="\x1b[2J\x1b]0;x\x07" + QUESTION)
    yield "one line without end", ANSWERED, lambda: a_mail(body=b"a" * LONG_LINE)
    yield "a million lines", ANSWERED, lambda: a_mail(body=b"?\r\n" * 1_000_000)
    yield "quotations without end", ANSWERED, lambda: a_mail(body=QUESTION.encode() + b"\r\n> > >" * 100_000)
    yield "heads of quotations without end", ANSWERED, lambda: a_mail(body=b"Le le on On wrote\r\n" * 20_000)
    yield "Outlook heads without end", ANSWERED, lambda: a_mail(body=b"De :\r\nFrom: x\r\nSent\r\n" * 20_000)
    yield "only quoted", ANSWERED, a_mail(body="> " + QUESTION)
    yield "only a signature", ANSWERED, a_mail("Subject: x", body="-- \r\nAnne")
    yield (
        "flowed",
        ANSWERED,
        a_mail("Content-Type: text/plain; format=flowed; delsp=yes", body=" \r\n" * 9_000 + QUESTION),
    )
    pages = {
        "script": f"<script>while(1);</script><p>{QUESTION}</p>",
        "open comment": f"<p>{QUESTION}</p><!-- ",
        "open tag": f"<p>{QUESTION}</p><a href='",
        "no tags": QUESTION,
        "only hidden": f"<div style='display:none'>{QUESTION}</div>",
        "frames": f"<iframe src=http://evil.test></iframe>{QUESTION}",
        "remote images": f"{QUESTION}<img src=http://evil.test/pixel.gif>",
        "odd references": "&#99999999999; &#x; &bogus; CDI ?",
        "a number without end": "&#" + "9" * 50_000 + "; CDI ?",
        "a style without end": f"<p>{QUESTION}</p><style>" + "p{" * 9_000,
        "XML": f"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a 'b'>]><p>&a;{QUESTION}</p>",
        "base": f"<base href=http://evil.test><form action=/x><input name=a></form>{QUESTION}",
    }
    for name, page in pages.items():
        yield f"HTML: {name}", ANSWERED, a_mail("Content-Type: text/html; charset=utf-8", body=page)
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
                lambda piece=piece: a_mail(
                    "Content-Type: text/html", body=QUESTION.encode() + piece.encode() * 200_000
                )  # type: ignore[misc]
            ),
        )
    yield (
        "PGP in the text",
        ANSWERED,
        a_mail("Subject: x", body="-----BEGIN PGP MESSAGE-----\r\n\r\nhQEMA\r\n-----END PGP MESSAGE-----"),
    )
    yield (
        "signed with PGP",
        ANSWERED,
        a_mail(
            body=f"-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA256\r\n\r\n{QUESTION}\r\n"
            "-----BEGIN PGP SIGNATURE-----\r\nx"
        ),
    )


def _zip(name: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return packed.getvalue()


def _bomb() -> bytes:
    content = b"\0" * 20_000_000
    for level in range(3):
        content = _zip(f"{level}.zip", content)
    return content


def files() -> Iterator[Row]:
    contents: dict[str, tuple[str, str, Callable[[], bytes]]] = {
        "zip bomb": ("bombe.zip", "application/zip", _bomb),
        "a document that is a bomb": (
            "contrat.docx",
            "application/msword",
            lambda: _zip("word/document.xml", b" " * 50_000_000),
        ),
        "a huge picture": ("scan.png", "image/png", lambda: a_picture(60_000, 60_000)),
        "no PDF": ("contrat.pdf", "application/pdf", lambda: b"%PDF-1.7\n" + bytes(range(256)) * 40),
        "a PDF of bytes": ("contrat.pdf", "application/pdf", lambda: noise(50_000)),
        "no DOC": (
            "lettre.doc",
            "application/msword",
            lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"x" * 9_000,
        ),
        "an empty file": ("vide.pdf", "application/pdf", lambda: b""),
        "a program": ("facture.pdf.exe", "application/x-msdownload", lambda: b"MZ" + b"\0" * 500),
        "winmail": ("winmail.dat", "application/ms-tnef", lambda: b"\x78\x9f\x3e\x22" + b"x" * 500),
        "a gzip bomb": ("x.gz", "application/gzip", lambda: gzip.compress(b"\0" * 10_000_000)),
        "more than is taken": ("grand.txt", "text/plain", lambda: b"x " * 6_000_000),
    }
    for name, (file_name, kind, content) in contents.items():
        yield name, ANSWERED, lambda f=file_name, k=kind, c=content: a_multipart(TEXT_PART, a_file(c(), f, k))  # type: ignore[misc]
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
            a_multipart(TEXT_PART, a_file(b"Bonjour", file_name, "text/plain")),
        )
    yield "only a picture", ANSWERED, a_multipart(a_file(a_picture(200, 100), "scan.png", "image/png"))
    yield (
        "only a picture, and nothing around",
        ANSWERED,
        a_mail(
            "Content-Type: image/png",
            "Content-Transfer-Encoding: base64",
            body=base64.encodebytes(a_picture(200, 100)),
        ),
    )
    invitation = "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:1\r\nEND:VEVENT\r\nEND:VCALENDAR"
    yield "an invitation", ANSWERED, a_mail("Content-Type: text/calendar; method=REQUEST", body=invitation)
    yield (
        "an invitation with words",
        ANSWERED,
        a_multipart(TEXT_PART, a_part("text/calendar; method=REQUEST", invitation), kind="alternative"),
    )
    yield (
        "an answer to an invitation",
        IGNORED,
        a_mail("Content-Type: text/calendar; method=REPLY", body=invitation),
    )
    sealed = "application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m"
    yield (
        "S/MIME, sealed",
        ANSWERED,
        a_mail(f"Content-Type: {sealed}", "Content-Transfer-Encoding: base64", body="MIIB"),
    )
    yield (
        "S/MIME, signed",
        ANSWERED,
        a_multipart(
            TEXT_PART,
            a_file(b"0\x82", "smime.p7s", "application/pkcs7-signature"),
            kind="signed",
            more="; micalg=sha-256",
        ),
    )
    yield (
        "PGP/MIME, sealed",
        ANSWERED,
        a_multipart(
            a_part("application/pgp-encrypted", "Version: 1"),
            a_part("application/octet-stream", "-----BEGIN PGP MESSAGE-----"),
            kind="encrypted",
        ),
    )
    yield (
        "PGP/MIME, signed",
        ANSWERED,
        a_multipart(TEXT_PART, a_part("application/pgp-signature", "x"), kind="signed"),
    )
