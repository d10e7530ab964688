"""A mail goes to one recipient, with the headers that were decided, whatever strangers are called."""

from __future__ import annotations

import base64
import email
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from mail_service.composing.brand import Brand, BrandError, Logo, load_brand
from mail_service.composing.guard import GuardFailed, inspect
from mail_service.composing.letterhead import Content, Letterhead, Sheet
from mail_service.composing.message import CannotCompose, Composer, Enclosed, Envelope
from mail_service.composing.preview import preview
from mail_service.composing.signing import Signer, SigningError, load_signer
from mail_service.composing.subjects import reply_subject
from mail_service.language import Language
from mail_service.letters import Address
from mail_service.sending.port import OutgoingMail

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
US, ANNE = "neo@example.org", "anne@people.test"
SHEET = Sheet("<p>é</p>", "é\n")


def envelope(name: str = "Anne", subject: str = "Re: x", address: str = ANNE, **more: object) -> Envelope:
    values: dict[str, object] = {
        "sender": Address(US, "Neo"),
        "envelope_sender": US,
        "recipient": Address(address, name),
        "subject": subject,
        "message_id": "<a.b@example.org>",
        "in_reply_to": "<q@x>",
        "references": ("<p@x>", "<q@x>"),
        "date": NOW,
    }
    return Envelope(**values | more)  # type: ignore[arg-type]


def read(content: bytes) -> EmailMessage:
    return email.message_from_bytes(content, policy=default)


@given(name=st.text(max_size=120), subject=st.text(max_size=200))
def test_no_name_and_no_subject_adds_a_header_or_a_recipient(name: str, subject: str) -> None:
    mail = Composer().compose(envelope(name, reply_subject(subject, "Votre message")), SHEET)
    message = read(mail.content)
    (to,) = message["To"].addresses
    assert to.addr_spec == mail.recipient == ANNE
    assert message["Subject"].startswith("Re: ") or message["Subject"] == "Votre message"
    assert message["Bcc"] is None
    assert set(message.keys()) <= {
        *("From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Auto-Submitted"),
        *("X-Auto-Response-Suppress", "MIME-Version", "Content-Type"),
    }


@pytest.mark.parametrize(
    "hostile",
    [
        "x\r\nBcc: all@evil.example",
        "x\nTo: all@evil.example",
        "=?utf-8?q?x=0D=0ABcc:_a@b?=",
        "a\x00b",
        "a\u2028b",
    ],
)
def test_line_breaks_in_names_and_subjects_stay_on_their_line(hostile: str) -> None:
    mail = Composer().compose(envelope(hostile, reply_subject(hostile, "")), SHEET)
    message = read(mail.content)
    assert message["Bcc"] is None
    assert len(message.get_all("To", [])) == 1
    assert "\n" not in message["Subject"]


@given(st.text("abéÉ ç€:;,…-\"'()", min_size=1, max_size=140).filter(lambda text: text.strip()))
def test_a_subject_arrives_as_it_was_written(text: str) -> None:
    subject = reply_subject(text, "x")
    message = read(Composer().compose(envelope(subject=subject), SHEET).content)
    assert " ".join(str(message["Subject"]).split()) == subject


def test_long_references_are_broken_between_ids_only() -> None:
    ids = tuple(f"<{'x' * 200}{number}@y>" for number in range(40))
    mail = Composer().compose(envelope(references=ids, in_reply_to=ids[-1]), SHEET)
    head = mail.content.partition(b"\r\n\r\n")[0]
    assert max(map(len, head.split(b"\r\n"))) < 998
    assert tuple(read(mail.content)["References"].split()) == ids


def test_an_address_that_no_server_would_take_is_not_written_to() -> None:
    for address in ("été@people.test", "a b@people.test", "a@b@c", "anne"):
        with pytest.raises((CannotCompose, GuardFailed)):
            Composer().compose(envelope(address=address), SHEET)


def test_both_forms_say_the_same_and_a_logo_and_a_file_come_along() -> None:
    composer = Composer(logo=Logo(b"\x89PNG\r\n\x1a\n", "png"))
    message = read(composer.compose(envelope(), SHEET, Enclosed("neo-export.json", b"{}")).content)
    (attachment,) = message.iter_attachments()
    assert (attachment.get_filename(), attachment.get_content()) == ("neo-export.json", b"{}")
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert plain.get_content() == "é\r\n" or plain.get_content() == "é\n"
    assert html is not None
    assert "é" in html.get_content()
    assert [part["Content-ID"] for part in message.walk() if part["Content-ID"]] == ["<logo@neo>"]


GOOD = (
    b"From: neo@example.org\r\nTo: anne@people.test\r\nSubject: x\r\nAuto-Submitted: auto-replied\r\n"
    b"Message-ID: <a@b>\r\n%s\r\nbody"
)


@pytest.mark.parametrize(
    "more",
    [
        b"Bcc: all@evil.example\r\n",
        b"Cc: all@evil.example\r\n",
        b"To: all@evil.example\r\n",
        b"Reply-To: all@evil.example\r\n",
        b"Resent-To: all@evil.example\r\n",
        b"X-Anything: x\r\n",
        b"Subject: again\r\n",
    ],
)
def test_the_last_look_lets_no_other_header_through(more: bytes) -> None:
    inspect(OutgoingMail(US, ANNE, GOOD % b""), sender=US, recipient=ANNE)
    with pytest.raises(GuardFailed):
        inspect(OutgoingMail(US, ANNE, GOOD % more), sender=US, recipient=ANNE)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"To: anne@people.test", b"To: anne@people.test, all@evil.example"),
        (b"To: anne@people.test", b"To: all@evil.example"),
        (b"From: neo@example.org", b"From: chef@example.org"),
        (b"Auto-Submitted: auto-replied", b"Auto-Submitted: no"),
    ],
)
def test_the_last_look_lets_no_other_recipient_or_sender_through(before: bytes, after: bytes) -> None:
    with pytest.raises(GuardFailed):
        inspect(OutgoingMail(US, ANNE, (GOOD % b"").replace(before, after)), sender=US, recipient=ANNE)


