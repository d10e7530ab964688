"""What an operator sets changes what is asked and what goes out."""

from __future__ import annotations

import base64
from pathlib import Path

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mail_core import scripted_core
from mail_servers import somebody
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
