"""People write, and are answered once, in their thread: over a real Dovecot and a real Postfix."""

from __future__ import annotations

from typing import Any

from mail_core import scripted_core
from mail_servers import somebody
from running_service import PostOffice, question, reply


async def test_a_mail_is_answered_in_its_thread(post_office: PostOffice) -> None:
    anne = somebody()
    mail = question(anne, post_office.address)
    async with scripted_core() as core, post_office.service(core.url) as running:
        post_office.send(mail, anne)
        (answer,) = await post_office.answers(anne)
        await running.settled()
    assert answer["In-Reply-To"] == mail["Message-ID"] == answer["References"]
    assert answer["Subject"] == "Re: Une question"
    assert (answer["Auto-Submitted"], answer["X-Auto-Response-Suppress"]) == ("auto-replied", "All")
    assert post_office.address in answer["From"]
    assert anne in answer["To"]
    text = answer.get_body(("plain",))
    assert text is not None
    assert "Bonjour Anne Martin," in text.get_content()
    assert "Voici la réponse." in text.get_content()
    assert "> Quelle est la durée du travail ?" in text.get_content()
    html = answer.get_body(("html",))
    assert html is not None
    assert "<p style" in html.get_content()
    sent = post_office.inbox(post_office.address, '"Messages sent"')
    assert [copy["Message-ID"] for copy in sent] == [answer["Message-ID"]]
    assert "\\Answered" in post_office.dovecot.flags(post_office.address)[0]
    assert "Quelle est la durée du travail ?" in core.mail()
    assert core.asked[0]["email_context"]["sender"] == "Anne Martin"


async def test_a_thread_goes_on_with_what_was_said_before(post_office: PostOffice) -> None:
    anne = somebody()
    async with scripted_core(lambda body: f"Réponse : {said(body)}") as core, post_office.service(core.url):
        post_office.send(question(anne, post_office.address, "un"), anne)
        (first,) = await post_office.answers(anne)
        post_office.send(reply(first, anne, "deux"), anne)
        _, second = await post_office.answers(anne, 2)
    assert second["References"].split()[1] == first["Message-ID"]
    earlier = core.asked[1]["email_context"]["previous_messages"]
    assert [mail["content"] for mail in earlier] == ["un", "Réponse : un"]
    assert core.asked[0]["email_context"]["thread_id"] == core.asked[1]["email_context"]["thread_id"]


def said(body: dict[str, Any]) -> str:
    """What the sender wrote, from a request to the AI core."""
    return str(body["prompt"].splitlines()[1])
