"""Viruses, spam and forged senders never get past the decision; while a scanner is away, mail waits."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from email.message import EmailMessage
from typing import Any

import pytest

from mail_core import scripted_core
from mail_servers import somebody
from mail_service import app
from mail_service.accounts import Account
from mail_service.config import Settings
from mail_service.deciding.facts import Rules
from running_service import PostOffice, RunningService, question
from scanner_servers import EICAR, GTUBE, ClamdServer, SpamdServer
from servers import HOST
from servicekit.documents.extractor import ConfinedExtractor

PASS = "dmarc=pass header.from=people.test"
TEXT = "Combien de jours de congés ai-je par an, en CDI ?"
FAIL = "mx.example.test; dmarc=fail header.from=people.test"


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a scanner is looked at again at once, not after a minute."""
    made = app.rules_of

    def rules_of(settings: Settings, accounts: tuple[Account, ...]) -> Rules:
        return replace(made(settings, accounts), look_again=timedelta(milliseconds=200))

    monkeypatch.setattr(app, "rules_of", rules_of)


@pytest.fixture
def extracted(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every file that came to the extractor; it is read there as ever."""
    seen: list[bytes] = []
    real = ConfinedExtractor.extract

    async def extract(self: ConfinedExtractor, content: bytes, **more: Any) -> Any:
        seen.append(content)
        return await real(self, content, **more)

    monkeypatch.setattr(ConfinedExtractor, "extract", extract)
    return seen


def with_file(mail: EmailMessage, content: bytes) -> EmailMessage:
    mail.add_attachment(content, maintype="text", subtype="plain", filename="contrat.txt")
    return mail


async def ways(running: RunningService) -> list[list[str]]:
    """What was decided about each mail."""
    found = []
    number = 1
    while (mail := await running.service.office.mail(number)) is not None:
        found.append([step["reason"] for step in mail["way"] if step["step"] == "decided"])
        number += 1
    return found


async def test_a_virus_never_reaches_the_extractor_and_mail_waits_for_the_scanner(
    post_office: PostOffice, clamd_server: ClamdServer, extracted: list[bytes], soon: None
) -> None:
    anne, bob = somebody(), somebody()
    settings = {"CLAMD_ADDRESS": clamd_server.address}
    async with scripted_core() as core, post_office.service(core.url, **settings) as running:
        post_office.send(with_file(question(bob, post_office.address), EICAR), bob)
        post_office.send(with_file(question(anne, post_office.address), b"Le contrat."), anne)
        await post_office.answers(anne)
        await running.settled()
        assert extracted == [b"Le contrat."]
        assert {way[-1] for way in await ways(running)} == {"ignore: infected", "answer"}

        clamd_server.stop()
        post_office.send(with_file(question(anne, post_office.address, "Et ceci ?"), b"Un avenant."), anne)
        post_office.send(with_file(question(bob, post_office.address, "Et cela ?"), EICAR + b"\n"), bob)
        while len(await running.service.office.queue()) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert len(extracted) == 1
        health = (await running.get("/health")).json()
        assert health["status"] == "degraded"
        assert health["parts"]["virus_scanner"] == {"status": "down", "reason": "ScannerAway"}
        clamd_server.start()
        assert len(await post_office.answers(anne, 2)) == 2
        await running.settled()
    assert extracted == [b"Le contrat.", b"Un avenant."]
    assert post_office.inbox(bob) == []
    assert len(core.asked) == 2


async def test_the_test_string_of_spam_is_not_answered(
    post_office: PostOffice, spamd_server: SpamdServer
) -> None:
    anne, eve = somebody(), somebody()
    settings = {"SPAMD_ADDRESS": f"{HOST}:{spamd_server.port}"}
    async with scripted_core() as core, post_office.service(core.url, **settings) as running:
        post_office.send(question(eve, post_office.address, GTUBE.decode()), eve)
        post_office.send(question(anne, post_office.address), anne)
        await post_office.answers(anne)
        await running.settled()
        assert {way[-1] for way in await ways(running)} == {"ignore: spam", "answer"}
    assert post_office.inbox(eve) == []
    assert len(core.asked) == 1


async def test_a_forged_sender_is_not_trusted(post_office: PostOffice) -> None:
    """Nor does it keep the real one from being answered."""
    anne = somebody()
    forged = (
        question(anne, post_office.address, TEXT, Authentication_Results=""),
        question(anne, post_office.address, TEXT, Authentication_Results=f"evil.test; {PASS}"),
        question(anne, post_office.address, TEXT, Authentication_Results=FAIL),
        question(anne, post_office.address, TEXT, Subject="EXPORT MY DATA", Authentication_Results=""),
    )
    async with scripted_core() as core, post_office.service(core.url, ALLOWED_SENDERS=anne) as running:
        for mail in forged:
            post_office.send(mail, "eve@elsewhere.test")
        while len(await ways(running)) < len(forged):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        post_office.send(question(anne, post_office.address, TEXT), anne)
        await post_office.answers(anne)
        await running.settled()
        decided = Counter(way[-1] for way in await ways(running))
        assert decided == {"ignore: not_authenticated": 3, "ignore: forged": 1, "answer": 1}
    assert len(core.asked) == 1
