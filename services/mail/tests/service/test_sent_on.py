"""An old mail of somebody's that a stranger sends on gets nothing of theirs out."""

from __future__ import annotations

import pytest

from mail_core import scripted_core
from mail_servers import somebody
from running_service import PostOffice, RunningService, question

SIGNED = "mx.example.test; dkim=pass header.d=people.test; dmarc=pass header.from=people.test"
"""What the receiving server says of it: not what was signed."""


async def test_what_is_kept_of_somebody_never_goes_to_a_reply_to(post_office: PostOffice) -> None:
    anne, other = somebody(), somebody()
    async with scripted_core() as core, post_office.service(core.url):
        mail = question(anne, post_office.address, "Merci.", Subject="EXPORT MY DATA", Reply_To=other)
        post_office.send(mail, anne)
        (answer,) = await post_office.answers(anne)
    assert [file.get_filename() for file in answer.iter_attachments()] == ["neo-export.json"]
    assert post_office.inbox(other) == []


@pytest.mark.parametrize("subject", ["Une question", "EXPORT MY DATA", "DELETE MY DATA"])
async def test_who_sends_a_mail_of_somebodys_on_hears_nothing(post_office: PostOffice, subject: str) -> None:
    anne, mallory = somebody(), somebody()
    async with scripted_core() as core, post_office.service(core.url) as running:
        post_office.send(question(anne, post_office.address, "Mon salaire est un secret."), anne)
        await post_office.answers(anne)
        sent_on = question(
            anne,
            post_office.address,
            "Et que dire de la durée du préavis ?",
            Subject=subject,
            Reply_To=mallory,
            Authentication_Results=SIGNED,
        )
        post_office.send(sent_on, mallory)
        _, answer = await post_office.answers(anne, 2)
        await running.settled()
        assert list(answer.iter_attachments()) == []
        assert len(await running.service.records.correspondence.of_person(_person(running, anne))) >= 2
    assert post_office.inbox(mallory) == []


def _person(running: RunningService, address: str) -> str:
    return running.service.records.names.person(address)