def test_the_envelope_is_looked_at_too() -> None:
    for mail in (
        OutgoingMail(US, "all@evil.example", GOOD % b""),
        OutgoingMail(f"{US}\r\nRCPT TO:<x@y>", ANNE, GOOD % b""),
    ):
        with pytest.raises(GuardFailed):
            inspect(mail, sender=US, recipient=ANNE)


@pytest.mark.parametrize(
    ("original", "answer"),
    [
        ("Congés", "Re: Congés"),
        ("Re: RE : Congés", "Re: Congés"),
        ("RE[2]: AW: Congés", "Re: Congés"),
        ("TR: Congés", "Re: TR: Congés"),
        ("", "Une idée"),
        ("Re:", "Une idée"),
        ("a\r\nBcc: b", "Re: a Bcc: b"),
    ],
)
def test_subjects_have_one_re(original: str, answer: str) -> None:
    assert reply_subject(original, "Une idée") == answer


def test_signed_mails_verify() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    record = b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)
    signer = Signer(domain="example.org", selector="neo", key=private)
    mail = Composer(signer=signer).compose(envelope("Été"), SHEET)
    assert dkim.verify(mail.content, dnsfunc=lambda name, timeout=5: record)
    assert not dkim.verify(
        mail.content.replace(b"Subject: Re: x", b"Subject: Re: y"), dnsfunc=lambda name, timeout=5: record
    )


def test_a_key_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"no key")
    for path in (tmp_path / "key", tmp_path / "missing"):
        with pytest.raises(SigningError, match="DKIM_KEY"):
            load_signer(domain="example.org", selector="neo", path=path)


def content(**more: object) -> Content:
    values: dict[str, object] = {
        "ai_response": "**Oui.**",
        "language": Language.FRENCH,
        "subject": "Re: x",
        "sender_name": "Anne",
        "original_text": "Bonjour",
        "original_date": NOW,
        "response_date": NOW,
        "thread_id": "0123456789",
    }
    return Content(**values | more)  # type: ignore[arg-type]


def test_everything_but_the_answer_is_escaped() -> None:
    hostile = "<script>{{ 7 * 7 }}</script>"
    sheet = Letterhead(Brand()).write(
        content(sender_name=hostile, original_text=hostile, subject=hostile, thread_id=hostile)
    )
    assert "<script>" not in sheet.html
    assert "49" not in sheet.html
    assert hostile in sheet.text


@pytest.mark.parametrize("language", Language)
def test_an_answer_says_who_writes_and_that_it_is_no_advice(language: Language) -> None:
    sheet = Letterhead(Brand()).write(content(language=language))
    for form in (sheet.html, sheet.text):
        assert "Assistant IA Code du Travail" in form
        assert "ColonyLab" in form
        assert "avocat" in form or "lawyer" in form
        assert "01234567" in form
    assert "max-width:600px" in sheet.html
    assert "prefers-color-scheme: dark" in sheet.html


def test_a_brand_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\nrest")
    path = tmp_path / "brand.json"
    path.write_text('{"name": "Cabinet X", "width": 700, "light": {"accent": "#aa0000"}, "logo": "logo.png"}')
    brand, logo = load_brand(path)
    assert logo is not None
    sheet = Letterhead(brand, has_logo=True).write(content())
    assert "Cabinet X" in sheet.html
    assert "#aa0000" in sheet.html
    assert "max-width:700px" in sheet.html
    assert "cid:logo@neo" in sheet.html
    assert b"data:image/png;base64" in preview(path, ".html", Language.FRENCH)


def test_what_a_brand_leaves_out_is_as_in_the_default(tmp_path: Path) -> None:
    """Also within its parts: a dark scheme stays dark, and the signature bears the new name."""
    path = tmp_path / "brand.json"
    path.write_text(
        '{"name": "Cabinet X", "dark": {"accent": "#aa00aa"}, "fr": {"disclaimer": "Sans garantie."}}'
    )
    brand, _ = load_brand(path)
    sheet = Letterhead(brand).write(content())
    assert "#aa00aa" in sheet.html
    assert f".page {{ background: {Brand().dark.page}" in sheet.html
    assert "Bien cordialement,\nCabinet X\nColonyLab" in sheet.text
    assert "Sans garantie." in sheet.text
    assert "Assistant IA" not in sheet.html
    assert "ask a lawyer" in Letterhead(brand).write(content(language=Language.ENGLISH)).text


@pytest.mark.parametrize(
    "brand",
    [
        "{",
        '{"colour": "x"}',
        '{"light": {"accent": "red; background: url(x)"}}',
        '{"logo": "missing.png"}',
        '{"logo": "brand.json"}',
        '{"width": 5}',
    ],
)
def test_a_brand_with_a_mistake_is_told(tmp_path: Path, brand: str) -> None:
    path = tmp_path / "brand.json"
    path.write_text(brand)
    with pytest.raises(BrandError):
        load_brand(path)


@pytest.mark.parametrize("suffix", [".html", ".txt", ".eml"])
def test_a_preview_shows_an_answer(suffix: str) -> None:
    for language, word in ((Language.FRENCH, "durée"), (Language.ENGLISH, "overtime")):
        shown = preview(None, suffix, language)
        text = shown if suffix != ".eml" else read(shown).as_bytes()
        if suffix == ".eml":
            body = read(shown).get_body(("plain",))
            assert body is not None
            text = body.get_content().encode()
        assert word in text.decode()
