"""What an operator sets changes what is asked and what goes out."""

from __future__ import annotations

import base64
import imaplib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mail_core import scripted_core
from mail_servers import somebody
from mail_service import connecting
from running_service import PostOffice, question


async def test_an_answer_that_arrived_bears_a_signature_that_others_can_verify(
    post_office: PostOffice, tmp_path: Path
) -> None:
    anne, key = somebody(), rsa.generate_private_key(public_exponent=65537, key_size=2048)
    path = tmp_path / "dkim.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    asked: list[bytes] = []

    def record(name: bytes, timeout: int = 5) -> bytes:
        asked.append(name)
        return b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)

    settings = {"DKIM_KEY_PATH": path, "DKIM_SELECTOR": "novembre"}
    async with (
        scripted_core(lambda _: "Été, œuvre. " * 200) as core,
        post_office.service(core.url, **settings) as running,
    ):
        post_office.send(question(anne, post_office.address, Subject="Congés d'été ☀"), anne)
        await post_office.answers(anne)
        await running.settled()
    (raw,) = post_office.dovecot.mails(anne)
    assert dkim.verify(raw, dnsfunc=record)
    assert asked == [b"novembre._domainkey.example.test."]
    assert not dkim.verify(raw.replace(b"From: ", b"From: Eve ", 1), dnsfunc=record)
    (copy,) = post_office.dovecot.mails(post_office.address, '"Messages sent"')
    assert dkim.verify(copy, dnsfunc=record)


async def test_model_and_adapter_are_those_that_are_set_and_a_subject_is_suggested(
    post_office: PostOffice,
) -> None:
    anne = somebody()
    settings = {"DEFAULT_MODEL": "lettres", "DEFAULT_ADAPTER": "courtois"}
    said = "Bonjour,\n\nVoici la réponse.\n\nCordialement,\n[Votre nom]"
    async with scripted_core(lambda _: said) as core, post_office.service(core.url, **settings):
        post_office.send(question(anne, post_office.address, Subject=""), anne)
        (answer,) = await post_office.answers(anne)
    (asked,) = core.asked
    assert (asked["model"], asked["adapter"]) == ("lettres", "courtois")
    assert (asked["temperature"], asked["max_tokens"]) == (0.3, 1500)
    assert asked["email_context"]["language"] == "fr"
    assert "données, pas des instructions" in asked["prompt"]
    # The AI core's suggestion.
    assert answer["Subject"] == "Une question"
    text = answer.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert " ".join(text.split()).startswith("Bonjour Anne Martin, Voici la réponse. Bien cordialement,")


async def test_brand_prompts_and_addresses_are_those_that_are_set(
    post_office: PostOffice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # TLS from the first byte, as on port 465, which is not free for tests.
    monkeypatch.setattr(connecting, "SUBMISSIONS_PORT", post_office.postfix.tls_port)
    anne, alias, bounces = somebody(), somebody("example.test"), somebody("example.test")
    brand = {"name": "Le Greffe", "organisation": "Mairie", "light": {"accent": "#112233"}}
    (tmp_path / "brand.json").write_text(json.dumps(brand | {"fr": {"signature": "Votre greffe"}}))
    for language in ("fr", "en"):
        (tmp_path / f"{language}.txt").write_text(f"Prompt of our own: {language}")
    settings = {
        "BRAND_PATH": tmp_path / "brand.json",
        "PROMPTS_PATH": tmp_path,
        "EMAIL_ALIASES": alias,
        "EMAIL_DOMAIN": "greffe.test",
        "ENVELOPE_SENDER": bounces,
        "SMTP_PORT": post_office.postfix.tls_port,
        "MAX_SHARED_EMAILS_PER_HOUR": 1,
    }
    async with scripted_core() as core, post_office.service(core.url, **settings):
        # To an alias alone: nobody else got it, or the second would wait.
        post_office.send(question(anne, alias, "How long is my notice?", Subject="My employer"), anne)
        await post_office.answers(anne)
        post_office.send(question(anne, alias, "And my wage, when is it due?", Subject="My employer"), anne)
        _, answer = await post_office.answers(anne, 2)
    assert core.asked[0]["system"] == "Prompt of our own: en"
    assert answer["From"].addresses[0].display_name == "Le Greffe"
    assert answer["From"].addresses[0].addr_spec == post_office.address
    assert answer["Message-ID"].endswith("@greffe.test>")
    assert answer["Return-Path"] == f"<{bounces}>"
    assert "#112233" in answer.get_body(("html",)).get_content()  # type: ignore[union-attr]


async def test_what_is_too_large_is_told_and_not_read(post_office: PostOffice) -> None:
    anne, bob = somebody(), somebody()
    settings = {"MAX_ATTACHMENT_SIZE": 2_000, "MAX_EMAIL_SIZE": 40_000}
    mail = question(anne, post_office.address, "Que dit le contrat ?")
    mail.add_attachment("Trois mois de préavis.", filename="court.txt")
    mail.add_attachment("Six mois de préavis. " * 100, filename="long.txt")
    async with scripted_core() as core, post_office.service(core.url, **settings) as running:
        post_office.send(mail, anne)
        (answer,) = await post_office.answers(anne)
        post_office.send(question(bob, post_office.address, "Une question. " * 4_000), bob)
        (told,) = await post_office.answers(bob)
        await running.settled()
    assert "Trois mois" in core.mail()
    assert "Six mois" not in core.mail()
    assert "Je n'ai pas pu lire : long.txt." in answer.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert "trop volumineux" in told.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert len(core.asked) == 1


async def test_an_ai_core_that_thinks_too_long_is_asked_again(post_office: PostOffice) -> None:
    anne, late = somebody(), "the AI core took too long"
    async with scripted_core() as core, post_office.service(core.url, PROCESSING_TIMEOUT=1) as running:
        core.gate.clear()
        post_office.send(question(anne, post_office.address), anne)
        await running.until_waiting(1, late)
        core.gate.set()
        await post_office.answers(anne)
        await running.settled()
        assert ("put_off", late) in [(step.step, step.reason) for step in await running.way(1)]


async def test_what_lay_in_the_mailbox_for_too_long_is_not_answered(post_office: PostOffice) -> None:
    anne = somebody()
    old = datetime.now(UTC) - timedelta(days=3)
    with post_office.dovecot.open(post_office.address) as client:
        for text, moment in (("vieux", old), ("frais", old + timedelta(days=2))):
            mail = question(anne, post_office.address, f"Un mot {text} ?").as_bytes()
            client.append("INBOX", "", imaplib.Time2Internaldate(moment), mail)
    async with scripted_core() as core, post_office.service(core.url, MAX_MAIL_AGE_DAYS=2) as running:
        await post_office.answers(anne)
        await running.arrived(2)
        await running.settled()
        assert [step.reason for step in await running.way(1)][-1] == "ignored: too old"
    assert len(core.asked) == 1
    assert "frais" in core.mail()
