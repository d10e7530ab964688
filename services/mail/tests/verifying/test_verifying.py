"""Who sent a mail is believed only where the receiving server or a signature proves it."""

from __future__ import annotations

import base64
from email.message import EmailMessage
from email.policy import SMTP
from functools import cache

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mail_service.letters import Verdict
from mail_service.reading import read
from mail_service.verifying.alignment import is_aligned
from mail_service.verifying.resolver import DnsAway, KnownRecords, Resolver
from mail_service.verifying.signatures import is_affordable
from mail_service.verifying.verify import Proof, Verifier

SERVER = "mx.example.test"
REJECT = {"_dmarc.people.test": b"v=DMARC1; p=reject"}


@cache
def key() -> tuple[bytes, bytes]:
    """A private key, and the record with which it is published."""
    private = rsa.generate_private_key(65_537, 2_048)
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem, b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)


def published(domain: str = "people.test", **policies: bytes) -> dict[str, bytes]:
    return {f"sel._domainkey.{domain}": key()[1]} | {
        f"_dmarc.{name.replace('_', '.')}": policy for name, policy in policies.items()
    }


def mail(sender: str = "anne@people.test", *headers: tuple[str, str]) -> bytes:
    made = EmailMessage(policy=SMTP)
    made["From"], made["To"], made["Subject"] = sender, "neo@example.test", "EXPORT MY DATA"
    made["Message-ID"], made["Date"] = "<1@people.test>", "Sat, 21 Nov 2026 20:00:00 +0100"
    for name, value in headers:
        made[name] = value
    made.set_content("Bonjour,\n\ncombien de jours ?\n")
    return made.as_bytes()


def signed(
    raw: bytes, domain: str = "people.test", headers: list[bytes] | None = None, *, length: bool = False
) -> bytes:
    signature = dkim.sign(
        raw,
        b"sel",
        domain.encode(),
        key()[0],
        include_headers=headers,
        canonicalize=(b"relaxed", b"relaxed"),
        length=length,
    )
    return bytes(signature) + raw


async def proof(
    raw: bytes, records: dict[str, bytes] | Resolver | None = None, server: str | None = SERVER
) -> Proof:
    resolver = KnownRecords(records or {}) if records is None or isinstance(records, dict) else records
    return await Verifier(resolver, server).verify(raw, read(raw))


def stamped(raw: bytes, *results: str) -> bytes:
    """With what servers wrote on top, the topmost first."""
    return b"".join(f"Authentication-Results: {result}\r\n".encode() for result in results) + raw


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        (f"{SERVER}; dmarc=pass header.from=people.test", Verdict.ALIGNED),
        (f"{SERVER} 1; dmarc=pass (p=reject dis=none) header.from=people.test", Verdict.ALIGNED),
        (f"{SERVER.upper()}; dkim=pass header.d=people.test", Verdict.ALIGNED),
        (f"{SERVER}; dkim=pass header.i=@mail.people.test", Verdict.ALIGNED),
        (f"{SERVER}; spf=pass smtp.mailfrom=anne@people.test", Verdict.ALIGNED),
        (f"{SERVER}; dmarc=fail header.from=people.test", Verdict.FAILED),
        (f"{SERVER}; dmarc=fail (p=reject dis=none) header.from=people.test", Verdict.FAILED),
        (f"{SERVER}; dmarc=fail (p=NONE sp=NONE dis=NONE) header.from=people.test", Verdict.UNKNOWN),
        (f"{SERVER}; dmarc=fail reason=broken header.from=people.test (policy=none)", Verdict.UNKNOWN),
        (f"{SERVER}; dmarc=fail action=none header.from=people.test", Verdict.UNKNOWN),
        (f"{SERVER}; dkim=pass header.d=evil.test; spf=pass smtp.mailfrom=evil.test", Verdict.UNKNOWN),
        (f"{SERVER}; dmarc=pass header.from=evil.test", Verdict.UNKNOWN),
        (
            f"{SERVER}; dkim=fail header.d=people.test; spf=softfail smtp.mailfrom=people.test",
            Verdict.UNKNOWN,
        ),
        (f"{SERVER}; none", Verdict.UNKNOWN),
        ("evil.test; dmarc=pass header.from=people.test", Verdict.UNKNOWN),
        (f"evil.test ({SERVER}); dmarc=pass header.from=people.test", Verdict.UNKNOWN),
        (f"{SERVER}.evil.test; dmarc=pass header.from=people.test", Verdict.UNKNOWN),
        (";;; =", Verdict.UNKNOWN),
        (f"{SERVER}; " + "(" * 3_000, Verdict.UNKNOWN),
        (f"{SERVER}; dmarc=pass header.from=people.test; " + "x" * 5_000, Verdict.UNKNOWN),
    ],
)
async def test_the_receiving_server_is_believed(result: str, verdict: Verdict) -> None:
    assert (await proof(stamped(mail(), result))).verdict is verdict


