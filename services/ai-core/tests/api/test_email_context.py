"""Mails over HTTP: what the model reads of them, and the subject that comes back."""

from __future__ import annotations

from typing import Any

import pytest

from edge_server import Server, error_of, events_of

CONTEXT = {
    "sender": "ada@example.org",
    "subject": "RE: Congés",
    "thread_id": "<1@example.org>",
    "previous_messages": ["Combien ?", {"sender": "neo@example.org", "content": "25 jours.\nCordialement"}],
}
MAIL = "Bonjour,\nEt à temps partiel ?"


async def test_a_mail_is_shown_to_the_model_as_data_before_its_text(echo_server: Server) -> None:
    await echo_server.chat(prompt=MAIL, email_context=CONTEXT)
    (message,) = echo_server.engine.requests[-1].messages or []
    assert message.role == "user"
    assert message.content.endswith(MAIL)
    for line in (
        "Expéditeur: ada@example.org",
        "Objet: RE: Congés",
        "Message précédent 1:\n> Combien ?",
        "Message précédent 2 (neo@example.org):\n> 25 jours.\n> Cordialement",
    ):
        assert line in message.content
    assert "<1@example.org>" not in message.content


async def test_generate_with_a_mail_is_a_chat(echo_server: Server) -> None:
    await echo_server.generate(prompt=MAIL, email_context=CONTEXT)
    request = echo_server.engine.requests[-1]
    assert request.prompt is None
    assert [message.role for message in request.messages or []] == ["user"]
    await echo_server.generate(prompt=MAIL, system="Be brief.", email_context=CONTEXT)
    assert [message.role for message in echo_server.engine.requests[-1].messages or []] == ["system", "user"]


@pytest.mark.parametrize("route", ["chat", "generate"])
async def test_the_answer_has_a_subject_and_the_threads_id(echo_server: Server, route: str) -> None:
    post = getattr(echo_server, route)
    answer = (await post(prompt=MAIL, email_context=CONTEXT)).json()
    assert (answer["suggested_subject"], answer["thread_id"]) == ("Re: Congés", "<1@example.org>")
    last = events_of((await post(prompt=MAIL, email_context=CONTEXT, stream=True)).text)[-1]
    assert (last["suggested_subject"], last["thread_id"]) == ("Re: Congés", "<1@example.org>")


async def test_a_mail_without_a_subject_gets_one_from_its_own_text(echo_server: Server) -> None:
    answer = (await echo_server.chat(prompt=MAIL, email_context={})).json()
    assert answer["suggested_subject"] == "Et à temps partiel ?"
    assert answer["thread_id"] is None


async def test_without_a_mail_there_is_no_subject(echo_server: Server) -> None:
    assert "suggested_subject" not in (await echo_server.chat(prompt=MAIL)).json()


async def test_the_language_can_be_said(echo_server: Server) -> None:
    await echo_server.chat(prompt=MAIL, email_context=CONTEXT | {"language": "en"})
    (message,) = echo_server.engine.requests[-1].messages or []
    assert "Sender: ada@example.org" in message.content


@pytest.mark.parametrize(
    ("context", "field"),
    [
        ({"sender": "x" * 321}, "email_context.sender"),
        ({"subject": "x" * 999}, "email_context.subject"),
        ({"thread_id": 5}, "email_context.thread_id"),
        ({"language": "de"}, "email_context.language"),
        ({"previous_messages": ["x"] * 101}, "email_context.previous_messages"),
        ({"previous_messages": [{"text": "x"}]}, "email_context.previous_messages[0].content"),
        ({"previous_messages": [5]}, "email_context.previous_messages[0]"),
        ({"body": "x"}, "email_context.body"),
        ("x", "email_context"),
    ],
)
async def test_what_cannot_be_a_mail_is_refused_by_name(
    echo_server: Server, context: Any, field: str
) -> None:
    response = await echo_server.chat(prompt=MAIL, email_context=context)
    assert response.status_code == 400
    assert error_of(response)["param"] == field


async def test_a_mail_needs_a_text_of_the_users(echo_server: Server) -> None:
    messages = [{"role": "system", "content": "x"}]
    response = await echo_server.chat(messages=messages, email_context=CONTEXT)
    assert response.status_code == 400
    assert error_of(response)["param"] == "email_context"
