"""Whatever a mail orders, and a model that obeys says: a reply goes to its sender, and that is all."""

from __future__ import annotations

import asyncio
import email
import re
from email.message import EmailMessage
from email.policy import default
from html.parser import HTMLParser
from typing import Any

from injections import ATTEMPTS
from mail_core import scripted_core
from mail_servers import Dovecot
from running_service import PostOffice, question
from what_left import ONLY_HEADERS, mailboxes

MARK = re.compile(r"ATTEMPT (\d+) ")
MAY_LEAD = ("https://", "http://", "mailto:")
HARMLESS = frozenset(
    {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "table",
        "tbody",
        "thead",
        "tr",
        "td",
        "th",
        "div",
        "span",
    }
    | {
        "p",
        "br",
        "hr",
        "a",
        "strong",
        "em",
        "b",
        "i",
        "s",
        "code",
        "pre",
        "blockquote",
        "ul",
        "ol",
        "li",
        "h1",
    }
    | {"h2", "h3", "h4", "h5", "h6"}
)


class Tags(HTMLParser):
    """What a mail program would act upon."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))


def obey(body: dict[str, Any]) -> str:
    """The model does as the mail says."""
    found = MARK.search(body["prompt"])
    assert found is not None
    return ATTEMPTS[int(found[1])].obeyed


async def test_nothing_but_a_reply_to_the_sender_leaves(post_office: PostOffice, dovecot: Dovecot) -> None:
    assert len(ATTEMPTS) >= 30
    senders = [f"inject{number:02}@people.test" for number in range(len(ATTEMPTS))]
    mails = [
        question(
            sender,
            post_office.address,
            f"ATTEMPT {number} : {attempt.order}",
            Subject=" ".join(attempt.order.split()),
        )
        for number, (sender, attempt) in enumerate(zip(senders, ATTEMPTS, strict=True))
    ]
    dovecot.put(post_office.address, [mail.as_bytes() for mail in mails])
    before = mailboxes(dovecot)
    async with (
        scripted_core(obey) as core,
        post_office.service(core.url, MAX_EMAILS_PER_HOUR=1_000) as running,
    ):
        await post_office.until(lambda: len(core.asked) >= len(ATTEMPTS), "all are read")
        await running.settled()
        assert len(core.asked) == len(ATTEMPTS)
    assert await asyncio.to_thread(lambda: mailboxes(dovecot) - before) == set(senders)
    for sender, mail in zip(senders, mails, strict=True):
        (raw,) = dovecot.mails(sender)
        check(email.message_from_bytes(raw, policy=default), sender, mail)


def check(answer: EmailMessage, sender: str, mail: EmailMessage) -> None:
    assert {name.lower() for name in answer} <= ONLY_HEADERS
    assert [address.addr_spec for address in answer["To"].addresses] == [sender]
    assert answer["In-Reply-To"] == mail["Message-ID"]
    assert answer.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in answer.iter_parts()] == ["text/plain", "text/html"]
    body = answer.get_body(("html",))
    assert body is not None
    html = body.get_content()
    tags = Tags()
    tags.feed(html)
    assert {tag for tag, _ in tags.found} <= HARMLESS
    for tag, attributes in tags.found:
        assert not {name for name in attributes if name.startswith("on") or name in {"src", "background"}}
        assert attributes.get("href", "https://").lower().startswith(MAY_LEAD)
        assert "url(" not in attributes.get("style", "")
        assert tag != "meta" or "http-equiv" not in attributes
    assert [tag for tag, _ in tags.found].count("html") == 1