DMARC = f"{SERVER}; dkim=pass header.d=people.test; dmarc=pass header.from=people.test"
SPF = f"{SERVER}; spf=pass smtp.mailfrom=anne@people.test; dmarc=pass header.from=people.test"
REPLY_TO = b"Reply-To: mallory@evil.test\r\n"
SUBJECT = b"Subject: EXPORT MY DATA\r\n"
OLD = mail().replace(SUBJECT, b"")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(stamped(signed(mail()), DMARC), (Verdict.ALIGNED, True), id="as it was written"),
        pytest.param(stamped(mail(), SPF), (Verdict.ALIGNED, True), id="by a server of theirs"),
        pytest.param(stamped(mail(), DMARC), (Verdict.ALIGNED, False), id="without the signature"),
        pytest.param(
            stamped(REPLY_TO + signed(mail(), headers=[b"from", b"subject"]), DMARC),
            (Verdict.ALIGNED, False),
            id="sent on with a reply-to",
        ),
        pytest.param(
            stamped(SUBJECT + signed(OLD, headers=[b"from", b"date"]), DMARC),
            (Verdict.ALIGNED, False),
            id="sent on with a subject that it did not have",
        ),
        pytest.param(
            stamped(SUBJECT + signed(mail(), headers=[b"from", b"subject"]), DMARC),
            (Verdict.UNKNOWN, False),
            id="sent on with a second subject",
        ),
        pytest.param(
            stamped(b"Reply-To: x@evil.test\r\n" + REPLY_TO + mail(), SPF),
            (Verdict.UNKNOWN, False),
            id="two addresses to reply to",
        ),
        pytest.param(
            stamped(
                b"DKIM-Signature: v=1; a=rsa-sha256; d=people.test; s=sel; h=from:subject:reply-to; bh=A; b=A"
                b"\r\n" + REPLY_TO + signed(mail(), headers=[b"from", b"subject"]),
                DMARC,
            ),
            (Verdict.ALIGNED, False),
            id="sent on with a signature that only looks as if it covered all",
        ),
    ],
)
async def test_a_mail_that_a_stranger_sends_on_proves_neither_subject_nor_reply_to(
    raw: bytes, expected: tuple[Verdict, bool]
) -> None:
    """The receiving server says of each that it passed: what was signed, it does not say."""
    found = await proof(raw, published())
    assert (found.verdict, found.head_proven) == expected


async def test_only_the_topmost_results_count() -> None:
    forged = f"{SERVER}; dmarc=pass header.from=people.test"
    assert (await proof(stamped(mail(), f"{SERVER}; spf=none", forged))).verdict is Verdict.UNKNOWN
    assert (await proof(stamped(mail(), "other.test; none", forged))).verdict is Verdict.UNKNOWN
    assert (await proof(stamped(mail(), forged), server=None)).verdict is Verdict.UNKNOWN


async def test_a_signature_of_the_senders_domain_proves_it() -> None:
    proven = Proof(Verdict.ALIGNED, head_proven=True)
    assert await proof(signed(mail()), published()) == proven
    assert await proof(signed(mail("anne@mail.people.test")), published()) == proven
    assert await proof(signed(mail()), published(people_test=b"v=DMARC1; p=reject")) == proven


async def test_a_strict_domain_wants_its_very_own_signature() -> None:
    records = published(people_test=b"v=DMARC1; p=none; adkim=s")
    assert (await proof(signed(mail("anne@mail.people.test")), records)).verdict is Verdict.UNKNOWN
    assert (await proof(signed(mail()), records)).verdict is Verdict.ALIGNED


