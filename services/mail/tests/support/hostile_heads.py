"""Hostile by their heads: charsets, headers, loops, senders; and bytes that are no mail at all."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator

from hostile_parts import (
    ANSWERED,
    DEAD,
    IGNORED,
    MANY,
    QUESTION,
    TEXT_PART,
    US,
    Row,
    a_mail,
    a_multipart,
    a_part,
    a_picture,
    noise,
)


def charsets() -> Iterator[Row]:
    encoded = {
        "utf-8": "utf-8",
        "iso-8859-1": "latin-1",
        "iso-8859-15": "iso8859-15",
        "windows-1252": "cp1252",
        "windows-1258": "cp1252",
        "x-mac-roman": "mac_roman",
        "macintosh": "mac_roman",
        "utf-16": "utf-16",
        "cp850": "cp850",
        "UTF8": "utf-8",
        "latin1": "latin-1",
        "ibm850": "cp850",
        "gb18030": "gb18030",
    }
    for label, codec in encoded.items():
        yield (
            label,
            ANSWERED,
            a_mail(f"Content-Type: text/plain; charset={label}", body=QUESTION.encode(codec)),
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
            a_mail(f"Content-Type: text/plain; charset={label}", body=latin),
        )
    yield (
        "odd bytes in gb2312",
        ANSWERED,
        a_mail(
            "Content-Type: text/plain; charset=gb2312",
            body="年假多少天？".encode("gb18030") + b"\xff\xfe? CDI\x80",
        ),
    )
    yield (
        "korean",
        ANSWERED,
        a_mail("Content-Type: text/plain; charset=ks_c_5601-1987", body="휴가?".encode("cp949")),
    )
    yield (
        "hebrew",
        ANSWERED,
        a_mail("Content-Type: text/plain; charset=iso-8859-8-i", body="חופשה?".encode("iso8859-8")),
    )
    yield (
        "utf-7 markup",
        ANSWERED,
        a_mail("Content-Type: text/html; charset=utf-7", body="+ADw-script+AD4- CDI ?"),
    )
    yield "charset by RFC 2231", ANSWERED, a_mail("Content-Type: text/plain; charset*=us-ascii'en'utf%2D8")
    yield "NUL in the charset", ANSWERED, a_mail(b"Content-Type: text/plain; charset=ut\x00f-8")


def headers() -> Iterator[Row]:
    yield "no Message-ID", ANSWERED, a_mail(without="Message-ID")
    for name, value in {
        "empty Message-ID": "",
        "a Message-ID without brackets": "abc@people.test",
        "two in one": "<a@b> <c@d>",
        "a long Message-ID": f"<{'x' * 5_000}@people.test>",
        "a Message-ID of quotes": '<"> <b>"@x>',
        "a Message-ID with a header": "<a@b>\x0bBcc: victim@elsewhere.test",
    }.items():
        yield name, ANSWERED, a_mail(f"Message-ID: {value}")
    for name, value in {
        "none": "",
        "words": "hier soir",
        "far away": "Sat, 21 Nov 99999 20:00:00 +0000",
        "a wild zone": "Sat, 21 Nov 2026 20:00:00 +9999999",
        "negative": "Sat, -1 Nov -2026 -1:00:00 -0000",
        "long": "1" * 9_000,
    }.items():
        yield f"date: {name}", ANSWERED, a_mail(f"Date: {value}")
    subjects = {
        "none": b"",
        "a header in it": b"=?utf-8?q?Conges=0D=0ABcc:_victim@elsewhere.test?=",
        "a body in it": b"=?utf-8?b?" + base64.b64encode(b"x\r\n\r\n<script>alert(1)</script>") + b"?=",
        "a folded header": b"Conges\r\n Bcc: victim@elsewhere.test",
        "bare CR": b"Conges\rBcc: victim@elsewhere.test",
        "NUL": b"Con\x00ges",
        "raw latin-1": "Congés payés".encode("latin-1"),
        "raw UTF-8": "Congés".encode(),
        "long": b"conges " * 20_000,
        "broken words": b"=?utf-8?q?Cong=C3=A9s =?utf-8?b?w6k?= =?x?y?z?= =?",
        "a word in a wrong charset": b"=?klingon?q?Conges=E9?=",
        "a cut character": b"=?utf-8?q?Cong=C3?= =?utf-8?q?=A9s?=",
        "direction marks": "Cong\u202es\u2066".encode(),
        "a template": b"{{ config }} {% for x in y %} ${7*7}",
        "markup": b"<img src=http://evil.test/x onerror=alert(1)>",
        "formats": b"%s%n%d {0} {sender_name.__class__}",
        "many words": b"=?utf-8?q?a?= " * 3_000,
        "emoji": "🔥 congés 🔥".encode(),
    }
    for name, subject in subjects.items():
        yield f"subject: {name}", ANSWERED, a_mail(b"Subject: " + subject)
    names = {
        "a header": b"=?utf-8?q?Anne=0D=0ABcc:_victim@elsewhere.test?= <WRITER>",
        "markup": b'"<script>alert(1)</script>" <WRITER>',
        "long": b"A" * 9_000 + b" <WRITER>",
        "ours": b'"neo@example.test" <WRITER>',
        "another address": b'"boss@allowed.test" <WRITER>',
        "a quote that stays open": b'"Anne <x> \\" <WRITER>" <WRITER>',
        "comments": b"(a (nested) comment) <WRITER> (and another",
        "raw bytes": b"Ann\xe9 \xff <WRITER>",
        "direction": "\u202eenna <WRITER>".encode(),
        "a template": b"{{ 7*7 }} <WRITER>",
        "CR": b"Anne\r <WRITER>",
    }
    for name, shown in names.items():
        yield f"name: {name}", ANSWERED, a_mail(b"From: " + shown)
    yield "no name at all", ANSWERED, a_mail("From: WRITER")
    yield "many headers", ANSWERED, a_mail(*(f"X-{number}: x" for number in range(MANY)))
    yield "a long header", ANSWERED, a_mail("X-Long: " + "x" * 90_000)
    yield "a header folded often", ANSWERED, a_mail("X-Folded: x" + "\r\n x" * 4_000)
    yield "lines that are no headers", ANSWERED, a_mail(b"\xff\xfe garbage", "no colon here", ": no name")
    yield "line feeds only", ANSWERED, lambda: a_mail().replace(b"\r\n", b"\n")
    yield "carriage returns before them", ANSWERED, lambda: a_mail().replace(b"\r\n", b"\r\r\n")
    yield "an mbox line on top", ANSWERED, b"From WRITER Sat Nov 21 20:00:00 2026\r\n" + a_mail()
    yield "references without end", ANSWERED, a_mail("References: " + "<a@b.test> " * 5_000)
    yield (
        "in reply to everything",
        ANSWERED,
        a_mail("In-Reply-To: " + " ".join(f"<{n}@x.test>" for n in range(2_000))),
    )
    yield "several recipients", ANSWERED, a_mail(f"To: {US}, a@people.test, b@people.test")
    yield (
        "a thousand recipients",
        ANSWERED,
        a_mail("To: " + ", ".join(f"p{n}@people.test" for n in range(1_000)), f"Cc: {US}"),
    )
    yield "we are in Cc", ANSWERED, a_mail("To: boss@elsewhere.test", f"Cc: {US}")
    yield "to nobody", ANSWERED, a_mail("To: undisclosed-recipients:;")
    yield "no To", ANSWERED, a_mail(without="To")
    yield "an answer for somebody else", ANSWERED, a_mail("Reply-To: victim@elsewhere.test")
    yield "answers for many", ANSWERED, a_mail("Reply-To: a@elsewhere.test, b@elsewhere.test")
    yield (
        "authenticated by itself",
        ANSWERED,
        a_mail("Authentication-Results: evil.test; dmarc=pass header.from=people.test"),
    )
    yield "broken results", ANSWERED, a_mail("Authentication-Results: ;;; =(((" + "(" * 500)
    yield (
        "a broken signature",
        ANSWERED,
        a_mail("DKIM-Signature: v=1; a=rsa-sha256; d=people.test; s=x; h=from; bh=!; b=!"),
    )


def loops() -> Iterator[Row]:
    headers = {
        *(
            "Auto-Submitted: auto-replied",
            "Auto-Submitted: AUTO-GENERATED",
            "Auto-Submitted: auto-notified; x=y",
        ),
        *(
            "Auto-Submitted: ",
            "X-Auto-Response-Suppress: All",
            "X-Auto-Response-Suppress: DR, OOF",
            "List-Id: <x.y>",
        ),
        *("List-Unsubscribe: <mailto:x@y>", "Precedence: bulk", "Precedence: JUNK", "Precedence: list"),
        *(
            "Precedence: auto_reply",
            "X-Autoreply: yes",
            "X-Autorespond: away",
            "X-Auto-Reply: 1",
            "Return-Path: <>",
        ),
        *(
            "Return-Path: <MAILER-DAEMON@people.test>",
            f"Return-Path: <{US}>",
            "Return-Path: <x-bounces@people.test>",
        ),
    }
    for header in sorted(headers):
        yield header, IGNORED, a_mail(header)
    for report in ("delivery-status", "disposition-notification", "feedback-report"):
        yield (
            f"a report: {report}",
            IGNORED,
            a_multipart(
                TEXT_PART,
                a_part(f"message/{report}", "Action: failed"),
                kind="report",
                more=f"; report-type={report}",
            ),
        )
    yield "from us", IGNORED, a_mail(f"From: {US}")
    yield "from us, under another name", IGNORED, a_mail(f"From: Anne <{US}>")
    yield "answers go to us", IGNORED, a_mail(f"Reply-To: {US}")
    for subject in (
        "Out of office",
        "Réponse automatique : Re: x",
        "Automatic reply: Re: x",
        "Absence du bureau",
    ):
        yield f"subject {subject}", IGNORED, a_mail(f"Subject: {subject}", body="Je ne suis pas là.")


def senders() -> Iterator[Row]:
    rows = {
        "two addresses": "From: a@people.test, b@people.test",
        "two headers": "From: a@people.test\r\nFrom: b@people.test",
        "none": "From:",
        "a name alone": "From: Anne",
        "a group": "From: undisclosed:;",
        "an empty angle": "From: <>",
        "no domain": "From: <anne>",
        "no local part": "From: <@people.test>",
        "a space": "From: <an ne@people.test>",
        "two angles": "From: <a@people.test> <b@people.test>",
        "a line in it": 'From: <"a\\\nb"@people.test>',
        "a bad domain": "From: <a@people..test>",
        "a long address": f"From: <{'a' * 500}@people.test>",
        "an address literal": "From: <a@[127.0.0.1]>",
        "brackets": "From: <<a@people.test>>",
        "semicolon": "From: a@people.test; b@people.test",
        "a mail system": "From: MAILER-DAEMON@people.test",
        "a postmaster": "From: postmaster@people.test",
        "no reply": "From: no-reply@people.test",
        "ne pas répondre": "From: ne-pas-repondre@people.test",
        "an owner": "From: owner-list@people.test",
        "a bounce": "From: bounce+x=y@people.test",
    }
    for name, header in rows.items():
        yield name, IGNORED, a_mail(header)
    yield "no From", IGNORED, a_mail(without="From")


def no_mails() -> Iterator[Row]:
    yield "noise", DEAD, noise(20_000)
    yield "line ends only", DEAD, b"\r\n" * 500
    yield "NULs", DEAD, b"\0" * 5_000
    yield "a web page", DEAD, b"<!DOCTYPE html><html><body>Bonjour</body></html>"
    yield "a picture", DEAD, a_picture(10, 10)
    yield "an archive", DEAD, gzip.compress(b"From: a@people.test")
    yield "a request", DEAD, b"GET / HTTP/1.1\r\nHost: example.test\r\n\r\n"
    yield "a line without end", DEAD, lambda: b"x" * 3_000_000
    yield "headers of nothing", DEAD, b"X-A: 1\r\nX-B: 2\r\n\r\nBonjour"
