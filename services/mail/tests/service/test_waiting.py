"""Whatever is away, a mail waits and is answered once; what cannot be answered is seen by the operator."""

from __future__ import annotations

import io

import docx
import pytest

from mail_core import Failure, Says, scripted_core
from mail_servers import nobody, somebody
from running_service import PostOffice, question


@pytest.mark.parametrize(
    "failure",
    [Failure(503, retry_after=1), Failure(429, retry_after=1), Failure(500, "generation_failed")],
    ids=lambda failure: str(failure.status),
)
async def test_an_ai_core_that_cannot_answer_now_is_asked_again(
    post_office: PostOffice, failure: Failure
) -> None:
    anne = somebody()
    says: list[Says] = [failure, "Me voici."]
    async with scripted_core(lambda _: says.pop(0)) as core, post_office.service(core.url) as running:
        post_office.send(question(anne, post_office.address), anne)
        (answer,) = await post_office.answers(anne)
        await running.settled()
    assert "Me voici." in answer.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert len(core.asked) == 2


async def test_an_ai_core_that_is_away_is_waited_for(post_office: PostOffice) -> None:
    anne = somebody()
    async with scripted_core() as core:
        async with post_office.service("http://127.0.0.1:9") as running:
            post_office.send(question(anne, post_office.address), anne)
            await running.until_waiting(1, "AI core: Unreachable")
            health = await running.get("/health")
            assert health.json()["parts"]["ai_core"]["status"] == "down"
            assert (await running.get("/readyz")).status_code == 200
        async with post_office.service(core.url):
            await post_office.answers(anne)
    assert len(core.asked) == 1


async def test_a_mail_too_long_for_the_model_is_shown_in_part(post_office: PostOffice) -> None:
    anne = somebody()

    def script(body: dict[str, str]) -> Says:
        return Failure(400, "context_length_exceeded") if len(body["prompt"]) > 4_000 else "Court."

    async with scripted_core(script) as core, post_office.service(core.url):
        post_office.send(question(anne, post_office.address, "Une très longue question. " * 800), anne)
        await post_office.answers(anne)
    assert len(core.asked) > 1
    assert "[…]" in core.mail()


async def test_what_the_model_refuses_is_a_dead_letter_and_the_sender_hears_of_it(
    post_office: PostOffice,
) -> None:
    anne = somebody()
    says: list[Says] = [Failure(400, "content_filtered"), "Finalement."]
    async with scripted_core(lambda _: says.pop(0)) as core, post_office.service(core.url) as running:
        post_office.send(question(anne, post_office.address), anne)
        (apology,) = await post_office.answers(anne)
        await running.settled()
        (dead,) = await running.service.office.dead_letters()
        assert await running.service.office.requeue(dead["entry_id"])
        await post_office.answers(anne, 2)
        await running.settled()
        assert await running.service.office.dead_letters() == []
    assert "désolé" in apology.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert "content_filtered" in dead["reason"]


async def test_an_address_that_the_server_does_not_know_is_a_dead_letter(post_office: PostOffice) -> None:
    stranger = nobody()
    async with scripted_core() as core, post_office.service(core.url) as running:
        post_office.send(question(stranger, post_office.address), somebody())
        await running.arrived(1)
        await running.settled()
        (dead,) = await running.service.office.dead_letters()
        assert "(550)" in dead["reason"]
        assert stranger not in str(dead)


async def test_a_person_sends_what_stands_in_the_drafts(post_office: PostOffice) -> None:
    anne = somebody()
    async with scripted_core() as core, post_office.service(core.url, APPROVAL="drafts") as running:
        post_office.send(question(anne, post_office.address), anne)
        drafts = await post_office.until(lambda: post_office.inbox(post_office.address, "Drafts"), "a draft")
        await running.settled()
    assert anne in drafts[0]["To"]
    assert "Voici la réponse." in drafts[0].get_body(("plain",)).get_content()
    assert "\\Answered" not in post_office.dovecot.flags(post_office.address)[0]
    assert "\\Draft" in post_office.dovecot.flags(post_office.address, "Drafts")[0]
    assert post_office.inbox(anne) == []


async def test_files_are_read_and_what_cannot_be_read_is_told(post_office: PostOffice) -> None:
    anne = somebody()
    document = docx.Document()
    document.add_paragraph("Le préavis est de trois mois.")
    content = io.BytesIO()
    document.save(content)
    mail = question(anne, post_office.address, "Que dit le contrat ?")
    mail.add_attachment(content.getvalue(), "application", "octet-stream", filename="contrat.docx")
    mail.add_attachment(b"%PDF-1.4 broken", "application", "pdf", filename="cassé.pdf")
    async with scripted_core() as core, post_office.service(core.url):
        post_office.send(mail, anne)
        (answer,) = await post_office.answers(anne)
    assert "Le préavis est de trois mois." in core.mail()
    assert "Je n'ai pas pu lire : cassé.pdf." in answer.get_body(("plain",)).get_content()  # type: ignore[union-attr]


async def test_a_pause_keeps_mails_until_it_ends(post_office: PostOffice) -> None:
    anne = somebody()
    async with scripted_core() as core, post_office.service(core.url) as running:
        assert (await running.post("/admin/pause")).status_code == 200
        post_office.send(question(anne, post_office.address), anne)
        await running.arrived(1)
        assert (await running.service.office.counters())["pending"] == 1
        assert (await running.post("/admin/resume")).status_code == 200
        await post_office.answers(anne)