ALL = [b"from", b"to", b"subject", b"date", b"message-id"]


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(signed(mail()).replace(b"combien", b"Combien"), id="another body"),
        pytest.param(signed(mail()).replace(b"EXPORT", b"DELETE"), id="another subject"),
        pytest.param(signed(mail()).replace(b"anne@", b"boss@"), id="another sender"),
        pytest.param(signed(mail(), "evil.test"), id="another domain's signature"),
        pytest.param(signed(mail(), headers=[b"from", b"to"]), id="the subject is not signed"),
        pytest.param(signed(mail(), headers=ALL, length=True) + b"more", id="more than was signed"),
        pytest.param(signed(mail(), headers=ALL, length=True), id="a length"),
        pytest.param(b"Subject: DELETE MY DATA\r\n" + signed(mail(), headers=ALL), id="a second subject"),
        pytest.param(b"Reply-To: x@evil.test\r\n" + signed(mail(), headers=ALL), id="a reply-to on top"),
        pytest.param(b"From: boss@people.test\r\n" + signed(mail(), headers=ALL), id="a second sender"),
        pytest.param(signed(mail("a@people.test, b@people.test")), id="two senders"),
        pytest.param(mail(), id="no signature"),
        pytest.param(
            b"DKIM-Signature: v=1; d=people.test; s=sel; h=from:subject; b=\xff; bh=!\r\n" + mail(),
            id="nonsense",
        ),
    ],
)
async def test_what_was_changed_or_is_not_theirs_proves_nothing(raw: bytes) -> None:
    assert (await proof(raw, published() | published("evil.test"))).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"v=DKIM1; p=",
        b"v=DKIM1; p=AAAA",
        b"p=" + b"A" * 5_000,
        b"\xff" * 100,
        b"v=DKIM1; k=ed25519; p=AAAA",
    ],
)
async def test_keys_that_are_none_prove_nothing(record: bytes) -> None:
    assert (await proof(signed(mail()), {"sel._domainkey.people.test": record})).verdict is Verdict.UNKNOWN


async def test_the_second_signature_counts_as_well() -> None:
    raw = signed(signed(mail()), "evil.test")
    assert (await proof(raw, published() | published("evil.test"))).verdict is Verdict.ALIGNED


@pytest.mark.parametrize(
    ("records", "breaks"),
    [
        ({"_dmarc.people.test": b"v=DMARC1; p=reject"}, True),
        ({"_dmarc.people.test": b"v=DMARC1; p=quarantine; sp=none"}, True),
        ({"_dmarc.people.test": b"v=DMARC1; p=none"}, False),
        ({"_dmarc.people.test": b"nonsense"}, False),
        ({"_dmarc.people.test": b"v=DMARC1; p"}, False),
        ({}, False),
    ],
)
async def test_what_a_domain_wants_is_told(records: dict[str, bytes], breaks: bool) -> None:
    assert await proof(mail(), records) == Proof(Verdict.UNKNOWN, breaks_policy=breaks)


async def test_a_subdomain_follows_the_policy_of_its_organisation() -> None:
    sub = mail("anne@news.people.test")
    assert (await proof(sub, REJECT)).breaks_policy
    assert not (await proof(sub, {"_dmarc.people.test": b"v=DMARC1; p=reject; sp=none"})).breaks_policy


class Away:
    """Name servers that do not answer about some names."""

    def __init__(self, beginning: str, records: dict[str, bytes]) -> None:
        self._beginning = beginning
        self._known = KnownRecords(records)

    async def txt(self, name: str) -> tuple[bytes, ...]:
        if name.startswith(self._beginning):
            raise DnsAway
        return await self._known.txt(name)


async def test_name_servers_that_are_away_leave_it_open() -> None:
    assert await proof(signed(mail()), Away("", {})) == Proof(Verdict.UNKNOWN, dns_away=True)
    assert await proof(signed(mail()), Away("sel.", {})) == Proof(Verdict.UNKNOWN, dns_away=True)
    # Without a signature, they could not prove anything.
    assert await proof(mail(), Away("", {})) == Proof(Verdict.UNKNOWN)
    # The receiving server has looked already, but does not say what was signed.
    trusted = stamped(signed(mail()), DMARC)
    assert await proof(trusted, Away("", {})) == Proof(Verdict.ALIGNED, dns_away=True)


def test_domains_of_one_organisation() -> None:
    assert is_aligned("mail.people.test", "people.test")
    assert is_aligned("a.example.co.uk", "b.example.co.uk")
    assert not is_aligned("one.co.uk", "other.co.uk")
    # Endings that no list knows are nobody's either.
    assert not is_aligned("one.lan", "other.lan")
    assert is_aligned("mail.one.lan", "one.lan")
    assert not is_aligned("mail.people.test", "people.test", strict=True)


async def test_nobody_keeps_the_verifier_busy_with_blanks() -> None:
    """dkimpy needs quadratic time for them: such a mail proves nothing, and is not looked at."""
    raw = signed(mail()) + b" " * 3_000_000
    assert not is_affordable(raw)
    assert is_affordable(signed(mail()) + b" \r\n" * 300_000)
    assert (await proof(raw, published())).verdict is Verdict.UNKNOWN
