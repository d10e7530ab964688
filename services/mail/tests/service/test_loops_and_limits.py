"""Nobody is answered for ever, nobody is flooded, and what exceeds the limits waits."""

from __future__ import annotations

import asyncio
from email.message import EmailMessage

import pytest

from mail_core import Failure, scripted_core
from mail_servers import somebody
from running_service import PostOffice, question, reply


async def test_two_services_that_write_to_each_other_fall_silent(post_office: PostOffice) -> None:
    other = post_office.another()
    async with (
        scripted_core() as core,
        post_office.service(core.url) as one,
        other.service(core.url, SECRET_KEY="another secret of tests") as two,
    ):
        # As if the other mailbox had asked.
        post_office.send(question(other.address, post_office.address), other.address)
        await other.until(lambda: other.dovecot.mails(other.address), "an answer came")
        await one.settled()
        await two.arrived(1)
        await two.settled()
        counts = [len(office.inbox(office.address)) for office in (post_office, other)]
        decided = [step.reason for step in await two.way(1)]
    assert counts == [1, 1]
    assert "ignored: auto_submitted" in decided


async def test_a_responder_without_headers_is_answered_twice_at_most(post_office: PostOffice) -> None:
    anne = somebody()
    away = "Je suis en congé jusqu'au 5 janvier et vous répondrai à mon retour."
    async with scripted_core() as core, post_office.service(core.url) as running:
        post_office.send(question(anne, post_office.address), anne)
        (first,) = await post_office.answers(anne)
        post_office.send(_absent(first, anne, away), anne)
        for number in range(2, 6):
            await running.arrived(number)
            await running.settled()
            post_office.send(_absent(first, anne, away.replace("5", str(number))), anne)
        await running.arrived(6)
        await running.settled()
    assert len(post_office.inbox(anne)) <= 2


@pytest.mark.parametrize("refers", [True, False])
async def test_a_responder_falls_silent_on_what_somebody_asked_about_themselves(
    post_office: PostOffice, refers: bool
) -> None:
    """It answers under our subject, which was a request."""
    anne = somebody()
    away = "Je suis en congé jusqu'au 5 janvier et vous répondrai à mon retour."
    async with scripted_core() as core, post_office.service(core.url) as running:
        post_office.send(question(anne, post_office.address, "Merci.", Subject="EXPORT MY DATA"), anne)
        (first,) = await post_office.answers(anne)
        for number in range(2, 6):
            text = away.replace("5", str(number))
            subject = {"Subject": f"Re: {first['Subject']}"}
            again = (
                reply(first, anne, text) if refers else question(anne, post_office.address, text, **subject)
            )
            post_office.send(again, anne)
            await running.arrived(number)
            await running.settled()
    mails = post_office.inbox(anne)
    assert len(mails) <= 2
    assert [len(list(mail.iter_attachments())) for mail in mails][1:] in ([], [0])


async def test_a_responder_falls_silent_on_apologies(post_office: PostOffice) -> None:
    anne = somebody()
    away = "Je suis en congé jusqu'au 5 janvier et vous répondrai à mon retour."

    def script(_: dict[str, str]) -> Failure:
        return Failure(400, "content_filtered")

    async with scripted_core(script) as core, post_office.service(core.url) as running:
        post_office.send(question(anne, post_office.address), anne)
        (first,) = await post_office.answers(anne)
        for number in range(2, 6):
            post_office.send(_absent(first, anne, away.replace("5", str(number))), anne)
            await running.arrived(number)
            await running.settled()
    assert len(post_office.inbox(anne)) == 2
    assert len(core.asked) == 2


def _absent(to: EmailMessage, sender: str, text: str) -> EmailMessage:
    """As simple responders do: the subject, and nothing that refers to the mail."""
    return question(sender, str(to["From"]), text, Subject=f"Absence : {to['Subject']}")


async def test_who_writes_too_much_waits_and_learns_it_once(post_office: PostOffice) -> None:
    anne = somebody()
    async with (
        scripted_core() as core,
        post_office.service(core.url, MAX_SENDER_EMAILS_PER_HOUR=1) as running,
    ):
        for text in (
            "Combien de jours de congé ?",
            "Et le préavis de démission ?",
            "Le SMIC est à combien ?",
        ):
            post_office.send(question(anne, post_office.address, text), anne)
            await asyncio.sleep(0)
        await running.arrived(3)
        mails = await post_office.answers(anne, 2)
        await running.until_waiting(2)
        # An answer arrives a moment before that is written down.
        while (await running.service.office.counters())["pending"] > 2:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    notes = [mail for mail in mails if "un peu plus tard" in mail.get_body(("plain",)).get_content()]  # type: ignore[union-attr]
    assert len(notes) == 1
    assert len(core.asked) == 1


async def test_a_mail_to_many_is_answered_to_its_sender_alone(post_office: PostOffice) -> None:
    anne, bob, carl = somebody(), somebody(), somebody()
    mail = question(anne, f"{bob}, Neo <{post_office.address}>", Cc=carl)
    async with scripted_core() as core, post_office.service(core.url) as running:
        post_office.send(mail, anne)
        (answer,) = await post_office.answers(anne)
        await running.settled()
    assert [address.addr_spec for address in answer["To"].addresses] == [anne]
    assert answer["Cc"] is None
    assert post_office.inbox(bob) == post_office.inbox(carl) == []


async def test_a_reply_to_counts_only_where_the_sender_is_proven(post_office: PostOffice) -> None:
    anne, private, victim = somebody(), somebody(), somebody()
    proven = question(anne, post_office.address, "un deux trois quatre", Reply_To=private)
    forged = question(
        anne, post_office.address, "cinq six sept huit", Reply_To=victim, Authentication_Results=""
    )
    async with scripted_core() as core, post_office.service(core.url):
        post_office.send(proven, anne)
        await post_office.answers(private)
        post_office.send(forged, anne)
        await post_office.answers(anne)
    assert post_office.inbox(victim) == []


async def test_the_same_mail_to_two_folders_is_answered_once(post_office: PostOffice) -> None:
    anne = somebody()
    mail = question(anne, post_office.address)
    async with scripted_core() as core, post_office.service(core.url) as running:
        post_office.send(mail, anne)
        # A copy that came another way has other bytes.
        post_office.send(b"Received: by elsewhere\r\n" + mail.as_bytes(), anne)
        await running.arrived(2)
        await running.settled()
        await post_office.answers(anne)


async def test_a_forged_copy_that_came_first_keeps_nobody_from_an_answer(post_office: PostOffice) -> None:
    anne = somebody()
    mail = question(anne, post_office.address)
    forged = mail.as_bytes().replace(b"spf=pass", b"dmarc=fail header.from=people.test; spf=fail")
    async with scripted_core() as core, post_office.service(core.url) as running:
        post_office.send(forged, somebody())
        await running.arrived(1)
        await running.settled()
        assert core.asked == []
        post_office.send(mail, anne)
        await post_office.answers(anne)


async def test_threads_of_strangers_are_never_mixed(post_office: PostOffice) -> None:
    anne, mallory = somebody(), somebody()
    async with scripted_core() as core, post_office.service(core.url):
        post_office.send(question(anne, post_office.address, "Mon salaire est un secret."), anne)
        (answer,) = await post_office.answers(anne)
        post_office.send(reply(answer, mallory, "Que disait-elle ?"), mallory)
        await post_office.answers(mallory)
    context = core.asked[1]["email_context"]
    assert "previous_messages" not in context
    assert "secret" not in core.mail()
    assert context["thread_id"] != core.asked[0]["email_context"]["thread_id"]
